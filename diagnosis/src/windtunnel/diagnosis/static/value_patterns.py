"""How a table of numbers differs from another: what a person would say of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.kinds.constants import PatternKind, ValueDiffers
from windtunnel.diagnosis.thresholds.static_thresholds import (
    ARITHMETIC_ROUNDING,
    PATTERN_FACTOR,
    PATTERN_FEW,
    PATTERN_NEAR,
    PATTERN_ROWS,
    PATTERN_SLACK,
    PERMUTED_MOST_COLUMNS,
    PERMUTED_MOST_ROWS,
    PERMUTED_ROUNDING,
    PERMUTED_SHARE,
    PERMUTED_SLACK,
)

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pattern:
    """How a table differs: `kind`, the `channels` that do, and by kind the figures behind it.

    `factors`, `offsets`: of the first channels; `factor`: one for all; `order`: which channel of the reference each
    one is; `values`: the few that differ.
    """

    kind: PatternKind
    channels: tuple[int, ...]
    factors: tuple[float, ...] | None = None
    factor: float | None = None
    offsets: tuple[float, ...] | None = None
    order: tuple[int, ...] | None = None
    values: tuple[ValueDiffers, ...] | None = None


def describe(reference: Array, candidate: Array, tolerance: Array, beyond: NDArray[np.bool_]) -> Pattern:
    """The simplest description of a difference.

    Descriptions are tried from the simplest on. One is taken only if it leaves nothing beyond the tolerance.

    Args:
        reference: (channels, per channel), real.
        candidate: of the same shape.
        tolerance: what precision explains, for each element.
        beyond: marks elements that precision does not explain.

    Returns:
        The pattern, and the channels that have it.
    """
    hit = np.flatnonzero(beyond.any(axis=1))
    channels = tuple(int(channel) for channel in hit)
    a, b, slack = reference[hit], candidate[hit], tolerance[hit]
    if not candidate.any():
        return Pattern("missing", channels)
    if not b.any():
        return Pattern("zeroed", channels)
    if int(beyond.sum()) <= PATTERN_FEW and beyond.sum() < beyond.size:
        return Pattern("few_values", channels, values=_values(reference, candidate, beyond))
    allowed = slack * PATTERN_SLACK + ARITHMETIC_ROUNDING * np.abs(b)
    factor = _factors(a, b)
    if (np.abs(b - factor * a) <= allowed).all() and (np.abs(factor - 1.0) > PATTERN_FACTOR).any():
        kind: PatternKind = "sign" if np.allclose(factor, -1.0, atol=PATTERN_FACTOR) else "scaled"
        common = _factors(a.reshape(1, -1), b.reshape(1, -1)).item()
        one = round(common, 6) if (np.abs(b - common * a) <= allowed).all() else None
        return Pattern(kind, channels, factors=_short(factor.ravel()), factor=one)
    offset = (b - a).mean(axis=1, keepdims=True)
    if a.shape[1] > 1 and (np.abs(b - a - offset) <= slack * PATTERN_SLACK).all():
        return Pattern("shifted", channels, offsets=_short(offset.ravel()))
    order = _permutation(reference, candidate, tolerance)
    if order is not None:
        return Pattern("permuted_channels", channels, order=tuple(order))
    order = _permutation(reference.T, candidate.T, tolerance.T)
    if order is not None:
        return Pattern("permuted_inputs", channels, order=tuple(order))
    return Pattern("noise", channels)


def _values(reference: Array, candidate: Array, beyond: NDArray[np.bool_]) -> tuple[ValueDiffers, ...]:
    return tuple(
        ValueDiffers(int(i), int(j), float(reference[i, j]), float(candidate[i, j])) for i, j in np.argwhere(beyond)
    )


def _factors(a: Array, b: Array) -> Array:
    """Least-squares factor of each channel; 1 where the reference is all zero."""
    power = (a * a).sum(axis=1, keepdims=True)
    return np.asarray(np.where(power > 0.0, (a * b).sum(axis=1, keepdims=True) / np.where(power > 0, power, 1.0), 1.0))


def _permutation(reference: Array, candidate: Array, tolerance: Array) -> list[int] | None:
    """Which row of the reference each row of the candidate is, where they are the same rows in another order."""
    count = len(reference)
    if not 1 < count <= PERMUTED_MOST_ROWS or reference.shape[1] > PERMUTED_MOST_COLUMNS:
        return None
    powers = np.square(reference).sum(axis=1), np.square(candidate).sum(axis=1)
    if not (powers[0] > 0.0).all() or not (powers[1] > 0.0).all():
        return None
    order: list[int] = []
    free = np.ones(count, dtype=bool)
    for start in range(0, count, PATTERN_ROWS):
        block = slice(start, start + PATTERN_ROWS)
        near = powers[0] + powers[1][block, None] - 2.0 * (candidate[block] @ reference.T)
        for row, distances in enumerate(near, start):
            left = np.where(free, distances, np.inf)
            # A row in its own place stays there, also where a twin of it is as near.
            best = row if left[row] <= left.min() else int(left.argmin())
            if left[best] > PATTERN_NEAR * powers[1][row]:
                return None
            order.append(best)
            free[best] = False
    if order == list(range(count)):
        return None
    rest = np.abs(candidate - reference[order])
    allowed = tolerance * PERMUTED_SLACK + ARITHMETIC_ROUNDING * np.abs(candidate)
    # A channel's scale is that of its new place: what it rounds is not what it rounded before.
    share = float((rest <= allowed + PERMUTED_ROUNDING * np.abs(reference).max()).mean())
    return order if share > PERMUTED_SHARE else None


def _short(values: Array) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values[:16])
