"""Statistics of an array, as docs/edge-log.md has them: figures, quantiles of a fixed sample, a random projection.

statistics = of(array)
distance(statistics.projection, of(other).projection)   # estimates the Euclidean distance of the arrays
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

PERCENTS = (1, 5, 10, 25, 50, 75, 90, 95, 99)
SAMPLE_SIZE = 1024
SUMS = 16
# The relative standard deviation of `distance`, if the difference is spread over the sums: half of sqrt(2 / 16), which
# is that of the squared distance. Arrays of up to 16 values: 0, the distance is exact.
DISTANCE_ERROR = math.sqrt(2 / SUMS) / 2

_SEED = 0x57494E4454554E4E
_WORD = 64
_ROW = 1024
_BLOCK = 16 * _ROW
# For longer vectors, OpenBLAS wakes threads of its own.
_DOT = _BLOCK // 2
_CACHED_BLOCKS = 10
_FLOAT32_LIMIT = float(np.finfo(np.float32).max)
_FLOAT64 = np.dtype(np.float64)
_least, _largest, _added, _dot = np.minimum.reduce, np.maximum.reduce, np.add.reduce, np.dot

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Figures of an array over its finite values."""

    count: int
    non_finite: int
    min: float
    max: float
    mean: float
    std: float
    quantiles: Floats
    projection: Floats


def distance(projection_a: Sequence[float] | Floats, projection_b: Sequence[float] | Floats) -> float:
    """Estimate the Euclidean distance of two arrays of one shape from their projections.

    The relative standard deviation of the estimate is about `DISTANCE_ERROR` (18 %); up to 16 values it is exact.

    Args:
        projection_a: The projection of one array.
        projection_b: That of the other.

    Returns:
        The estimate, in the unit of the arrays.

    Raises:
        ValueError: The projections differ in length, so the arrays differ in size.
    """
    a, b = np.asarray(projection_a, np.float64), np.asarray(projection_b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"projections of {a.size} and {b.size} sums: compare arrays of the same size")
    return float(np.sqrt(np.sum((a - b) ** 2)))


def of(values: npt.ArrayLike) -> Statistics:
    """Compute the statistics of an array.

    Args:
        values: Numbers or booleans, of any shape.

    Returns:
        Its statistics.

    Raises:
        TypeError: The values are not real numbers.
    """
    array = _flat(values)
    if not array.size:
        return Statistics(0, 0, 0.0, 0.0, 0.0, 0.0, _NONE, _NONE)
    low, high = float(_least(array)), float(_largest(array))
    # NaN and infinities reach the least or the largest value.
    if -math.inf < low and high < math.inf and high == high:
        return _of_finite(array, low, high, array.size, _quantiles(_sample(array)))
    finite = np.isfinite(array)
    kept = array[finite]
    sample = _sample(array)
    low, high = (float(kept.min()), float(kept.max())) if kept.size else (0.0, 0.0)
    return _of_finite(np.where(finite, array, 0), low, high, kept.size, _quantiles(sample[np.isfinite(sample)]))


def _of_finite(array: Array, low: float, high: float, finite: int, quantiles: Floats) -> Statistics:
    """Of an array in which 0 stands for what is not finite; low, high and quantiles are of the finite values."""
    wide = array.dtype is _FLOAT64 or array.dtype == _FLOAT64 or max(-low, high) * array.size > _FLOAT32_LIMIT
    total, squares, projection = _double_sums(array.astype(np.float64, copy=False)) if wide else _sums(array)
    mean = total / finite if finite else 0.0
    variance = squares / finite - mean * mean if finite else 0.0
    # Almost nothing is left, or NaN from infinity less infinity. Squares in float32 have 7 digits, in float64 16.
    if not variance >= (1e-7 if wide else 1e-2) * mean * mean:
        variance = _centered(array, mean, array.size - finite, finite)
    if wide:
        low, high = _stored(low), _stored(high)
    mean = low if mean < low else high if mean > high else mean
    deviation = _stored(math.sqrt(variance))
    return Statistics(array.size, array.size - finite, low, high, mean, deviation, quantiles, projection)


def _stored(value: float) -> float:
    """A figure within the range of float32."""
    return min(max(value, -_FLOAT32_LIMIT), _FLOAT32_LIMIT)


def _stored_array(values: Doubles) -> Floats:
    return np.clip(values, -_FLOAT32_LIMIT, _FLOAT32_LIMIT).astype(np.float32)


_NONE = np.empty(0, np.float32)
# float32 holds the others exactly.
_KEPT = frozenset(np.dtype(name) for name in ("f4", "f8", "f2", "u1", "i1", "u2", "i2", "?"))


def _flat(values: npt.ArrayLike) -> Array:
    """The values in C order, in float32, float64 or a type that float32 holds exactly.

    Raises:
        TypeError: They are not real numbers.
    """
    array = np.asarray(values)
    if array.dtype not in _KEPT:
        if array.dtype.kind in "fiu" and array.dtype.isnative and array.dtype.itemsize > 2:
            array = array.astype(np.float64)
        elif array.dtype.kind in "fiub" or (array.dtype.kind == "V" and array.dtype.names is None):
            array = array.astype(np.float64)  # other byte orders; bfloat16 and the like
        else:
            raise TypeError(f"no statistics of {array.dtype}: give numbers")
    if array.dtype.char == "?":
        array = array.view(np.uint8)
    elif array.dtype.char == "e":
        array = array.astype(np.float32)
    return np.ascontiguousarray(array).reshape(-1)


# --- the sample and its quantiles


def _mixed(positions: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """h(j) of docs/edge-log.md: splitmix64."""
    with np.errstate(over="ignore"):
        z = np.uint64(_SEED) + (positions + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


_POSITIONS: dict[int, npt.NDArray[np.int64]] = {}
_RANKS: dict[int, npt.NDArray[np.int64]] = {}


def _sample_positions(n: int) -> npt.NDArray[np.int64]:
    positions = _POSITIONS.get(n)
    if positions is None:
        part = np.arange(SAMPLE_SIZE + 1, dtype=np.uint64)
        edges = part * np.uint64(n) // np.uint64(SAMPLE_SIZE)
        positions = (edges[:-1] + _mixed(part[:-1]) % (edges[1:] - edges[:-1])).astype(np.int64)
        if len(_POSITIONS) >= 32:
            _POSITIONS.clear()
        _POSITIONS[n] = positions
    return positions


def _sample(array: Array) -> Array:
    return array[_sample_positions(array.size)] if array.size > SAMPLE_SIZE else array.copy()


def _quantiles(sample: Array) -> Floats:
    """Of finite values, which are sorted in place."""
    m = sample.size
    if not m:
        return _NONE
    ranks = _RANKS.get(m)
    if ranks is None:
        ranks = (np.array(PERCENTS, np.int64) * (m - 1) + 50) // 100
        if len(_RANKS) < SAMPLE_SIZE:
            _RANKS[m] = ranks
    sample.sort()
    quantiles = sample[ranks]
    return quantiles.astype(np.float32) if quantiles.dtype != np.float64 else _stored_array(quantiles)


# --- sums and the projection, block by block


class _Scratch(threading.local):
    """Buffers of a thread, of one block each, and of the sums of its rows."""

    def __init__(self) -> None:
        self.values = np.empty(_BLOCK, np.float32)
        self.signed = np.empty(_BLOCK, np.float32)
        self.added = np.empty(_BLOCK, np.float32)
        self.signed_bits, self.added_bits = self.signed.view(np.uint32), self.added.view(np.uint32)
        self.rows = self.added.reshape(-1, _ROW)
        self.words = self.added[:_ROW].reshape(-1, _WORD)
        self.sums = np.zeros((_BLOCK // _ROW, SUMS), np.float32)


_scratch = _Scratch()
_position = np.arange(_ROW)
# Adds the values of a row: value p goes to sum (p + floor(p / 64)) mod 16.
_FOLD = np.zeros((_ROW, SUMS), np.float32)
_FOLD[_position, (_position + _position // _WORD) % SUMS] = 1
# The same for a row of 16 words: word w is turned by w, as a row is by its number.
_FOLD_WORD = np.ascontiguousarray(_FOLD[:_WORD])
# Turns the sums of row r of a block by r.
_TURNED = np.arange(SUMS)[:, None] * SUMS + (np.arange(SUMS)[None, :] - np.arange(SUMS)[:, None]) % SUMS
_ONES = np.ones(_DOT, np.float32)
_SIGNS: dict[int, npt.NDArray[np.uint32]] = {}


def _signs(block: int) -> npt.NDArray[np.uint32]:
    """The sign bits of a block's values, as bit 31."""
    signs = _SIGNS.get(block)
    if signs is None:
        words = _mixed(np.arange(block * (_BLOCK // _WORD), (block + 1) * (_BLOCK // _WORD), dtype=np.uint64))
        bits = np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")
        signs = bits.astype(np.uint32) << np.uint32(31)
        if block < _CACHED_BLOCKS:
            _SIGNS[block] = signs
    return signs


def _sums(array: Array) -> tuple[float, float, Floats]:
    """The sum, the sum of squares, and the projection of finite values whose sums float32 can hold."""
    scratch, n = _scratch, array.size
    total = squares = 0.0
    for block, start in enumerate(range(0, n, _BLOCK)):
        part = array[start : start + _BLOCK] if n > _BLOCK else array
        size = part.size
        if part.dtype != np.float32:
            scratch.values[:size] = part
            part = scratch.values[:size]
        if size <= _DOT:
            total += float(_dot(part, _ONES[:size]))
            squares += float(_dot(part, part))
        else:
            first, second = part[:_DOT], part[_DOT:]
            total += float(_dot(first, _ONES)) + float(_dot(second, _ONES[: size - _DOT]))
            squares += float(_dot(first, first)) + float(_dot(second, second))
        signs, bits = _signs(block)[:size], part.view(np.uint32)
        if block:
            np.bitwise_xor(bits, signs, out=scratch.signed_bits[:size])
            np.add(scratch.added[:size], scratch.signed[:size], out=scratch.added[:size])
        else:
            np.bitwise_xor(bits, signs, out=scratch.added_bits[:size])
    return total, squares, _folded(scratch, n)


def _folded(scratch: _Scratch, n: int) -> Floats:
    """The projection, from all blocks with signs added up."""
    if n <= SUMS:
        return scratch.added[:n].copy()
    if n <= _ROW:
        scratch.added[n:_ROW] = 0
        _dot(scratch.words, _FOLD_WORD, out=scratch.sums)
    else:
        used = min(-(-n // _ROW), _BLOCK // _ROW)
        if n < _BLOCK:
            scratch.added[n : used * _ROW] = 0
            scratch.sums[used:] = 0
        _dot(scratch.rows[:used], _FOLD, out=scratch.sums[:used])
    sums: Floats = _added(scratch.sums.reshape(-1)[_TURNED], axis=0)
    return sums


def _double_sums(array: Doubles) -> tuple[float, float, Floats]:
    rows = np.zeros((_BLOCK // _ROW, SUMS), np.float64)
    total = squares = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for block, start in enumerate(range(0, array.size, _BLOCK)):
            part = array[start : start + _BLOCK]
            total += float(np.add.reduce(part))
            squares += float(np.add.reduce(part * part))
            signed = np.zeros(_BLOCK)
            signed[: part.size] = np.where(_signs(block)[: part.size], -part, part)
            rows += signed.reshape(-1, _ROW) @ _FOLD.astype(np.float64)
        projection = np.nan_to_num(_projection(rows, array.size), nan=0.0)
    return total, squares, _stored_array(projection)


def _projection(rows: Doubles, size: int) -> Doubles:
    """The sums of the array from those of each row of its blocks."""
    if size <= _ROW:
        return rows[0, : min(size, SUMS)]
    sums: Doubles = np.add.reduce(rows.reshape(-1)[_TURNED], axis=0)
    return sums


def _centered(array: Array, mean: float, zeros: int, finite: int) -> float:
    """The variance in a second pass: exact where the values differ little from their mean."""
    if not finite:
        return 0.0
    scale = max(abs(float(array.max())), abs(float(array.min()))) or 1.0
    middle = min(max(mean, -1.7e308), 1.7e308) / scale
    total = 0.0
    for start in range(0, array.size, _BLOCK):
        difference = array[start : start + _BLOCK].astype(np.float64) / scale - middle
        total += float(np.dot(difference, difference))
    # What is not finite counted as (0 - mean)^2.
    relative = max(total - zeros * middle * middle, 0.0) / finite
    root = math.sqrt(relative) * scale
    return root * root if root < 1e150 else 1e300
