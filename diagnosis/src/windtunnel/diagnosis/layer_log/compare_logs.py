"""How far two layer logs of the same frames are apart, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from windtunnel.diagnosis.findings.layer_diff import CONSTANT_DIFFERS, NON_FINITE, SHAPE_DIFFERS
from windtunnel.diagnosis.layer_log.codec import SKETCH, Sketcher, Statistics
from windtunnel.diagnosis.layer_log.log_file import Frame, LayerLog
from windtunnel.diagnosis.numerics.layer_sums import LayerSums
from windtunnel.diagnosis.thresholds.numerics_thresholds import BOUND_SPREADS
from windtunnel.errors import InvalidInput
from windtunnel.tflite import Quantization, dequantize
from windtunnel.tflite.tensor_error import nrmse, rmse

UNREADABLE = "unreadable"
# How the name of a log ends that is still being written, or was interrupted.
PART = ".part"


@dataclass(frozen=True, slots=True)
class LoggedDiff:
    """nRMSE of one layer between two logs; None where `problem` says why.

    `relative_error` is the standard deviation of the estimate relative to the figure, 0 where both logs are lossless
    and the figure is exact. Where `is_bound`, statistics are too coarse for a figure: nRMSE and RMSE are at most these.
    """

    first: str
    second: str
    nrmse: float | None
    rmse: float | None
    relative_error: float
    problem: str | None = None
    is_bound: bool = False


def compare_logs(
    first: Path,
    second: Path,
    *,
    models: tuple[Path | None, Path | None] = (None, None),
    pairs: Sequence[tuple[str, str]] | None = None,
) -> list[LoggedDiff]:
    """Compares two logs of the same frames, as many as `common_frames` says.

    Two lossless logs give the exact figure. If one has statistics, the figure is estimated from the sketches. The MSE
    is estimated without bias, with a relative standard deviation of at most sqrt(2 / (16 frames)). The nRMSE, its root,
    has half of that (0.18 for one frame, 0.04 for 20), and a bias of at most -1 / (64 frames) of it. The sketches are
    rounded to float16: differences below 1e-3 of a layer's standard deviation are lost in the rounding, and only a
    bound is given.

    Args:
        first: of the reference.
        second: of the candidate.
        models: what lossless logs are read with, as for `LayerLog`.
        pairs: (layer of the first, layer of the second); None: layers of equal names.

    Returns:
        In the order of the second's layers.

    Raises:
        NotFound: there is no such log.
        InvalidInput: a file is not a log, the logs are of other frames, or they have no layer in common.
    """
    logs = LayerLog(first, models[0]), LayerLog(second, models[1])
    frames = common_frames(*logs)
    known = {layer["name"] for layer in logs[0].header["layers"]}
    names = [layer["name"] for layer in logs[1].header["layers"]]
    chosen = [(name, name) for name in names if name in known] if pairs is None else list(pairs)
    if not chosen:
        raise InvalidInput(f"{first.name} and {second.name} have no layer in common", hint="name the pairs")
    for log, layers in zip(logs, zip(*chosen, strict=True), strict=True):
        for layer in layers:
            log.quantization(layer)
    exact = logs[0].mode == logs[1].mode == "lossless"
    sums: list[_Exact | _Estimate] = [_Exact() if exact else _Estimate() for _ in chosen]
    sketcher = Sketcher()
    for first_frame, second_frame in zip(*(islice(log, frames) for log in logs), strict=True):
        for (a, b), one in zip(chosen, sums, strict=True):
            one.add(_Side(logs[0], first_frame, a, sketcher), _Side(logs[1], second_frame, b, sketcher))
    return [one.result(a, b) for (a, b), one in zip(chosen, sums, strict=True)]


def common_frames(first: LayerLog, second: LayerLog) -> int:
    """How many frames two logs are compared on: all, or those that an interrupted, cut or damaged one still has.

    Args:
        first: a log.
        second: another log.

    Returns:
        The number of frames.

    Raises:
        InvalidInput: a complete log has other frames than the other one: it was made of other samples.
    """
    short, long = sorted((first, second), key=lambda log: log.frames)
    if short.frames < long.frames and short.tail is None and short.path.suffix != PART:
        raise InvalidInput(
            f"{first.path.name} has {first.frames} frames, {second.path.name} has {second.frames}",
            hint="compare logs of the same samples: `layers log --max-samples` makes both equally long",
        )
    return short.frames


@dataclass(frozen=True, slots=True)
class _Side:
    """One layer in one frame of one log."""

    log: LayerLog
    frame: Frame
    layer: str
    sketcher: Sketcher

    @property
    def stored(self) -> NDArray[Any] | None:
        return self.frame.layers.get(self.layer)

    @property
    def quantization(self) -> Quantization | None:
        return self.log.quantization(self.layer)

    @property
    def statistics(self) -> Statistics | None:
        if self.log.mode == "statistics":
            return self.frame.statistics.get(self.layer)
        stored = self.stored
        return (
            None
            if stored is None
            else self.sketcher.statistics(dequantize(stored, self.quantization), self.frame.number).rounded()
        )


class _Exact:
    def __init__(self) -> None:
        self._sums = LayerSums()
        self._unreadable = False

    def add(self, first: _Side, second: _Side) -> None:
        a, b = first.stored, second.stored
        if a is None or b is None:
            self._unreadable = True
        else:
            self._sums.add(a, b, first.quantization, second.quantization)

    def result(self, first: str, second: str) -> LoggedDiff:
        if self._unreadable:
            return LoggedDiff(first, second, None, None, 0.0, UNREADABLE)
        figures = self._sums.figures()
        return LoggedDiff(first, second, figures.nrmse, figures.rmse, 0.0, figures.problem)


class _Estimate:
    def __init__(self) -> None:
        self._frames = 0
        self._count = 0
        self._squares = 0.0
        self._rounding = 0.0
        self._ends = [math.inf, -math.inf, math.inf, -math.inf]
        self._problem: str | None = None

    def add(self, first: _Side, second: _Side) -> None:
        a, b = first.statistics, second.statistics
        if a is None or b is None:
            self._problem = UNREADABLE
        elif a.count != b.count:
            self._problem = SHAPE_DIFFERS
        elif a.non_finite or b.non_finite:
            self._problem = NON_FINITE
        elif a.count:
            self._frames += 1
            self._count += a.count
            self._squares += a.squared_distance(b)
            self._rounding += a.squared_rounding(b)
            low, high, other_low, other_high = self._ends
            self._ends = [min(low, a.low), max(high, a.high), min(other_low, b.low), max(other_high, b.high)]

    def result(self, first: str, second: str) -> LoggedDiff:
        if self._problem is not None:
            return LoggedDiff(first, second, None, None, 0.0, self._problem)
        if not self._count:
            return LoggedDiff(first, second, 0.0, 0.0, 0.0)
        error, rounding = rmse(self._squares, self._count), rmse(self._rounding, self._count)
        spread = 1.0 / math.sqrt(2.0 * SKETCH * self._frames)
        low, high, other_low, other_high = self._ends
        span = max(high - low, other_high - other_low)
        if rounding > 0.0 and error <= rounding and span > 0.0:
            most = (error + rounding) * (1.0 + BOUND_SPREADS * spread)
            return LoggedDiff(first, second, most / span, most, 0.0, is_bound=True)
        figure = nrmse(error, span)
        # Rounding is evenly spread within its bound.
        uncertain = math.hypot(spread, rounding / (math.sqrt(3.0) * error)) if error else 0.0
        return LoggedDiff(first, second, figure, error, uncertain, CONSTANT_DIFFERS if figure is None else None)
