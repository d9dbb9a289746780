"""How far two sessions of edge logs are apart, frame by frame and tensor by tensor."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from windtunnel.diagnosis.edge_logs.tensor_figures import figures_of, real_projection
from windtunnel.diagnosis.findings.layer_diff import CONSTANT_DIFFERS, NON_FINITE, SHAPE_DIFFERS
from windtunnel.diagnosis.recording.edge_log import TEXT, EdgeSession, FrameStatistics, LoggedFrame, LoggedTensor, Role
from windtunnel.monitor.statistics import SUMS, distance
from windtunnel.tflite import Quantization, dequantize
from windtunnel.tflite.tensor_error import nrmse, rmse

TEXT_DIFFERS = "text differs"
NOT_RECORDED = "neither values nor statistics in both"
Key = tuple[Role, str]


@dataclass(frozen=True, slots=True)
class FrameError:
    """The difference of a tensor in one pair of frames, by the number of the first; None where `problem` says why."""

    frame: int
    rmse: float | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class TensorDiff:
    """The difference of a tensor over all pairs of frames.

    Attributes:
        role, name: the tensor.
        frames: in how many pairs of frames it was compared.
        nrmse, rmse: over all of them, of real values; None where `problem` says why.
        relative_error: standard deviation of the figures as a share of them; 0: they are exact.
        errors: frame by frame.
        problem: the first one.
    """

    role: Role
    name: str
    frames: int
    nrmse: float | None
    rmse: float | None
    relative_error: float
    errors: tuple[FrameError, ...]
    problem: str | None

    @property
    def worst(self) -> FrameError | None:
        """The frame that differs most; None: none was compared."""
        return max(self.errors, key=lambda one: (one.problem is not None, one.rmse or 0.0), default=None)


@dataclass(frozen=True, slots=True)
class SessionDiff:
    """The comparison of two sessions.

    Attributes:
        pairs: numbers of the frames that were compared, of the first and of the second.
        by_number: frames of one number were paired; False: no number is in both, they were paired in order.
        alone: how many frames of each have no counterpart.
        tensors: in the order of the first.
        unmatched: tensors that only one of the sessions has, with which.
        notes: what limits the comparison, as sentences.
    """

    pairs: tuple[tuple[int, int], ...]
    by_number: bool
    alone: tuple[int, int]
    tensors: tuple[TensorDiff, ...]
    unmatched: tuple[tuple[Key, str], ...]
    notes: tuple[str, ...]


def compare_sessions(first: EdgeSession, second: EdgeSession) -> SessionDiff:
    """Compares two sessions. Frames of one number belong together; if no number is in both, frames in order.

    Values give exact figures. Where one side has only statistics, the difference is estimated from the projections
    (docs/edge-log.md), with the standard deviation that `relative_error` says. Integers with a scale are compared as
    the real numbers that they stand for.

    Args:
        first: the reference.
        second: the candidate.

    Returns:
        The comparison.
    """
    pairs, by_number = _pairs(first.frames, second.frames)
    tables = [(_table(a), _table(b)) for a, b in pairs]
    keys = [dict.fromkeys(key for pair in tables for key in pair[side]) for side in (0, 1)]
    tensors = [_tensor_diff(key, pairs, tables) for key in keys[0] if key in keys[1]]
    unmatched = [(key, "first") for key in keys[0] if key not in keys[1]]
    unmatched += [(key, "second") for key in keys[1] if key not in keys[0]]
    alone = (len(first.frames) - len(pairs), len(second.frames) - len(pairs))
    notes = [] if by_number else ["the logs have no frame number in common: frames were paired in their order"]
    if any(alone):
        notes.append(f"{alone[0]} frames of the first and {alone[1]} of the second log have no counterpart")
    return SessionDiff(
        pairs=tuple((a.number, b.number) for a, b in pairs),
        by_number=by_number,
        alone=alone,
        tensors=tuple(tensors),
        unmatched=tuple(unmatched),
        notes=tuple(notes),
    )


def _pairs(
    first: Sequence[LoggedFrame], second: Sequence[LoggedFrame]
) -> tuple[list[tuple[LoggedFrame, LoggedFrame]], bool]:
    numbered = {frame.number: frame for frame in second}
    pairs = [(frame, numbered[frame.number]) for frame in first if frame.number in numbered]
    if pairs or not (first and second):
        return pairs, True
    return list(zip(first, second, strict=False)), False


def _table(frame: LoggedFrame) -> dict[Key, LoggedTensor]:
    table: dict[Key, LoggedTensor] = {}
    for tensor in frame.tensors:
        table.setdefault((tensor.role, tensor.name), tensor)
    return table


@dataclass(slots=True)
class _Sums:
    """Sums over the frames of one tensor: squared differences, values, and the ends of both sides."""

    squares: float = 0.0
    count: int = 0
    ends: list[float] = field(default_factory=lambda: [math.inf, -math.inf, math.inf, -math.inf])
    estimates: int = 0

    def add(self, squares: float, count: int, ends: tuple[float, float, float, float]) -> None:
        self.squares += squares
        self.count += count
        self.ends = [pick(old, new) for pick, old, new in zip((min, max, min, max), self.ends, ends, strict=True)]

    @property
    def range(self) -> float:
        low, high, other_low, other_high = self.ends
        return max(high - low, other_high - other_low, 0.0)


def _tensor_diff(
    key: Key,
    pairs: Sequence[tuple[LoggedFrame, LoggedFrame]],
    tables: Sequence[tuple[Mapping[Key, LoggedTensor], Mapping[Key, LoggedTensor]]],
) -> TensorDiff:
    sums = _Sums()
    errors = [
        _frame_error(frame.number, a[key], b[key], sums)
        for (frame, _), (a, b) in zip(pairs, tables, strict=True)
        if key in a and key in b
    ]
    # A frame that lacks the values says nothing, unless all of them do.
    errors = [one for one in errors if one.problem != NOT_RECORDED] or errors
    problem = next((one.problem for one in errors if one.problem is not None), None)
    if not errors:
        problem = "never in both of a pair of frames"
    error = rmse(sums.squares, sums.count) if sums.count else 0.0
    figure = None if problem else nrmse(error, sums.range)
    if figure is None and problem is None:
        problem = CONSTANT_DIFFERS
    # Of the root of a mean of estimates, each with a relative standard deviation of sqrt(2 / SUMS).
    spread = math.sqrt(1 / (2 * SUMS * sums.estimates)) if sums.estimates else 0.0
    return TensorDiff(
        *key, len(errors), figure, None if problem else error, spread if error else 0.0, tuple(errors), problem
    )


def _frame_error(frame: int, a: LoggedTensor, b: LoggedTensor, sums: _Sums) -> FrameError:
    if TEXT in (a.dtype, b.dtype):
        return _text_error(frame, a, b)
    if a.shape != b.shape:
        return FrameError(frame, None, f"{SHAPE_DIFFERS}: {list(a.shape)} and {list(b.shape)}")
    if a.values is not None and b.values is not None:
        return _exact(frame, a, b, sums)
    figures = figures_of(a), figures_of(b)
    if figures[0] is None or figures[1] is None:
        return FrameError(frame, None, NOT_RECORDED)
    return _estimated(frame, (a, b), (figures[0], figures[1]), sums)


def _text_error(frame: int, a: LoggedTensor, b: LoggedTensor) -> FrameError:
    if a.values is None or b.values is None:
        return FrameError(frame, None, NOT_RECORDED)
    same = a.dtype == b.dtype and str(a.values) == str(b.values)
    return FrameError(frame, 0.0 if same else None, None if same else TEXT_DIFFERS)


def _exact(frame: int, a: LoggedTensor, b: LoggedTensor, sums: _Sums) -> FrameError:
    assert a.values is not None and b.values is not None
    sides = [dequantize(one.values, _quantization(one)) for one in (a, b) if one.values is not None]
    if not all(np.isfinite(side).all() for side in sides):
        same = np.array_equal(sides[0], sides[1], equal_nan=True)
        return FrameError(frame, 0.0 if same else None, None if same else NON_FINITE)
    if not sides[0].size:
        return FrameError(frame, 0.0, None)
    difference = sides[1] - sides[0]
    squares = float(np.sum(difference * difference))
    ends = (float(sides[0].min()), float(sides[0].max()), float(sides[1].min()), float(sides[1].max()))
    sums.add(squares, difference.size, ends)
    return FrameError(frame, rmse(squares, difference.size), None)


def _estimated(
    frame: int,
    tensors: tuple[LoggedTensor, LoggedTensor],
    figures: tuple[FrameStatistics, FrameStatistics],
    sums: _Sums,
) -> FrameError:
    if figures[0].count != figures[1].count:
        return FrameError(frame, None, f"{SHAPE_DIFFERS}: {figures[0].count} and {figures[1].count} values")
    if figures[0].non_finite or figures[1].non_finite:
        # NaN does not equal NaN; the figures of equal arrays are equal.
        return FrameError(frame, *((0.0, None) if figures[0] == figures[1] else (None, NON_FINITE)))
    if not figures[0].count:
        return FrameError(frame, 0.0, None)
    projections = [
        real_projection(one, tensor.scale, tensor.zero_point) for one, tensor in zip(figures, tensors, strict=True)
    ]
    if len(projections[0]) != len(projections[1]) or not len(projections[0]):
        return FrameError(frame, None, NOT_RECORDED)
    squares, count = distance(projections[0].tolist(), projections[1].tolist()) ** 2, figures[0].count
    ends = tuple(end for one, tensor in zip(figures, tensors, strict=True) for end in _real_ends(one, tensor))
    sums.add(squares, count, (ends[0], ends[1], ends[2], ends[3]))
    sums.estimates += count > SUMS
    return FrameError(frame, rmse(squares, count), None)


def _real_ends(figures: FrameStatistics, tensor: LoggedTensor) -> Iterator[float]:
    for end in (figures.min, figures.max):
        yield (end - tensor.zero_point) * tensor.scale if tensor.scale else end


def _quantization(tensor: LoggedTensor) -> Quantization | None:
    if not tensor.scale or np.dtype(tensor.dtype).kind not in "iu":
        return None
    return Quantization((tensor.scale,), (tensor.zero_point,))
