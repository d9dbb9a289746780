"""What an app fed to its model and what came out, frame by frame: the values that all rules about apps read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# Rows of frames: one array (N, ...), or one array per frame if their shapes differ.
Rows = Array | Sequence[Array]
# The name of the only raw sample, input or output, where the recording gives none.
ONLY: Final = ""
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class EdgeDevice:
    """Where a recording was made; empty: not known. `pipeline`: the JSON text of the app's own pipeline.json."""

    model_sha256: str = ""
    app: str = ""
    app_version: str = ""
    os: str = ""
    device: str = ""
    runtime: str = ""
    accelerator: str = ""
    threads: str = ""
    pipeline: str = ""
    redacted: tuple[str, ...] = ()
    others: Mapping[str, str] = field(default_factory=lambda: _NONE)


@dataclass(frozen=True, slots=True)
class StoredQuantization:
    """How integers of a recorded tensor become real numbers: (value - zero_point) * scale."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class EdgeTimes:
    """Times of every frame, in milliseconds; NaN: not recorded in that frame.

    `total` and `inference` (N,); `stages` and `layers` by name, in the order of the app.
    """

    total: NDArray[np.float64] | None = None
    inference: NDArray[np.float64] | None = None
    stages: Mapping[str, NDArray[np.float64]] = field(default_factory=lambda: _NONE)
    layers: Mapping[str, NDArray[np.float64]] = field(default_factory=lambda: _NONE)


@dataclass(frozen=True, slots=True)
class EdgeRecording:
    """The recorded frames of one app on one device.

    Attributes:
        source: the file or folder, for messages.
        count: how many frames; every array below has as many rows.
        raw: raw samples by input name (`ONLY`: one without a name): images uint8 RGB (H, W, 3), audio float32
            (samples,), text as an array of str (N,). Empty: not recorded.
        inputs: what reached the model, by input name.
        outputs: what the model gave, by output name.
        layers: output tensors of layers by tensor name; integers as stored, or real numbers: the dtype says.
        layer_quantization: of integer layers, if the recording says it.
        postprocessed: what the app made of the outputs, by name.
        functions: what the app's own functions were given and returned, by name: (inputs, outputs).
        labels: ground truth (N,); None: not known.
        sample_rate_hz: of raw audio; None: no audio, or not known.
        times: latencies.
        device: where it was recorded.
        gaps: what the recording lacks and why, as sentences (damaged chunks, lost frames, redaction).
    """

    source: str
    count: int
    raw: Mapping[str, Rows] = field(default_factory=lambda: _NONE)
    inputs: Mapping[str, Rows] = field(default_factory=lambda: _NONE)
    outputs: Mapping[str, Rows] = field(default_factory=lambda: _NONE)
    layers: Mapping[str, Rows] = field(default_factory=lambda: _NONE)
    layer_quantization: Mapping[str, StoredQuantization] = field(default_factory=lambda: _NONE)
    postprocessed: Mapping[str, Rows] = field(default_factory=lambda: _NONE)
    functions: Mapping[str, tuple[Rows, Rows]] = field(default_factory=lambda: _NONE)
    labels: NDArray[Any] | None = None
    sample_rate_hz: float | None = None
    times: EdgeTimes = field(default_factory=EdgeTimes)
    device: EdgeDevice = field(default_factory=EdgeDevice)
    gaps: tuple[str, ...] = ()
