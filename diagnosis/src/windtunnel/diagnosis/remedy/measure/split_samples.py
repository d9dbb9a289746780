"""Samples in three parts: to calibrate with, to search with, and to prove with. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.thresholds.remedy_thresholds import SPLIT_FEWEST, SPLIT_MOST, SPLIT_SHARES
from windtunnel.errors import InvalidInput

SEED: Final = 20261121
LEAST_SAMPLES: Final = sum(SPLIT_FEWEST)


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of the samples of each part; no sample is in two of them."""

    calibration: NDArray[np.int64]
    search: NDArray[np.int64]
    held_back: NDArray[np.int64]
    stratified: bool
    seed: int = SEED


def split(count: int, classes: NDArray[Any] | None, *, seed: int = SEED, repeated: int = 0) -> Split:
    """Draws the parts: 20 % (at most 100) to calibrate, 40 % (at most 500) to search, the rest (at most 2000) to prove.

    Args:
        count: number of samples, no two of them equal.
        classes: (count,) class indices; each part then has about the same share of every class.
        seed: of the drawing.
        repeated: how many more there were that equal one of these.

    Returns:
        Indices of the samples of each part.

    Raises:
        InvalidInput: there are fewer than `LEAST_SAMPLES` samples.
    """
    if count < LEAST_SAMPLES:
        also = f" (and {repeated} that equal one of them)" if repeated else ""
        raise InvalidInput(
            f"{count} samples{also} are too few to calibrate, to search and to prove the result on samples not used",
            hint=f"give at least {LEAST_SAMPLES}; a drop of 1 % shows from some hundreds on",
        )
    order = _spread(count, classes, np.random.default_rng(seed))
    first = min(max(round(count * SPLIT_SHARES[0]), SPLIT_FEWEST[0]), SPLIT_MOST[0])
    second = first + min(max(round(count * SPLIT_SHARES[1]), SPLIT_FEWEST[1]), SPLIT_MOST[1])
    third = min(count, second + SPLIT_MOST[2])
    parts = [np.sort(order[a:b]) for a, b in ((0, first), (first, second), (second, third))]
    return Split(parts[0], parts[1], parts[2], stratified=classes is not None, seed=seed)


def _spread(count: int, classes: NDArray[Any] | None, draw: np.random.Generator) -> NDArray[np.int64]:
    """The samples in random order, so that every run of them holds about the same share of every class."""
    order = draw.permutation(count)
    if classes is None:
        return order
    place = np.empty(count)
    for label in np.unique(classes):
        own = order[classes[order] == label]
        # One offset for each class: rare classes would else all come last, or all first.
        place[own] = (np.arange(len(own)) + draw.random()) / len(own)
    return np.argsort(place, kind="stable").astype(np.int64)
