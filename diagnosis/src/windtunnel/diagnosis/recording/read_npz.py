"""A recording from an edge.npz: arrays that any app can write with numpy.savez."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.recording.edge_recording import ONLY, Array, EdgeDevice, EdgeRecording, EdgeTimes, Rows
from windtunnel.diagnosis.recording.missing_parts import missing_parts
from windtunnel.diagnosis.recording.npz_extras import EXTRA_GROUPS, EXTRA_SINGLE, extra_counts, with_extras
from windtunnel.diagnosis.recording.npz_raw import raw_rows
from windtunnel.errors import InvalidInput
from windtunnel.pipeline.npz_arrays import read_arrays

_SINGLE: Final = ("raw", "input", "output", "sample_rate", "labels", "latency_ms", "accelerator")
_GROUPS: Final = ("raw", "input", "output", "postprocessed", "layer")
_FORM: Final = "arrays are raw, input, output, labels, postprocessed/<name>, layer/<tensor name> and latency_ms"
_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class _Parts:
    """The arrays of a file: those with a name of their own, and groups by the name after the slash."""

    single: Mapping[str, Array]
    groups: Mapping[str, Mapping[str, Array]]
    unknown: tuple[str, ...]


def read_npz_recording(path: Path) -> EdgeRecording:
    """Reads an edge.npz.

    Args:
        path: the file.

    Returns:
        The recording. Arrays that are stored without compression stay on disk until they are read.

    Raises:
        InvalidInput: a damaged file, objects, counts that differ, or an array that is not what it must be.
    """
    parts = _sorted_out(path, read_arrays(path))
    inputs, outputs = _named_or_only(path, parts, "input"), _named_or_only(path, parts, "output")
    raw = raw_rows(path, parts.single.get("raw"), parts.groups["raw"], tuple(inputs))
    layers, processed = parts.groups["layer"], parts.groups["postprocessed"]
    recording = EdgeRecording(
        source=str(path),
        count=0,
        raw=raw,
        inputs=inputs,
        outputs=outputs,
        layers=layers,
        postprocessed=processed,
        labels=_labels(path, parts.single.get("labels")),
        sample_rate_hz=_sample_rate(path, parts.single.get("sample_rate")),
        times=EdgeTimes(total=_latency(path, parts.single.get("latency_ms"))),
        device=EdgeDevice(accelerator=_text(path, "accelerator", parts.single.get("accelerator"))),
        gaps=(*_unread(parts.unknown), *missing_parts(raw, inputs, outputs)),
    )
    recording = with_extras(path, recording, parts.single, parts.groups)
    count = _count(path, recording)
    _check_layer_frames(path, recording, count)
    return replace(recording, count=count)


def _sorted_out(path: Path, arrays: Mapping[str, Array]) -> _Parts:
    single: dict[str, Array] = {}
    groups: dict[str, dict[str, Array]] = {name: {} for name in (*_GROUPS, *EXTRA_GROUPS)}
    unknown: list[str] = []
    for name, array in arrays.items():
        group, slash, rest = name.partition("/")
        if slash and rest and group in groups:
            groups[group][rest] = array
        elif name in _SINGLE or name in EXTRA_SINGLE:
            single[name] = array
        else:
            _refuse_misspelled(path, name, arrays)
            unknown.append(name)
    return _Parts(single, groups, tuple(unknown))


def _refuse_misspelled(path: Path, name: str, arrays: Mapping[str, Array]) -> None:
    group, slash, rest = name.partition("/")
    near = difflib.get_close_matches(group.lower(), _GROUPS if slash else _SINGLE, 1, 0.75)
    if near and not any(one.partition("/")[0] == near[0] for one in arrays):
        meant = near[0] + slash + rest
        raise InvalidInput(
            f"{path}: there is an array {name[:_SHOWN]!r} and no array {meant[:_SHOWN]!r}",
            hint=f"did you mean {meant[:_SHOWN]!r}? {_FORM}",
        )


def _named_or_only(path: Path, parts: _Parts, kind: str) -> Mapping[str, Rows]:
    only, named = parts.single.get(kind), parts.groups[kind]
    if only is not None and named:
        raise InvalidInput(
            f"{path}: there is both {kind!r} and '{kind}/{next(iter(named))[:_SHOWN]}'",
            hint=f"write {kind}/<name> for each, or only one array {kind}",
        )
    found = named if only is None else {ONLY: only}
    for name, array in found.items():
        title = f"{kind}/{name}" if name else kind
        # Text reaches a model that has its tokenizer inside.
        if array.ndim == 0:
            raise InvalidInput(
                f"{path}: {title!r} is one value, not (N, ...)", hint="every array has one entry for each frame"
            )
    return found


def _labels(path: Path, labels: Array | None) -> NDArray[Any] | None:
    if labels is None:
        return None
    if labels.dtype.kind not in "buif" or labels.ndim == 0:
        raise InvalidInput(
            f"{path}: 'labels' is of dtype {labels.dtype} and shape {labels.shape}",
            hint="labels are class indices (N,), as the outputs of the model count them",
        )
    return labels


def _latency(path: Path, values: Array | None) -> NDArray[np.float64] | None:
    if values is None:
        return None
    if values.dtype.kind not in "uif" or values.ndim != 1:
        raise InvalidInput(
            f"{path}: 'latency_ms' is of dtype {values.dtype} and shape {values.shape}",
            hint="one number for each frame (N,), in milliseconds",
        )
    times = np.asarray(values, np.float64)
    wrong = (times < 0) | np.isinf(times)
    if wrong.any():
        frame = int(np.argmax(wrong))
        raise InvalidInput(
            f"{path}: 'latency_ms' of frame {frame} is {times[frame]:g}",
            hint="milliseconds are 0 or more; NaN where it was not measured",
        )
    return times


def _sample_rate(path: Path, value: Array | None) -> float | None:
    if value is None:
        return None
    if value.dtype.kind not in "uif" or value.size != 1:
        raise InvalidInput(
            f"{path}: 'sample_rate' is of dtype {value.dtype} and shape {value.shape}", hint="one number, in Hz"
        )
    rate = float(value.reshape(-1)[0])
    if not math.isfinite(rate) or rate <= 0:
        raise InvalidInput(f"{path}: 'sample_rate' is {rate:g} Hz", hint="the rate of the raw audio, for example 16000")
    return rate


def _text(path: Path, name: str, value: Array | None) -> str:
    if value is None:
        return ""
    if value.dtype.kind not in "SU" or value.size != 1:
        raise InvalidInput(f"{path}: {name!r} is of dtype {value.dtype} and shape {value.shape}", hint="one text")
    one = value.reshape(-1)[0]
    return one.decode(errors="replace") if isinstance(one, bytes) else str(one)


def _unread(names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        yield f"array {name[:_SHOWN]!r} was not read: an edge.npz has no array of this name"


def _count(path: Path, recording: EdgeRecording) -> int:
    """How many frames all arrays have.

    Raises:
        InvalidInput: they differ, or there are none.
    """
    if not (recording.raw or recording.inputs or recording.outputs or recording.layers):
        raise InvalidInput(f"{path} has no array raw, input or output", hint=_FORM)
    counts = dict(_counts(recording))
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name[:_SHOWN]} {number}" for name, number in counts.items())
        raise InvalidInput(
            f"{path}: the arrays have different counts of frames: {said}",
            hint="every array has one entry for each frame, in the same order",
        )
    name, count = next(iter(counts.items()), ("layer_frames", 0))
    if count == 0:
        raise InvalidInput(f"{path}: there are no frames: {name!r} is empty", hint="record at least one frame")
    return count


def _counts(recording: EdgeRecording) -> Iterator[tuple[str, int]]:
    groups: dict[str, Mapping[str, Rows]] = {
        "raw": recording.raw,
        "input": recording.inputs,
        "output": recording.outputs,
        "postprocessed": recording.postprocessed,
    }
    if recording.layer_frames is None:
        groups["layer"] = recording.layers
    for group, rows in groups.items():
        for name, array in rows.items():
            yield f"{group}/{name}" if name else group, _length(array)
    if recording.labels is not None:
        yield "labels", len(recording.labels)
    if recording.times.total is not None:
        yield "latency_ms", len(recording.times.total)
    yield from extra_counts(recording)


def _length(rows: Rows) -> int:
    return 0 if isinstance(rows, np.ndarray) and rows.ndim == 0 else len(rows)


def _check_layer_frames(path: Path, recording: EdgeRecording, count: int) -> None:
    frames = recording.layer_frames
    if frames is None:
        return
    if frames.size and int(frames.max()) >= count:
        raise InvalidInput(f"{path}: 'layer_frames' names frame {frames.max()}, and there are {count}, counted from 0")
    for name, rows in recording.layers.items():
        if _length(rows) != len(frames):
            raise InvalidInput(
                f"{path}: 'layer/{name[:_SHOWN]}' has {_length(rows)} entries, and 'layer_frames' has {len(frames)}",
                hint="layer_frames says of which frames the layers are",
            )
