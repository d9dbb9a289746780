"""What one isolated layer does to the reference's values: sums over samples, block by block.

Blocks of some hundred kilobytes stay in the processor's cache, and need no new memory for every layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.numerics import metrics
from windtunnel.diagnosis.numerics.layer_totals import LayerTotals
from windtunnel.tflite import Quantization, dequantize, quantize
from windtunnel.tflite.dtypes import integer_limits

_BLOCK: Final = 1 << 15


@dataclass(frozen=True, slots=True)
class Local:
    """What one layer does to the reference's values, over `samples` samples.

    `nrmse`, `rmse` and `max_abs` are the isolated error (see `metrics`); None if nothing could be run. `low` and `high`
    are the reference's observed range, `deviation` is its standard deviation. If the tensor is quantized, `clipped` is
    the share of these values outside its quantization range, `clip_rmse` and `round_rmse` are what clipping and
    rounding cost, in real units.
    """

    samples: int
    nrmse: float | None
    rmse: float | None
    max_abs: float | None
    low: float
    high: float
    clipped: float = 0.0
    clip_rmse: float = 0.0
    round_rmse: float = 0.0
    deviation: float = 0.0


@dataclass(frozen=True, slots=True)
class Stored:
    """An array as a tensor stores it, with what makes its values real."""

    array: NDArray[Any]
    quantization: Quantization | None = None

    @property
    def flat(self) -> tuple[NDArray[Any], float, int]:
        """All values in one row, and the scale and zero point of them all."""
        whole = self.quantization
        if whole is None or self.array.dtype.kind not in "iu":
            array = dequantize(self.array, None) if self.array.dtype.kind == "c" else self.array
            return array.reshape(-1), 1.0, 0
        if whole.block_size is None and len(whole.scales) == 1:
            return self.array.reshape(-1), whole.scales[0], whole.zero_points[0]
        return dequantize(self.array, whole).reshape(-1), 1.0, 0

    def transposed(self, order: tuple[int, ...] | None) -> Stored:
        """The values with their dimensions in another order.

        Args:
            order: of the dimensions; None: as they are.

        Returns:
            A view.
        """
        return self if order is None else Stored(np.transpose(self.array, order), self.quantization)


class LocalSums:
    """Running sums of one layer."""

    def __init__(self) -> None:
        self.samples = 0
        self._count = 0
        self._squares = 0.0
        self._max_abs = 0.0
        self._ends = ([math.inf, -math.inf], [math.inf, -math.inf])
        self._seen = [math.inf, -math.inf]
        self._seen_count = self._outside = 0
        self._clip = self._round = self._sum = self._power = 0.0
        self._unknown = False

    def add(self, reference: Stored, candidate: Stored) -> None:
        """Adds what both models made of the same inputs.

        Args:
            reference: output of the reference's layer.
            candidate: output of the candidate's layer.
        """
        if reference.array.size != candidate.array.size:
            self._unknown = True
            return
        self.samples += 1
        self._count += reference.array.size
        for a, b in _blocks(reference, candidate):
            for ends, one in zip(self._ends, (a, b), strict=True):
                ends[:] = min(ends[0], float(one.min())), max(ends[1], float(one.max()))
            with np.errstate(invalid="ignore"):
                b -= a
            self._max_abs = max(self._max_abs, abs(float(b.min())), abs(float(b.max())))
            self._squares += _power(b)
        # NaN and infinity on either side reach the sum.
        self._unknown |= not math.isfinite(self._squares)

    def see(self, values: Stored) -> None:
        """Adds the observed range of a tensor that can represent all values.

        Args:
            values: the reference's.
        """
        for (one,) in _blocks(values):
            self._see(one)

    def hold(self, values: Stored, quantization: Quantization, dtype: str) -> Stored:
        """Quantizes values, and adds what that costs.

        Args:
            values: the reference's, real.
            quantization: of the candidate's tensor.
            dtype: of the candidate's tensor.

        Returns:
            As the candidate's tensor stores them.

        Raises:
            InvalidInput: NaN or infinity.
        """
        limits = representable(quantization, dtype)
        held = np.empty(values.array.size, np.dtype(dtype))
        start = 0
        for (one,) in _blocks(values):
            part = quantize(one, quantization, dtype)
            held[start : start + one.size] = part
            start += one.size
            self._see(one)
            error = dequantize(part, quantization)
            error -= one
            error *= error
            outside = (one < limits[0]) | (one > limits[1])
            clipped = float(error[outside].sum()) if outside.any() else 0.0
            self._outside += int(np.count_nonzero(outside))
            self._clip += clipped
            self._round += float(error.sum()) - clipped
        return Stored(held.reshape(values.array.shape), quantization)

    def result(self) -> Local:
        """The figures so far."""
        totals = None if self._unknown or not self._count else self._totals()
        seen = max(1, self._seen_count)
        spread = self._power / seen - (self._sum / seen) ** 2
        return Local(
            samples=self.samples,
            nrmse=None if totals is None else metrics.nrmse(totals),
            rmse=None if totals is None else metrics.rmse(totals),
            max_abs=None if totals is None else metrics.max_abs(totals),
            low=self._seen[0],
            high=self._seen[1],
            clipped=self._outside / seen,
            clip_rmse=math.sqrt(max(0.0, self._clip) / seen),
            round_rmse=math.sqrt(max(0.0, self._round) / seen),
            deviation=math.sqrt(max(0.0, spread)),
        )

    def _totals(self) -> LayerTotals:
        reference, candidate = ((low, high) for low, high in self._ends)
        return LayerTotals(self.samples, self._count, self._squares, self._max_abs, reference, candidate)

    def _see(self, values: NDArray[np.float64]) -> None:
        power = _power(values)
        if not math.isfinite(power):
            return
        self._seen = [min(self._seen[0], float(values.min())), max(self._seen[1], float(values.max()))]
        self._seen_count += values.size
        self._sum += float(values.sum())
        self._power += power


def representable(quantization: Quantization, dtype: str) -> tuple[float, float]:
    """The range that a tensor with one scale can represent.

    Args:
        quantization: of the tensor.
        dtype: of the tensor.

    Returns:
        (least, largest) real number.
    """
    least, most = integer_limits(dtype)
    scale, zero = quantization.scales[0], quantization.zero_points[0]
    return scale * (least - zero), scale * (most - zero)


def _power(values: NDArray[np.float64]) -> float:
    """Sum of squares. Not by BLAS, which starts threads for less than it takes to wake them."""
    return float(np.square(values).sum())


def _blocks(*sides: Stored) -> Iterator[list[NDArray[np.float64]]]:
    """The real values of arrays of one size, block by block, as copies."""
    rows = [side.flat for side in sides]
    for start in range(0, rows[0][0].size, _BLOCK):
        found = []
        for row, scale, zero in rows:
            real = row[start : start + _BLOCK].astype(np.float64)
            if zero:
                real -= zero
            if scale != 1.0:
                real *= scale
            found.append(real)
        yield found
