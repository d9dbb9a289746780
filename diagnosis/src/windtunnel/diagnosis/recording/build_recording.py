"""A session of an edge log as an `EdgeRecording`: arrays over the frames that have them, and words for the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.recording.edge_log import TEXT, EdgeSession, LoggedFrame, LoggedTensor, Role
from windtunnel.diagnosis.recording.edge_recording import Array, EdgeRecording, Rows, StoredQuantization
from windtunnel.diagnosis.recording.missing_parts import missing_parts
from windtunnel.diagnosis.recording.recorded_figures import statistics_of, times_of
from windtunnel.diagnosis.recording.split_batches import split_batches

Key = tuple[Role, str]
# What a frame must have to be compared: frames without it are left out if others have it.
_NEEDED: Final = (Role.RAW, Role.INPUT, Role.OUTPUT)
_SHOWN: Final = 3


def build_recording(session: EdgeSession, source: str) -> EdgeRecording:
    """The recording of a session.

    Only frames with the same raw samples, inputs and outputs can be rows of one array. The frames that have the most
    of them are kept, and the gaps say how many others there are. Values that the app's redaction changed are not used.

    Args:
        session: of an edge log.
        source: the file or folder, for messages.

    Returns:
        The recording. If no frame has values it has statistics and times only.
    """
    gaps = list(session.gaps)
    frames, tables = _without_redacted([one for frame in session.frames for one in split_batches(frame)], gaps)
    chosen = _most_complete(tables, gaps)
    all_tables, frames, tables = tables, [frames[index] for index in chosen], [tables[index] for index in chosen]
    rows = {key: _rows(tables, key) for key in _shared(tables, gaps)}
    layer_frames, layers = _layers(tables, gaps)
    if not layers and any(key[0] == Role.LAYER for table in all_tables for key in table):
        gaps.append("layers are recorded only in frames that are not compared")
    raw, inputs, outputs, processed = (
        _of(rows, role) for role in (Role.RAW, Role.INPUT, Role.OUTPUT, Role.POSTPROCESSED)
    )
    return EdgeRecording(
        source=source,
        count=len(frames),
        raw=raw,
        inputs=inputs,
        outputs=outputs,
        layers=layers,
        layer_frames=layer_frames,
        layer_quantization=_quantization(tables, layers, gaps),
        postprocessed=processed,
        functions=_functions(rows),
        labels=_labels(frames, gaps),
        sample_rate_hz=_sample_rate(frames, gaps),
        times=times_of(frames),
        device=session.device,
        statistics=statistics_of(frames),
        gaps=(*gaps, *missing_parts(raw, inputs, outputs)),
    )


def _without_redacted(
    frames: list[LoggedFrame], gaps: list[str]
) -> tuple[list[LoggedFrame], list[dict[Key, LoggedTensor]]]:
    """The frames, and of each the tensors whose values can be used."""
    redacted: Counter[Key] = Counter()
    twice: Counter[Key] = Counter()
    tables: list[dict[Key, LoggedTensor]] = []
    for frame in frames:
        table: dict[Key, LoggedTensor] = {}
        for tensor in frame.tensors:
            key = (tensor.role, tensor.name)
            if tensor.redacted:
                redacted[key] += 1
            elif key in table:
                twice[key] += 1
            elif tensor.values is not None:
                table[key] = tensor
        tables.append(table)
    gaps.extend(f"{_title(key)} was redacted by the app in {_frames(n)}: not used" for key, n in redacted.items())
    gaps.extend(
        f"{_title(key)} is recorded more than once in {_frames(n)}: the first is used" for key, n in twice.items()
    )
    return frames, tables


def _most_complete(tables: Sequence[Mapping[Key, LoggedTensor]], gaps: list[str]) -> list[int]:
    """The frames with the most complete raw samples, inputs and outputs; the largest group of them."""
    kinds = [frozenset(key for key in table if key[0] in _NEEDED) for table in tables]
    counted = Counter(kinds)
    if len(counted) <= 1:
        return list(range(len(tables)))
    # Raw samples decide first: nothing is known about the preprocessing of other frames.
    best = max(counted, key=lambda kind: (len({key[0] for key in kind}), _has_raw(kind), counted[kind], len(kind)))
    kept = [index for index, kind in enumerate(kinds) if best <= kind]
    left = Counter(_difference(best, kind) for kind in kinds if not best <= kind)
    gaps.extend(f"{_frames(count)} not compared: {what} not recorded there" for what, count in left.items())
    return kept


def _has_raw(kind: Iterable[Key]) -> bool:
    return any(key[0] == Role.RAW for key in kind)


def _difference(best: frozenset[Key], kind: frozenset[Key]) -> str:
    # Raw samples, inputs and outputs without a name come first.
    missing = [
        _title(key) for key in sorted(best - kind, key=lambda key: (bool(key[1]), _NEEDED.index(key[0]), key[1]))
    ]
    more = [f"{len(missing) - _SHOWN} more"] if len(missing) > _SHOWN else []
    return f"{' and '.join([*missing[:_SHOWN], *more])} {'is' if len(missing) == 1 else 'are'}"


def _shared(tables: Sequence[Mapping[Key, LoggedTensor]], gaps: list[str]) -> list[Key]:
    """What every frame has, in the order of the app; layers are looked at apart."""
    counted = Counter(key for table in tables for key in table if key[0] != Role.LAYER)
    for key, count in counted.items():
        if count < len(tables):
            gaps.append(f"{_title(key)} is recorded in only {count} of {len(tables)} frames: not used")
    return [key for key, count in counted.items() if count == len(tables)]


def _layers(
    tables: Sequence[Mapping[Key, LoggedTensor]], gaps: list[str]
) -> tuple[NDArray[np.int64] | None, Mapping[str, Rows]]:
    """The frames with layers, None: all; and the layers that all of these frames have."""
    counted = Counter(key for table in tables for key in table if key[0] == Role.LAYER)
    if not counted:
        return None, MappingProxyType({})
    most = max(counted.values())
    always = [key for key, count in counted.items() if count == most]
    frames = [index for index, table in enumerate(tables) if all(key in table for key in always)]
    if not frames:
        # No frame has all of the most frequent ones: those of one frame are better than none.
        frames = [max(range(len(tables)), key=lambda index: sum(key in tables[index] for key in always))]
        always = [key for key in always if key in tables[frames[0]]]
    chosen = [tables[index] for index in frames]
    shared = [key for key in counted if all(key in table for table in chosen)]
    if len(shared) < len(counted):
        left = len(counted) - len(shared)
        gaps.append(f"{left} {'layer is' if left == 1 else 'layers are'} not recorded in every frame: not used")
    if len(frames) < len(tables):
        gaps.append(f"layers are recorded in only {len(frames)} of {len(tables)} frames")
    where = None if len(frames) == len(tables) else np.array(frames, np.int64)
    return where, MappingProxyType({key[1]: _rows(chosen, key) for key in shared})


def _rows(tables: Sequence[Mapping[Key, LoggedTensor]], key: Key) -> Rows:
    arrays: list[Array] = [_values(table[key]) for table in tables]
    if tables and tables[0][key].dtype == TEXT:
        return np.array([str(one) for one in arrays])
    if len({(one.shape, one.dtype) for one in arrays}) == 1:
        return np.stack(arrays)
    return arrays


def _values(tensor: LoggedTensor) -> Array:
    assert tensor.values is not None
    return tensor.values


def _of(rows: Mapping[Key, Rows], role: Role) -> Mapping[str, Rows]:
    return MappingProxyType({key[1]: value for key, value in rows.items() if key[0] == role})


def _functions(rows: Mapping[Key, Rows]) -> Mapping[str, tuple[Rows, Rows]]:
    given, returned = _of(rows, Role.FUNCTION_INPUT), _of(rows, Role.FUNCTION_OUTPUT)
    return MappingProxyType({name: (given[name], returned[name]) for name in given if name in returned})


def _quantization(
    tables: Sequence[Mapping[Key, LoggedTensor]], layers: Mapping[str, Rows], gaps: list[str]
) -> Mapping[str, StoredQuantization]:
    found: dict[str, StoredQuantization] = {}
    for name in layers:
        stored = {
            (tensor.scale, tensor.zero_point)
            for table in tables
            if (tensor := table.get((Role.LAYER, name))) is not None and tensor.scale
        }
        if len(stored) == 1:
            found[name] = StoredQuantization(*stored.pop())
        elif stored:
            gaps.append(f"layer {name!r} has {len(stored)} different scales: its model changed during the session")
    return MappingProxyType(found)


def _labels(frames: Sequence[LoggedFrame], gaps: list[str]) -> NDArray[Any] | None:
    labels = [frame.label for frame in frames]
    known = [label for label in labels if label is not None]
    if known and len(known) < len(labels):
        gaps.append(f"only {len(known)} of {len(labels)} frames have a label: labels are not used")
    return np.array(known, np.int64) if known and len(known) == len(labels) else None


def _sample_rate(frames: Sequence[LoggedFrame], gaps: list[str]) -> float | None:
    rates = {frame.sample_rate_hz for frame in frames} - {None}
    if len(rates) > 1:
        said = ", ".join(f"{rate:g}" for rate in sorted(rate for rate in rates if rate is not None))
        gaps.append(f"frames have different sample rates: {said} Hz; the rate is not used")
    return rates.pop() if len(rates) == 1 else None


def _title(key: Key) -> str:
    role = {Role.RAW: "the raw sample", Role.INPUT: "input", Role.OUTPUT: "output"}.get(
        key[0], key[0].replace("_", " ")
    )
    return f"{role} {key[1][:80]!r}" if key[1] else role


def _frames(count: int) -> str:
    return f"{count} frame{'s' if count != 1 else ''}"
