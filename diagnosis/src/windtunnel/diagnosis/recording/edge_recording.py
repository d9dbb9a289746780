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
class TensorStatistics:
    """Statistics of a tensor in every frame, by the formulas of docs/edge-log.md; NaN: not recorded in that frame.

    Attributes:
        shape: of the tensor in the app, with its batch; None: it differs between frames.
        dtype: NumPy name of the element type, or "text"; None: it differs between frames.
        count: number of values (N,); 0: not recorded.
        non_finite: how many of them are NaN or infinite (N,).
        min, max, mean, std: (N,).
        quantiles: at 1, 5, 10, 25, 50, 75, 90, 95 and 99 % (N, 9).
        projections: seeded random projections (N, k), k at most 16. Frames of other sizes have other projections: NaN
            from their end on.
    """

    shape: tuple[int, ...] | None
    dtype: str | None
    count: NDArray[np.int64]
    non_finite: NDArray[np.int64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    quantiles: NDArray[np.float64]
    projections: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EdgeStatistics:
    """Statistics of the tensors of a recording, by what they are and by name, as the rows of `EdgeRecording`."""

    raw: Mapping[str, TensorStatistics] = field(default_factory=lambda: _NONE)
    inputs: Mapping[str, TensorStatistics] = field(default_factory=lambda: _NONE)
    outputs: Mapping[str, TensorStatistics] = field(default_factory=lambda: _NONE)
    layers: Mapping[str, TensorStatistics] = field(default_factory=lambda: _NONE)
    postprocessed: Mapping[str, TensorStatistics] = field(default_factory=lambda: _NONE)
    function_inputs: Mapping[str, TensorStatistics] = field(default_factory=lambda: _NONE)
    function_outputs: Mapping[str, TensorStatistics] = field(default_factory=lambda: _NONE)


@dataclass(frozen=True, slots=True)
class EdgeRecording:
    """The recorded frames of one app on one device.

    Attributes:
        source: the file or folder, for messages.
        count: how many frames; every array below has as many rows, except `layers`.
        raw: raw samples by input name (`ONLY`: one without a name): images uint8 RGB (H, W, 3), audio float32
            (samples,), text as an array of str (N,). Empty: not recorded.
        inputs: what reached the model, by input name.
        outputs: what the model gave, by output name.
        layers: output tensors of layers by tensor name; integers as stored, or real numbers: the dtype says.
        layer_frames: the frames that `layers` are of (M,), if an app recorded layers in only some frames; None: all.
        layer_quantization: of integer layers, if the recording says it.
        postprocessed: what the app made of the outputs, by name.
        functions: what the app's own functions were given and returned, by name: (inputs, outputs).
        labels: ground truth (N,); None: not known.
        sample_rate_hz: of raw audio; None: no audio, or not known.
        times: latencies.
        device: where it was recorded.
        statistics: of every tensor, if the recording has them; a log of level `statistics` has nothing else.
        gaps: what the recording lacks and why, as sentences (damaged chunks, lost frames, redaction).
    """

    source: str
    count: int
    raw: Mapping[str, Rows] = field(default_factory=lambda: _NONE)
    inputs: Mapping[str, Rows] = field(default_factory=lambda: _NONE)
    outputs: Mapping[str, Rows] = field(default_factory=lambda: _NONE)
    layers: Mapping[str, Rows] = field(default_factory=lambda: _NONE)
    layer_frames: NDArray[np.int64] | None = None
    layer_quantization: Mapping[str, StoredQuantization] = field(default_factory=lambda: _NONE)
    postprocessed: Mapping[str, Rows] = field(default_factory=lambda: _NONE)
    functions: Mapping[str, tuple[Rows, Rows]] = field(default_factory=lambda: _NONE)
    labels: NDArray[Any] | None = None
    sample_rate_hz: float | None = None
    times: EdgeTimes = field(default_factory=EdgeTimes)
    device: EdgeDevice = field(default_factory=EdgeDevice)
    statistics: EdgeStatistics = field(default_factory=EdgeStatistics)
    gaps: tuple[str, ...] = ()
