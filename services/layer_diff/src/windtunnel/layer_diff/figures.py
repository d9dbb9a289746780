"""Running figures of one layer over all samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.layer_diff.domain import CONSTANT_DIFFERS, NON_FINITE, SHAPE_DIFFERS


@dataclass(frozen=True, slots=True)
class Figures:
    """nRMSE and what it is made of; `nrmse` is None where `problem` says why."""

    nrmse: float | None
    rmse: float | None
    max_abs: float | None
    value_range: float | None
    problem: str | None


class LayerSums:
    """Sums in float64 that give a layer's nRMSE over all samples without keeping them.

    nRMSE = sqrt(MSE) / max(range(reference), range(candidate)), range = max - min over all samples (ML-EXray,
    MLSys 2022). Both ranges zero: 0 where the constants are equal; else infinite, shown as None with the problem
    CONSTANT_DIFFERS. A NaN or infinity on either side leaves no figure: NON_FINITE.
    """

    def __init__(self) -> None:
        self.samples = 0
        self.reference_non_finite = 0
        self.candidate_non_finite = 0
        self._shape_differs = False
        self._count = 0
        self._squares = 0.0
        self._max_abs = 0.0
        self._low = [math.inf, math.inf]
        self._high = [-math.inf, -math.inf]

    def add(self, reference: NDArray[Any], candidate: NDArray[Any]) -> None:
        """Adds one sample: real values of both sides, of one shape."""
        self.samples += 1
        if reference.shape != candidate.shape:
            self._shape_differs = True
            return
        a, b = reference.astype(np.float64, copy=False), candidate.astype(np.float64, copy=False)
        bad = int(a.size - np.count_nonzero(np.isfinite(a))), int(b.size - np.count_nonzero(np.isfinite(b)))
        self.reference_non_finite += bad[0]
        self.candidate_non_finite += bad[1]
        if any(bad) or not a.size:
            return
        difference = a - b
        self._count += difference.size
        self._squares += float(np.dot(difference.ravel(), difference.ravel()))
        self._max_abs = max(self._max_abs, float(np.abs(difference).max()))
        for side, values in enumerate((a, b)):
            self._low[side] = min(self._low[side], float(values.min()))
            self._high[side] = max(self._high[side], float(values.max()))

    def figures(self) -> Figures:
        """The figures over all samples added so far."""
        if self._shape_differs:
            return Figures(None, None, None, None, SHAPE_DIFFERS)
        if self.reference_non_finite or self.candidate_non_finite:
            return Figures(None, None, None, None, NON_FINITE)
        if not self._count:
            return Figures(0.0, 0.0, 0.0, 0.0, None)
        rmse = math.sqrt(self._squares / self._count)
        value_range = max(high - low for high, low in zip(self._high, self._low, strict=True))
        if value_range > 0.0:
            return Figures(rmse / value_range, rmse, self._max_abs, value_range, None)
        if rmse == 0.0:
            return Figures(0.0, 0.0, 0.0, 0.0, None)
        return Figures(None, rmse, self._max_abs, 0.0, CONSTANT_DIFFERS)
