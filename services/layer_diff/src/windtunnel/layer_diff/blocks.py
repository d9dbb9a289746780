"""Sums over one sample of a layer, block by block while it lies in the processor's cache.

`measure` has two ways to the same figures. The fast one takes what runtimes mostly hold, float32 and small integers
with one scale per tensor: real values and differences are formed in float32 (an integer less its zero point is
exact, its product with the scale is rounded once, as in the runtime's own DEQUANTIZE), products are summed over
rows of 2048 in float32 and the rows in float64. That agrees with float64 all the way within 2e-6 relative. What it
cannot hold (squares that leave float32's range, wide integers, scales per channel, float64) goes the exact way, in
float64 throughout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.tflite import Quantization, dequantize

# Half a megabyte of floats: a block and what it is compared with fit a second-level cache of 1 MB; smaller ones cost
# more calls than they save.
BLOCK = 131072
# Longer rows lose digits, shorter ones time; BLAS starts threads only above 10000.
_ROW = 2048
_SAFE = (1e-17, 1e17)
# Where the candidate's energy is a smaller part of the reference's, too few digits of the sums over d are left of it.
_CANCELS = 1e-2
# NumPy's letters for float32 and float16, and for integers of 8 and 16 bits.
_FAST_FLOATS, _FAST_INTEGERS = "fe", "bBhH"


@dataclass(slots=True)
class Tensor:
    """A layer's values as stored, with what makes them real."""

    array: NDArray[Any]
    quantization: Quantization | None = None

    @property
    def is_fast(self) -> bool:
        """Whether float32 holds the real values as well as the runtime does."""
        kind = self.array.dtype.char
        if kind in _FAST_FLOATS:
            return True
        one_scale = self.quantization is None or (
            self.quantization.block_size is None and len(self.quantization.scales) == 1
        )
        return kind in _FAST_INTEGERS and one_scale

    @property
    def scale(self) -> tuple[np.float32, int]:
        """(scale, zero point) of the whole tensor; (1, 0) where values are real ones."""
        if self.quantization is None or self.array.dtype.kind not in "iu":
            return np.float32(1.0), 0
        return np.float32(self.quantization.scales[0]), int(self.quantization.zero_points[0])

    def real(self) -> NDArray[np.float64]:
        """The real values in float64, in the array's shape."""
        return dequantize(self.array, self.quantization)


@dataclass(slots=True)
class Measured:
    """Sums over one sample, of reference a, candidate b and d = b - a.

    `squares` is sum d^2, `largest` max |d|; `products` (sum d a), `reference` (sum a^2) and `difference` (sum d) only
    where they were asked for.
    """

    count: int = 0
    squares: float = 0.0
    largest: float = 0.0
    reference_low: float = np.inf
    reference_high: float = -np.inf
    candidate_low: float = np.inf
    candidate_high: float = -np.inf
    products: float = 0.0
    reference: float = 0.0
    difference: float = 0.0
    channel_squares: NDArray[np.float64] | None = None


class Workspace:
    """Buffers that all layers share."""

    def __init__(self) -> None:
        self.values = np.empty(BLOCK, dtype=np.float32)
        self.other = np.empty(BLOCK, dtype=np.float32)
        self.squares = np.empty(BLOCK, dtype=np.float32)
        self.integers = np.empty(BLOCK, dtype=np.uint8)
        self.ones = np.ones(_ROW, dtype=np.float32)


def measure(
    reference: Tensor,
    candidate: Tensor,
    work: Workspace,
    *,
    closely: bool = True,
    channels: int = 0,
    floor: float | None = None,
) -> Measured | None:
    """Sums over one sample, both sides of one shape; None where a value is NaN or infinite.

    Args:
        closely: also the sums behind cosine, SNR and bias.
        channels: size of the last dimension: also squared errors per channel; 0: not.
        floor: a real value below which the reference cannot be, and that was seen already: its least value is not
            looked for again.
    """
    if not reference.array.size:
        return Measured(channel_squares=np.zeros(channels) if channels else None)
    if reference.is_fast and candidate.is_fast and channels <= BLOCK:
        found = _fast((_Side(reference, floor), _Side(candidate)), work, closely, channels)
        if found is not _NOT_SAFE:
            return found
    return _exact(reference.real(), candidate.real(), channels)


def second_moments(reference: Tensor, candidate: Tensor, measured: Measured) -> tuple[float, float]:
    """(sum a b, sum b^2) of one sample, of which `measured` has all sums.

    They follow from the sums over d = b - a. These cancel where b is small beside a: such a sample, which is a rare
    one, is read once more, in float64.
    """
    products = measured.reference + measured.products
    energy = measured.reference + 2.0 * measured.products + measured.squares
    if energy >= _CANCELS * measured.reference:
        return products, energy
    a, b = reference.real().ravel(), candidate.real().ravel()
    return float(np.einsum("i,i->", a, b)), float(np.einsum("i,i->", b, b))


def count_non_finite(tensor: Tensor) -> int:
    """How many values are NaN or infinite."""
    if tensor.array.dtype.kind not in "fc":
        return 0
    return int(tensor.array.size - np.count_nonzero(np.isfinite(tensor.array)))


def channel_ends(array: NDArray[Any], channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and greatest stored value of every channel (last dimension), (C,) each."""
    rows = array.reshape(-1, channels)
    folded = _folded(rows)
    low, high = (one.reshape(-1, channels) for one in (folded.min(axis=0), folded.max(axis=0)))
    lows, highs = low.min(axis=0).astype(np.float64), high.max(axis=0).astype(np.float64)
    rest = rows[folded.size // channels :]
    if len(rest):
        lows, highs = np.minimum(lows, rest.min(axis=0)), np.maximum(highs, rest.max(axis=0))
    return lows, highs


_NOT_SAFE = Measured(count=-1)


def _fast(sides: tuple[_Side, _Side], work: Workspace, closely: bool, channels: int) -> Measured | None:
    count = sides[0].size
    sums = _RowSums(4 if closely else 1, count, channels)
    per_channel = np.zeros(channels) if channels else None
    low = high = 0.0
    size = BLOCK // channels * channels if channels else BLOCK
    # Squares that leave float32's range are found afterwards; the warning would come first.
    with np.errstate(all="ignore"):
        for start in range(0, count, size):
            first = sides[0].block(start, start + size, work.other, work)
            second = sides[1].block(start, start + size, work.values, work)
            if first is None or second is None:
                return None
            difference = np.subtract(second, first, out=work.values[: first.size])
            low, high = min(low, float(np.minimum.reduce(difference))), max(high, float(np.maximum.reduce(difference)))
            sums.add(difference, (difference, first, first, work.ones), (difference, difference, first, difference))
            if per_channel is not None:
                per_channel += _channel_sums(difference, channels, work)
    ends = *sides[0].real_ends(), *sides[1].real_ends()
    largest = max(high, -low)
    if not all(value == 0.0 or _SAFE[0] < value < _SAFE[1] for value in (largest, max(ends[1], -ends[0]))):
        return _NOT_SAFE
    squares, products, energy, difference_sum = *sums.totals(), *([0.0] * (0 if closely else 3))
    return Measured(count, squares, largest, *ends, products, energy, difference_sum, per_channel)


class _Side:
    """One tensor, handed out in blocks of real values; remembers least and greatest, as stored."""

    def __init__(self, tensor: Tensor, floor: float | None = None) -> None:
        self._array = tensor.array.reshape(-1)
        self.size = self._array.size
        self._scale, self._zero = tensor.scale
        self._is_float = tensor.array.dtype.kind == "f"
        self._floor = floor if self._is_float else None
        self._low, self._high = math.inf, -math.inf
        if not self._is_float:
            # Integers are small enough to be read twice.
            self._take(self._array)

    def block(self, start: int, stop: int, out: NDArray[np.float32], work: Workspace) -> NDArray[np.float32] | None:
        """Real values in float32, in `out` unless they lie there already; None where one is not finite."""
        array = self._array[start:stop]
        if self._is_float and not self._take(array):
            return None
        if array.dtype.char == "f":
            return array
        values = out[: array.size]
        zero = self._zero
        if array.dtype.char == "b" and zero == -128:
            # q + 128 as unsigned is q with its top bit turned: an integer pass is cheaper than a float one.
            np.copyto(values, np.bitwise_xor(array.view(np.uint8), np.uint8(128), out=work.integers[: array.size]))
        else:
            np.copyto(values, array)
            if zero:
                np.subtract(values, np.float32(zero), out=values)
        return np.multiply(values, self._scale, out=values) if self._scale != 1.0 else values

    def _take(self, array: NDArray[Any]) -> bool:
        high = float(np.maximum.reduce(array))
        low = float(np.minimum.reduce(array)) if self._floor is None else self._floor
        self._low, self._high = min(self._low, low), max(self._high, high)
        # A NaN passes through both ends, an infinity shows at one.
        return math.isfinite(low + high)

    def real_ends(self) -> tuple[float, float]:
        """Least and greatest real value."""
        scale = float(self._scale)
        return (self._low - self._zero) * scale, (self._high - self._zero) * scale


class _RowSums:
    """Sums of products over a layer: float32 within a row, float64 over the rows."""

    def __init__(self, sums: int, count: int, channels: int) -> None:
        blocks = count // (BLOCK // channels * channels if channels else BLOCK) + 1
        self._rows = np.empty((sums, count // _ROW + blocks), dtype=np.float32)
        self._used = 0

    def add(
        self, x: NDArray[np.float32], left: tuple[NDArray[np.float32], ...], right: tuple[NDArray[np.float32], ...]
    ) -> None:
        """Adds sum(left * right) of a block of the size of `x`; one row of `left` stands for all rows."""
        whole = x.size // _ROW * _ROW
        rows = whole // _ROW
        for total, one, two in zip(self._rows, left, right, strict=False):
            if rows:
                many = one if one.size == _ROW else one[:whole].reshape(-1, _ROW)
                np.vecdot(two[:whole].reshape(-1, _ROW), many, out=total[self._used : self._used + rows])
            if whole < x.size:
                rest = two[whole:]
                total[self._used + rows] = np.dot(rest, one[: rest.size] if one.size == _ROW else one[whole:])
        self._used += rows + (whole < x.size)

    def totals(self) -> list[float]:
        """The sums over all blocks."""
        return [float(np.add.reduce(one[: self._used], dtype=np.float64)) for one in self._rows]


def _channel_sums(d: NDArray[np.float32], channels: int, work: Workspace) -> NDArray[np.float64]:
    squares = np.multiply(d, d, out=work.squares[: d.size]).reshape(-1, channels)
    folded = _folded(squares)
    sums: NDArray[np.float64] = folded.sum(axis=0).reshape(-1, channels).sum(axis=0, dtype=np.float64)
    rest = squares[folded.size // channels :]
    if len(rest):
        sums += rest.sum(axis=0, dtype=np.float64)
    return sums


def _folded(rows: NDArray[Any]) -> NDArray[Any]:
    """(R, C) as (R / f, f C) with rows long enough to be quick; the last rows that do not fill one are cut."""
    count, channels = rows.shape
    fold = max(1, min(count, 1024 // channels))
    return rows[: count // fold * fold].reshape(-1, fold * channels)


def _exact(a: NDArray[np.float64], b: NDArray[np.float64], channels: int) -> Measured | None:
    ends = float(a.min()), float(a.max()), float(b.min()), float(b.max())
    if not all(map(math.isfinite, ends)):
        return None
    difference = b - a
    flat, first = difference.ravel(), a.ravel()
    return Measured(
        count=a.size,
        # einsum starts no threads, and so adds up in one order.
        squares=float(np.einsum("i,i->", flat, flat)),
        largest=float(np.abs(flat).max()),
        reference_low=ends[0],
        reference_high=ends[1],
        candidate_low=ends[2],
        candidate_high=ends[3],
        difference=float(flat.sum()),
        reference=float(np.einsum("i,i->", first, first)),
        products=float(np.einsum("i,i->", flat, first)),
        channel_squares=np.square(difference).reshape(-1, channels).sum(axis=0) if channels else None,
    )
