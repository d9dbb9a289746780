"""How far two layer logs of the same frames are apart, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from windtunnel.errors import InvalidInput
from windtunnel.layer_diff.domain import CONSTANT_DIFFERS, NON_FINITE, SHAPE_DIFFERS
from windtunnel.layer_diff.figures import LayerSums
from windtunnel.layer_diff.formulas import nrmse, rmse
from windtunnel.layer_diff.layer_log import Frame, LayerLog
from windtunnel.layer_diff.log_codec import SKETCH, Sketcher, Statistics
from windtunnel.tflite import Quantization, dequantize

UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class LoggedDiff:
    """nRMSE of one layer between two logs; None where `problem` says why.

    `relative_error` is the standard deviation of the estimate relative to the figure, 0 where both logs are lossless
    and the figure is exact.
    """

    first: str
    second: str
    nrmse: float | None
    rmse: float | None
    relative_error: float
    problem: str | None = None


def compare_logs(
    first: Path,
    second: Path,
    *,
    models: tuple[Path | None, Path | None] = (None, None),
    pairs: Sequence[tuple[str, str]] | None = None,
) -> list[LoggedDiff]:
    """Compares two logs of the same frames, in the order of the second's layers.

    Args:
        models: what lossless logs are read with, as for `LayerLog`.
        pairs: (layer of the first, layer of the second); None: layers of equal names.

    Two lossless logs give the exact figure. Where one holds statistics it is estimated from the sketches: the MSE
    without bias, with a relative standard deviation of at most sqrt(2 / (16 frames)); the nRMSE, its root, with half
    of that (0.18 for one frame, 0.04 for 20) and a bias of at most -1 / (64 frames) of it. The sketches are rounded
    to float16: differences below 1e-3 of a layer's standard deviation drown. Raises NotFound and InvalidInput, also
    where the logs have not the same number of frames or no layer in common.
    """
    logs = LayerLog(first, models[0]), LayerLog(second, models[1])
    if logs[0].frames != logs[1].frames:
        raise InvalidInput(
            f"{first.name} has {logs[0].frames} frames, {second.name} has {logs[1].frames}",
            hint="compare logs of the same frames",
        )
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
    for first_frame, second_frame in zip(*logs, strict=True):
        for (a, b), one in zip(chosen, sums, strict=True):
            one.add(_Side(logs[0], first_frame, a, sketcher), _Side(logs[1], second_frame, b, sketcher))
    return [one.result(a, b) for (a, b), one in zip(chosen, sums, strict=True)]


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
            else self.sketcher.statistics(dequantize(stored, self.quantization), self.frame.number)
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
            low, high, other_low, other_high = self._ends
            self._ends = [min(low, a.low), max(high, a.high), min(other_low, b.low), max(other_high, b.high)]

    def result(self, first: str, second: str) -> LoggedDiff:
        if self._problem is not None:
            return LoggedDiff(first, second, None, None, 0.0, self._problem)
        if not self._count:
            return LoggedDiff(first, second, 0.0, 0.0, 0.0)
        error = rmse(self._squares, self._count)
        low, high, other_low, other_high = self._ends
        figure = nrmse(error, max(high - low, other_high - other_low))
        spread = 1.0 / math.sqrt(2.0 * SKETCH * self._frames) if error else 0.0
        return LoggedDiff(first, second, figure, error, spread, CONSTANT_DIFFERS if figure is None else None)
