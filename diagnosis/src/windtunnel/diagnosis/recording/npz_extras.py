"""What an edge.npz made from an edge log says beyond the arrays that every app can write: how both are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.recording.edge_recording import (
    Array,
    EdgeDevice,
    EdgeRecording,
    EdgeTimes,
    Rows,
    StoredQuantization,
)
from windtunnel.errors import InvalidInput

EXTRA_SINGLE: Final = ("device", "gaps", "layer_frames", "inference_ms")
EXTRA_GROUPS: Final = ("function_input", "function_output", "stage_ms", "layer_ms", "quantization")
_SHOWN: Final = 80
_HINT: Final = "write the file with `windtunnel log export --npz`, or leave the array out"
_TEXTS: Final = tuple(one.name for one in fields(EdgeDevice) if one.name not in ("redacted", "others"))


def extra_arrays(recording: EdgeRecording) -> dict[str, Array]:
    """The additional arrays of a recording.

    Args:
        recording: what an app recorded.

    Returns:
        The arrays by their names in the file; only those that say something.
    """
    arrays: dict[str, Array] = {}
    device = {name: value for name, value in _device_values(recording.device).items() if value}
    if device:
        arrays["device"] = np.array(json.dumps(device, ensure_ascii=False))
    if recording.gaps:
        arrays["gaps"] = np.array(recording.gaps)
    if recording.layer_frames is not None:
        arrays["layer_frames"] = recording.layer_frames
    if recording.times.inference is not None:
        arrays["inference_ms"] = recording.times.inference
    for group, times in (("stage_ms", recording.times.stages), ("layer_ms", recording.times.layers)):
        arrays |= {f"{group}/{name}": values for name, values in times.items()}
    for name, stored in recording.layer_quantization.items():
        arrays[f"quantization/{name}"] = np.array([stored.scale, stored.zero_point], np.float64)
    return arrays


def with_extras(
    path: Path, recording: EdgeRecording, single: Mapping[str, Array], groups: Mapping[str, Mapping[str, Array]]
) -> EdgeRecording:
    """A recording with what the additional arrays of its file say.

    Args:
        path: the file, for messages.
        recording: from the arrays that every app can write.
        single: arrays with a name of their own.
        groups: arrays by group and by the name after the slash.

    Returns:
        The recording.

    Raises:
        InvalidInput: an array that is not what it must be.
    """
    device = recording.device
    if "device" in single:
        device = _device(path, single["device"], device)
    gaps = recording.gaps
    if "gaps" in single:
        gaps = tuple(dict.fromkeys((*_gaps(path, single["gaps"]), *gaps)))
    frames = _whole_numbers(path, single["layer_frames"]) if "layer_frames" in single else None
    times = EdgeTimes(
        total=recording.times.total,
        inference=_times(path, "inference_ms", single.get("inference_ms")),
        stages=_all_times(path, "stage_ms", groups["stage_ms"]),
        layers=_all_times(path, "layer_ms", groups["layer_ms"]),
    )
    return replace(
        recording,
        device=device,
        gaps=gaps,
        layer_frames=frames,
        times=times,
        functions=_functions(path, groups["function_input"], groups["function_output"]),
        layer_quantization=MappingProxyType(
            {name: _quantization(path, name, array) for name, array in groups["quantization"].items()}
        ),
    )


def extra_counts(recording: EdgeRecording) -> Iterator[tuple[str, int]]:
    """How many frames the additional arrays have.

    Args:
        recording: a recording with them.

    Yields:
        Name and count of each array with an entry for each frame.
    """
    if recording.times.inference is not None:
        yield "inference_ms", len(recording.times.inference)
    for group, times in (("stage_ms", recording.times.stages), ("layer_ms", recording.times.layers)):
        for name, values in times.items():
            yield f"{group}/{name}", len(values)
    for name, (given, returned) in recording.functions.items():
        yield f"function_input/{name}", len(given)
        yield f"function_output/{name}", len(returned)


def _device_values(device: EdgeDevice) -> dict[str, Any]:
    return {**asdict(replace(device, others={})), "redacted": list(device.redacted), "others": dict(device.others)}


def _device(path: Path, text: Array, known: EdgeDevice) -> EdgeDevice:
    try:
        said = json.loads(str(text.reshape(-1)[0])) if text.dtype.kind == "U" and text.size == 1 else None
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise InvalidInput(f"{path}: 'device' is not the text of a JSON object", hint=_HINT)
    texts = {name: str(said[name]) for name in _TEXTS if said.get(name)}
    redacted, others = said.get("redacted", []), said.get("others", {})
    if not isinstance(redacted, list) or not isinstance(others, dict):
        raise InvalidInput(f"{path}: 'device' has a `redacted` or `others` of another form", hint=_HINT)
    if known.accelerator:
        texts["accelerator"] = known.accelerator
    kept = MappingProxyType({str(name): str(value) for name, value in others.items()})
    return EdgeDevice(**texts, redacted=tuple(map(str, redacted)), others=kept)


def _gaps(path: Path, texts: Array) -> list[str]:
    if texts.dtype.kind != "U" or texts.ndim != 1:
        raise InvalidInput(f"{path}: 'gaps' is of dtype {texts.dtype} and shape {texts.shape}", hint="a list of texts")
    return [str(text) for text in texts]


def _whole_numbers(path: Path, array: Array) -> NDArray[np.int64]:
    if array.dtype.kind not in "iu" or array.ndim != 1 or (array.size and int(array.min()) < 0):
        raise InvalidInput(
            f"{path}: 'layer_frames' is of dtype {array.dtype} and shape {array.shape}",
            hint="the frames, counted from 0, that the arrays layer/<tensor name> are of",
        )
    return np.asarray(array, np.int64)


def _times(path: Path, name: str, array: Array | None) -> NDArray[np.float64] | None:
    if array is None:
        return None
    if array.dtype.kind not in "uif" or array.ndim != 1:
        raise InvalidInput(
            f"{path}: {name[:_SHOWN]!r} is of dtype {array.dtype} and shape {array.shape}",
            hint="one number for each frame (N,), in milliseconds",
        )
    return np.asarray(array, np.float64)


def _all_times(path: Path, group: str, arrays: Mapping[str, Array]) -> Mapping[str, NDArray[np.float64]]:
    found = {name: _times(path, f"{group}/{name}", array) for name, array in arrays.items()}
    return MappingProxyType({name: values for name, values in found.items() if values is not None})


def _functions(
    path: Path, given: Mapping[str, Array], returned: Mapping[str, Array]
) -> Mapping[str, tuple[Rows, Rows]]:
    alone = sorted(given.keys() ^ returned.keys())
    if alone:
        raise InvalidInput(
            f"{path}: of 'function_input/{alone[0][:_SHOWN]}' and 'function_output/{alone[0][:_SHOWN]}' one is missing",
            hint=_HINT,
        )
    for name in given:
        if not given[name].ndim or not returned[name].ndim:
            raise InvalidInput(f"{path}: function {name[:_SHOWN]!r} has one value, not one for each frame", hint=_HINT)
    return MappingProxyType({name: (given[name], returned[name]) for name in given})


def _quantization(path: Path, name: str, array: Array) -> StoredQuantization:
    if array.dtype.kind not in "uif" or array.shape != (2,):
        raise InvalidInput(
            f"{path}: 'quantization/{name[:_SHOWN]}' is of dtype {array.dtype} and shape {array.shape}",
            hint="two numbers: scale and zero point",
        )
    return StoredQuantization(float(array[0]), int(array[1]))
