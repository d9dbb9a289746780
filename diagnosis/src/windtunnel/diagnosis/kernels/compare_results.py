"""A job: the results of each layer on several accelerators, compared with each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.kernels.result_distance import Distance, DistanceSums

Results = Mapping[str, Sequence[Path]]


def pair_distances(results: Results) -> dict[tuple[int, str, str], Distance]:
    """Distances of the results of all pairs of accelerators.

    Args:
        results: one file for each sample, by accelerator; keys in the files are tensor indices.

    Returns:
        Keyed (tensor index, first, second); only for layers of which both have a result.
    """
    return _distances(results, list(combinations(results, 2)))


def distances_from(base: str, results: Results) -> dict[tuple[int, str, str], Distance]:
    """Distances of the results of one accelerator and each of the others.

    Args:
        base: the one accelerator.
        results: one file for each sample, by accelerator; keys in the files are tensor indices.

    Returns:
        Keyed (tensor index, base, another); only for layers of which both have a result.
    """
    return _distances(results, [(base, name) for name in results if name != base])


def _distances(results: Results, pairs: Sequence[tuple[str, str]]) -> dict[tuple[int, str, str], Distance]:
    sums: dict[tuple[int, str, str], DistanceSums] = {}
    integers: dict[int, bool] = {}
    names = list(results)
    for files in zip(*results.values(), strict=True):
        opened = {name: np.load(path) for name, path in zip(names, files, strict=True)}
        try:
            keys = sorted({int(key) for one in opened.values() for key in one.files})
            for key in keys:
                arrays = {name: one[str(key)] for name, one in opened.items() if str(key) in one.files}
                integers[key] = all(array.dtype.kind in "iub" for array in arrays.values())
                _add(sums, key, arrays, pairs)
        finally:
            for one in opened.values():
                one.close()
    return {key: one.distance(integer=integers[key[0]]) for key, one in sums.items()}


def _add(
    sums: dict[tuple[int, str, str], DistanceSums],
    key: int,
    arrays: Mapping[str, NDArray[Any]],
    pairs: Sequence[tuple[str, str]],
) -> None:
    for first, second in pairs:
        if first in arrays and second in arrays:
            sums.setdefault((key, first, second), DistanceSums()).add(arrays[first], arrays[second])
