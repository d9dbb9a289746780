"""How a layer log stores arrays: whole, as what a prediction missed, or as statistics with a sketch."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# Sketch values per layer and frame, and the seed of their signs.
SKETCH: Final = 16
SEED: Final = 20261121
# Frames begin this many values further on, around a circle.
_STEP, _OFFSETS = 7919, 65536
_STATISTICS = struct.Struct(f"<IIffff{SKETCH}e")
_EXACT, _PLAIN, _RESIDUAL = 0, 1, 2
_LEVEL = 6
# Half the distance of neighboring numbers: of float16 relative and near 0, and of float32 relative (IEEE 754).
_HALF_PLACE, _LEAST_PLACE, _HALF_PLACE_OF_MEAN = 2.0**-11, 2.0**-25, 2.0**-24


class Torn(Exception):
    """Bytes that end too early, or hold what no writer writes."""


class Missed(Exception):
    """A prediction that is not the writer's."""


def pack(array: NDArray[Any], predicted: NDArray[Any] | None) -> bytes:
    """Stores an array so that `unpack` with the same prediction gives it back bit for bit.

    A prediction that is right costs 5 bytes: a kind and the CRC-32 of the values. Otherwise the smaller of two codings
    is taken: the values, or their distance from the prediction. Distances are integers; of floats, by the order of
    their bit patterns, so that differences in the last bits are small numbers. Both codings are deflated with the bytes
    of equal weight together.

    Args:
        array: of any type.
        predicted: what the reader can compute too; None: nothing.

    Returns:
        The bytes.
    """
    array = np.asarray(array, order="C")
    check = _check(array)
    residual = None
    if predicted is not None and predicted.shape == array.shape and predicted.dtype == array.dtype:
        if np.array_equal(_bytes(predicted), _bytes(array)):
            return struct.pack("<BI", _EXACT, check)
        if array.dtype.kind != "c":
            residual = zlib.compress(_shuffled(_zigzag(_ordered(array) - _ordered(predicted))), _LEVEL)
    plain = zlib.compress(_shuffled(array), _LEVEL)
    use_residual = residual is not None and len(residual) < len(plain)
    data = residual if use_residual and residual is not None else plain
    head = struct.pack("<BIB", _RESIDUAL if use_residual else _PLAIN, check, array.ndim)
    return head + struct.pack(f"<{array.ndim}II", *array.shape, len(data)) + data


def unpack(data: bytes, at: int, dtype: str, predicted: NDArray[Any] | None) -> tuple[NDArray[Any] | None, int]:
    """Reads an array that `pack` stored.

    Args:
        data: of a frame.
        at: position of the array in it.
        dtype: of the array.
        predicted: as for `pack`; None: not computed.

    Returns:
        (array, position of the next one); None for the array if only the writer's prediction would give it.

    Raises:
        Torn: the bytes are damaged.
    """
    try:
        kind, check = struct.unpack_from("<BI", data, at)
        if kind == _EXACT:
            right = predicted is not None and _check(predicted) == check
            return (predicted if right else None), at + 5
        ndim = data[at + 5]
        *shape, size = struct.unpack_from(f"<{ndim}II", data, at + 6)
        start = at + 6 + 4 * (ndim + 1)
        raw = zlib.decompress(data[start : start + size])
        array = _decoded(raw, kind, np.dtype(dtype), tuple(shape), predicted)
    except (struct.error, IndexError, zlib.error, ValueError) as error:
        raise Torn(str(error)) from error
    if array is not None and _check(array) != check:
        if kind == _PLAIN:
            raise Torn("a checksum is wrong")
        array = None
    return array, start + size


def _decoded(
    raw: bytes, kind: int, dtype: np.dtype[Any], shape: tuple[int, ...], predicted: NDArray[Any] | None
) -> NDArray[Any] | None:
    if kind == _PLAIN:
        return _unshuffled(raw, dtype).reshape(shape)
    if kind != _RESIDUAL:
        raise Torn(f"kind {kind}")
    if predicted is None or predicted.shape != shape or predicted.dtype != dtype:
        return None
    distance = _unzigzag(_unshuffled(raw, _unsigned(dtype)).reshape(shape))
    return _unordered(_ordered(predicted) + distance, dtype)


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _check(array: NDArray[Any]) -> int:
    return zlib.crc32(_bytes(array).data)


def _unsigned(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"u{dtype.itemsize}")


def _shuffled(array: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(_bytes(array).reshape(-1, array.dtype.itemsize).T).tobytes()


def _unshuffled(raw: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    table = np.frombuffer(raw, dtype=np.uint8).reshape(dtype.itemsize, -1)
    return np.ascontiguousarray(table.T).reshape(-1).view(dtype)


def _ordered(array: NDArray[Any]) -> NDArray[Any]:
    """Bit patterns as unsigned integers; for floats in the order of the numbers (sign bit on top turned)."""
    width = _unsigned(array.dtype)
    bits = np.ascontiguousarray(array).reshape(-1).view(width)
    if array.dtype.kind == "f":
        top = width.type(1 << (8 * width.itemsize - 1))
        bits = np.where(bits & top, ~bits, bits | top)
    return bits.reshape(array.shape)


def _unordered(bits: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        top = bits.dtype.type(1 << (8 * dtype.itemsize - 1))
        bits = np.where(bits & top, bits ^ top, ~bits)
    return np.asarray(bits, order="C").view(dtype)


def _zigzag(distance: NDArray[Any]) -> NDArray[Any]:
    """Small steps either way as small unsigned numbers."""
    signed = distance.view(distance.dtype.str.replace("u", "i"))
    turned: NDArray[Any] = (distance << 1) ^ (signed >> (8 * distance.dtype.itemsize - 1)).view(distance.dtype)
    return turned


def _unzigzag(turned: NDArray[Any]) -> NDArray[Any]:
    one = turned.dtype.type(1)
    distance: NDArray[Any] = (turned >> one) ^ (~(turned & one) + one)
    return distance


@dataclass(frozen=True, slots=True)
class Statistics:
    """A layer in one frame, as real values: 56 bytes.

    `count` values, of which `non_finite` are NaN or infinite; then the rest is 0. `sketch` is (16,): random signed
    sums of the values less their mean, divided by their standard deviation and sqrt(count / 16).
    """

    count: int
    non_finite: int
    low: float
    high: float
    mean: float
    variance: float
    sketch: NDArray[np.float64]

    def pack(self) -> bytes:
        """As bytes: counts as uint32, moments as float32, the sketch as float16."""
        return _STATISTICS.pack(
            self.count, self.non_finite, self.low, self.high, self.mean, self.variance, *self.sketch
        )

    @classmethod
    def unpack(cls, data: bytes, at: int) -> tuple[Statistics, int]:
        """Reads statistics that `pack` stored.

        Args:
            data: of a frame.
            at: position of the statistics in it.

        Returns:
            (statistics, position of the next ones).

        Raises:
            Torn: the bytes are damaged.
        """
        try:
            count, non_finite, low, high, mean, variance, *sketch = _STATISTICS.unpack_from(data, at)
        except struct.error as error:
            raise Torn(str(error)) from error
        return cls(count, non_finite, low, high, mean, variance, np.array(sketch)), at + _STATISTICS.size

    def rounded(self) -> Statistics:
        """As a log gives them back."""
        return self.unpack(self.pack(), 0)[0]

    def squared_distance(self, other: Statistics) -> float:
        """Estimated sum of squared differences of the values behind two statistics.

        Args:
            other: of the same frame and layer.

        Returns:
            In real units squared.
        """
        own = self.sketch * math.sqrt(self.variance * self.count / SKETCH)
        candidate = other.sketch * math.sqrt(other.variance * other.count / SKETCH)
        return float(np.square(own - candidate).sum()) + self.count * (self.mean - other.mean) ** 2

    def squared_rounding(self, other: Statistics) -> float:
        """The most that rounding alone makes of `squared_distance`: half a last place of every sum and of the mean.

        Args:
            other: of the same frame and layer.

        Returns:
            In real units squared.
        """
        edges = np.zeros(SKETCH)
        for one in (self, other):
            unit = math.sqrt(one.variance * one.count / SKETCH)
            edges += np.maximum(np.abs(one.sketch) * _HALF_PLACE, _LEAST_PLACE) * unit
        means = (abs(self.mean) + abs(other.mean)) * _HALF_PLACE_OF_MEAN
        return float(np.square(edges).sum()) + self.count * means**2


class Sketcher:
    """Makes statistics. The buckets are computed once for the largest layer and shared.

    A count sketch (Charikar, Chen and Farach-Colton, 2002): value i of frame f goes with a random sign into one of 16
    sums. The squared distance of two sketches of one frame is an unbiased estimate of that of the values. Its relative
    standard deviation is at most sqrt(2 / 16). Frames have signs of their own, so that their estimates average out.
    Sum and sign are the low 4 bits, and the next, of splitmix64(SEED + i + 7919 f mod 65536) (Steele, Lea
    and Flood, 2014), so that every reader and writer has the same.
    """

    def __init__(self) -> None:
        self._buckets: NDArray[np.intp] = np.zeros(0, dtype=np.intp)

    def statistics(self, values: NDArray[Any], frame: int = 0) -> Statistics:
        """Statistics of real values.

        Args:
            values: of any shape.
            frame: number of the frame, for the signs.

        Returns:
            The statistics.
        """
        flat = values.reshape(-1).astype(np.float64, copy=False)
        finite = int(np.count_nonzero(np.isfinite(flat)))
        if finite < flat.size or not flat.size:
            return Statistics(flat.size, flat.size - finite, 0.0, 0.0, 0.0, 0.0, np.zeros(SKETCH))
        mean = float(flat.mean())
        centred = flat - mean
        variance = float(np.square(centred).mean())
        unit = math.sqrt(variance * flat.size / SKETCH)
        # float16 ends at 65504; a sum that large would need all values in one bucket.
        sketch = np.clip(self._sums(centred, frame) / unit, -65504, 65504) if unit > 0.0 else np.zeros(SKETCH)
        return Statistics(flat.size, 0, float(flat.min()), float(flat.max()), mean, variance, sketch)

    def _sums(self, values: NDArray[np.float64], frame: int) -> NDArray[np.float64]:
        start = frame * _STEP % _OFFSETS
        end = start + values.size
        if len(self._buckets) < end:
            counter = np.arange(values.size + _OFFSETS, dtype=np.uint64) + np.uint64(SEED)
            self._buckets = (_splitmix64(counter) & np.uint64(2 * SKETCH - 1)).astype(np.intp)
        found: NDArray[np.float64] = np.bincount(self._buckets[start:end], weights=values, minlength=2 * SKETCH).astype(
            np.float64
        )
        signed: NDArray[np.float64] = found[:SKETCH] - found[SKETCH:]
        return signed


def _splitmix64(counter: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = counter * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed
