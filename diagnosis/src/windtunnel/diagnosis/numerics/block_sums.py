"""Sums over one sample of a layer, while its values are in the processor's cache.

`measure` has two ways to the same figures. The fast one takes what runtimes mostly store: float32 and small integers
with one scale per tensor. It forms real values and differences in float32: an integer less its zero point is exact,
and its product with the scale is rounded once, as in the runtime's own DEQUANTIZE. Products are summed over rows of
2048 in float32 and the rows in float64. That agrees with float64 all the way within 2e-6 relative. A native kernel
does it in one pass (`block_kernel`); without one, NumPy does it block by block.

The exact way uses float64 throughout. It takes the rest: squares that leave float32's range, wide integers, scales
per channel, float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.numerics.block_kernel import KINDS, KernelSums, StoredValues, load
from windtunnel.diagnosis.thresholds.numerics_thresholds import CANCELS
from windtunnel.tflite import Quantization, dequantize

# Half a megabyte of floats: a block and what it is compared with fit a second-level cache of 1 MB; smaller ones cost
# more calls than they save.
BLOCK = 131072
# Longer rows lose digits, shorter ones time; BLAS starts threads only above 10000.
_ROW = 2048
_SAFE = (1e-17, 1e17)
# The same of the mean of squares.
_SAFE_SQUARES = (_SAFE[0] ** 2, _SAFE[1] ** 2)
# NumPy's letters for float32 and float16, and for integers of 8 and 16 bits.
_FAST_FLOATS, _FAST_INTEGERS = "fe", "bBhH"
# Nothing was looked for.
_NO_ENDS = (math.inf, -math.inf, math.inf, -math.inf)
_LIMITS = {kind: (float(np.iinfo(kind).min), float(np.iinfo(kind).max)) for kind in _FAST_INTEGERS}


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


UNBOUNDED = (-math.inf, math.inf)


class Seen(NamedTuple):
    """What is known of a side beforehand, in real values.

    `ends` are the least and greatest of earlier samples, `bounds` what no value can be below or above; of integers the
    ends of their type are taken instead. It saves passes and changes nothing else: with any ends of earlier samples,
    or none, `measure` takes the same way, and what is added up over the samples is the same bit for bit.
    """

    ends: tuple[float, float] = (math.inf, -math.inf)
    bounds: tuple[float, float] = UNBOUNDED


_NOTHING = Seen()


class Workspace:
    """Buffers that all layers share; every thread needs its own."""

    def __init__(self) -> None:
        self.values = np.empty(BLOCK, dtype=np.float32)
        self.other = np.empty(BLOCK, dtype=np.float32)
        self.integers = np.empty(BLOCK, dtype=np.uint8)
        self.ones = np.ones(_ROW, dtype=np.float32)


def measure(
    reference: Tensor,
    candidate: Tensor,
    work: Workspace,
    *,
    closely: bool = True,
    channels: int = 0,
    seen: tuple[Seen, Seen] = (_NOTHING, _NOTHING),
) -> Measured | None:
    """Sums over one sample.

    Args:
        reference: its tensor.
        candidate: its tensor, of the same shape.
        work: buffers that no other thread uses meanwhile.
        closely: also the sums behind cosine, SNR and bias.
        channels: size of the last dimension: also squared errors per channel; 0: not.
        seen: what is known of either side: ends that cannot be exceeded are not looked for again.

    Returns:
        In real units; None if a value is NaN or infinite.
    """
    if not reference.array.size:
        return Measured(channel_squares=np.zeros(channels) if channels else None)
    if reference.is_fast and candidate.is_fast and channels <= BLOCK:
        sides = _Side(reference, seen[0]), _Side(candidate, seen[1])
        found = _fast(sides, work, closely, channels)
        if found is not None:
            return found
        if count_non_finite(reference) or count_non_finite(candidate):
            return None
    return _exact(reference.real(), candidate.real(), channels)


def second_moments(reference: Tensor, candidate: Tensor, measured: Measured) -> tuple[float, float]:
    """Second moments of one sample.

    They follow from the sums over d = b - a. These cancel if b is small compared with a. Such a sample, which is rare,
    is read once more, in float64.

    Args:
        reference: its tensor, a.
        candidate: its tensor, b.
        measured: all sums of this sample.

    Returns:
        (sum a b, sum b^2), in real units squared.
    """
    products = measured.reference + measured.products
    energy = measured.reference + 2.0 * measured.products + measured.squares
    if energy >= CANCELS * measured.reference:
        return products, energy
    a, b = reference.real().ravel(), candidate.real().ravel()
    return float(np.einsum("i,i->", a, b)), float(np.einsum("i,i->", b, b))


def count_non_finite(tensor: Tensor) -> int:
    """How many values are NaN or infinite.

    Args:
        tensor: of any type.

    Returns:
        0 for integers.
    """
    if tensor.array.dtype.kind not in "fc":
        return 0
    return int(tensor.array.size - np.count_nonzero(np.isfinite(tensor.array)))


def channel_ends(array: NDArray[Any], channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and greatest stored value of every channel.

    Args:
        array: as stored; the last dimension are the channels.
        channels: its size.

    Returns:
        Least and greatest, float64, (C,) each.
    """
    rows = array.reshape(-1, channels)
    folded = _folded(rows)
    low, high = (one.reshape(-1, channels) for one in (folded.min(axis=0), folded.max(axis=0)))
    lows, highs = low.min(axis=0).astype(np.float64), high.max(axis=0).astype(np.float64)
    rest = rows[folded.size // channels :]
    if len(rest):
        lows, highs = np.minimum(lows, rest.min(axis=0)), np.maximum(highs, rest.max(axis=0))
    return lows, highs


def _fast(sides: tuple[_Side, _Side], work: Workspace, closely: bool, channels: int) -> Measured | None:
    """None where float32 does not hold it."""
    reference, candidate = sides
    kernel = load()
    if kernel is not None and all(side.kind in KINDS for side in sides):
        wanted = reference.wants_ends(), candidate.wants_ends()
        # Beyond the kernel's row buffers nothing is copied; the arrays are contiguous.
        sums = kernel(reference.stored(), candidate.stored(), closely=closely, ends=wanted, channels=channels)
        reference.take_ends(*sums.ends[:2])
        candidate.take_ends(*sums.ends[2:])
    else:
        sums = _numpy_sums(sides, work, closely, channels)
    # A NaN or an infinity on either side is in the squares of the differences, whatever the ends say.
    if not math.isfinite(sums.squares):
        return None
    # The ends do not decide: which of them were looked for depends on the samples before.
    if not _is_safe(sums.largest) or (closely and not reference.holds(sums.energy)):
        return None
    ends = *reference.real_ends(), *candidate.real_ends()
    return Measured(
        *(reference.size, sums.squares, sums.largest, *ends),
        *(sums.products, sums.energy, sums.difference, sums.channel_squares),
    )


def _numpy_sums(sides: tuple[_Side, _Side], work: Workspace, closely: bool, channels: int) -> KernelSums:
    """What the kernel gives, by NumPy: for dtypes that the kernel does not read, and where it was not built."""
    reference, candidate = sides
    squares = products = energy = total = 0.0
    bits = 0
    per_channel = np.zeros(channels) if channels else None
    size = BLOCK // channels * channels if channels else BLOCK
    # Squares that leave float32's range are found later; the warning would come first.
    with np.errstate(all="ignore"):
        for start in range(0, reference.size, size):
            first = reference.block(start, start + size, work.other, work)
            second = candidate.block(start, start + size, work.values, work)
            difference = np.subtract(second, first, out=work.values[: first.size])
            bits = max(bits, _largest_bits(difference))
            squares += _product(difference, difference)
            if closely:
                products += _product(difference, first)
                energy += _product(first, first)
                total += _product(difference, work.ones)
            if per_channel is not None:
                squared = np.multiply(difference, difference, out=difference)
                per_channel += _channel_sums(squared, channels)
    largest = float(np.uint32(bits).view(np.float32))
    return KernelSums(squares, largest, products, energy, total, _NO_ENDS, per_channel)


def _largest_bits(values: NDArray[np.float32]) -> int:
    """The bits of max |values|: floats of one sign are in the order of their bits, and integers are compared faster."""
    highest = int(np.maximum.reduce(values.view(np.int32)))
    # With the sign as its highest bit, a negative one is above all others.
    lowest = int(np.maximum.reduce(values.view(np.uint32))) & 0x7FFFFFFF
    return max(highest, lowest)


def _is_safe(value: float) -> bool:
    """Whether float32 holds the square."""
    return value == 0.0 or _SAFE[0] < value < _SAFE[1]


def _product(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    """sum(x * y), float32 within a row, float64 over the rows; one row of `y` stands for all rows."""
    rows = x.size // _ROW
    if not rows:
        return float(np.dot(x, y[: x.size]))
    whole = rows * _ROW
    many = y if y.size == _ROW else y[:whole].reshape(rows, _ROW)
    total = float(np.add.reduce(np.vecdot(x[:whole].reshape(rows, _ROW), many), dtype=np.float64))
    if whole < x.size:
        rest = x[whole:]
        total += float(np.dot(rest, y[: rest.size] if y.size == _ROW else y[whole:]))
    return total


class _Side:
    """One tensor, handed out in blocks of real values; remembers least and greatest, as stored.

    Args:
        tensor: of one sample.
        seen: what is known of this side from earlier samples.
    """

    def __init__(self, tensor: Tensor, seen: Seen) -> None:
        self._array = tensor.array.reshape(-1)
        self.size = self._array.size
        self.kind = tensor.array.dtype.char
        self._scale, self._zero = tensor.scale
        self._is_float = tensor.array.dtype.kind == "f"
        limits = seen.bounds if self._is_float else _LIMITS[tensor.array.dtype.char]
        bounds = self._real(limits[0]), self._real(limits[1])
        # As stored; infinite: still to be looked for.
        self._knows_low, self._knows_high = seen.ends[0] <= bounds[0], seen.ends[1] >= bounds[1]
        self._low, self._high = math.inf, -math.inf
        if self._knows_low:
            self._low = limits[0]
        if self._knows_high:
            self._high = limits[1]
        if not self._is_float:
            # Integers are small enough to be read twice.
            self._take(self._array)

    def stored(self) -> StoredValues:
        """The tensor for the kernel."""
        return StoredValues(np.ascontiguousarray(self._array), float(self._scale), self._zero)

    def wants_ends(self) -> bool:
        """Whether least and greatest of floats are still to be looked for."""
        return self._is_float and not (self._knows_low and self._knows_high)

    def take_ends(self, low: float, high: float) -> None:
        """Takes least and greatest of floats; infinite the wrong way round: nothing was looked for.

        Args:
            low: least value.
            high: greatest value.
        """
        if not self._knows_low:
            self._low = min(self._low, low)
        if not self._knows_high:
            self._high = max(self._high, high)

    def block(self, start: int, stop: int, out: NDArray[np.float32], work: Workspace) -> NDArray[np.float32]:
        """Real values of a block in float32.

        Args:
            start: of the block.
            stop: of the block.
            out: where to write them, unless they are stored as float32 already.
            work: buffers.

        Returns:
            The values; a view of the tensor if they are stored as float32.
        """
        array = self._array[start:stop]
        if self._is_float:
            self._take(array)
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

    def _take(self, array: NDArray[Any]) -> None:
        if not self._knows_high:
            self._high = max(self._high, float(np.maximum.reduce(array)))
        if not self._knows_low:
            self._low = min(self._low, float(np.minimum.reduce(array)))

    def _real(self, stored: float) -> float:
        return (stored - self._zero) * float(self._scale)

    def holds(self, energy: float) -> bool:
        """Whether float32 could hold the squares of the real values.

        Args:
            energy: sum of the squares.

        Returns:
            False: the exact way is needed.
        """
        if energy == 0.0:
            return not np.count_nonzero(self._array != self._zero)
        return _SAFE_SQUARES[0] * self.size < energy < _SAFE_SQUARES[1] * self.size

    def real_ends(self) -> tuple[float, float]:
        """Least and greatest real value."""
        return self._real(self._low), self._real(self._high)


def _channel_sums(squared: NDArray[np.float32], channels: int) -> NDArray[np.float64]:
    squares = squared.reshape(-1, channels)
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
