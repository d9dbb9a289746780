"""A job: what the kernel sets left of each layer, against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.kernels.result_distance import Gap, GapSums

Results = Mapping[str, Sequence[Path]]


def pair_gaps(results: Results) -> dict[tuple[int, str, str], Gap]:
    """Gaps of all pairs of kernel sets, keyed (tensor index, first, second); where one has no result there is none.

    `results` has one file per sample for each kernel set; their keys are tensor indices.
    """
    return _gaps(results, list(combinations(results, 2)))


def gaps_against(base: str, results: Results) -> dict[tuple[int, str, str], Gap]:
    """The same for the pairs (`base`, another)."""
    return _gaps(results, [(base, name) for name in results if name != base])


def _gaps(results: Results, pairs: Sequence[tuple[str, str]]) -> dict[tuple[int, str, str], Gap]:
    sums: dict[tuple[int, str, str], GapSums] = {}
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
    return {key: one.gap(integer=integers[key[0]]) for key, one in sums.items()}


def _add(
    sums: dict[tuple[int, str, str], GapSums],
    key: int,
    arrays: Mapping[str, NDArray[Any]],
    pairs: Sequence[tuple[str, str]],
) -> None:
    for first, second in pairs:
        if first in arrays and second in arrays:
            sums.setdefault((key, first, second), GapSums()).add(arrays[first], arrays[second])
