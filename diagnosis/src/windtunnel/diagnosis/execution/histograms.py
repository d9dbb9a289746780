"""Histograms of chosen layers, both models on one grid; a second pass, because the grid needs the ranges.

Native code runs here: call it as a job of `windtunnel.isolation.ChildPool`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.execution.run_samples import arranged
from windtunnel.diagnosis.feeding.paired_inputs import translate
from windtunnel.diagnosis.findings.histogram import Histogram
from windtunnel.diagnosis.graph import Pair
from windtunnel.diagnosis.numerics.layer_sums import LayerFigures
from windtunnel.isolation import progress
from windtunnel.pipeline import Feed
from windtunnel.tflite import Runner, dequantize

BINS = 64


def histograms(
    reference: Runner,
    candidate: Runner,
    given: Feed,
    pairs: Sequence[Pair],
    figures: Sequence[LayerFigures],
    *,
    limit: int | None = None,
    bins: int = BINS,
) -> list[Histogram | None]:
    """Counts the values of layers, on a grid over the ranges in their figures.

    Args:
        reference: with all tensors preserved.
        candidate: with all tensors preserved.
        given: the inputs.
        pairs: the layers.
        figures: of the pairs, in their order.
        limit: only the first so many samples; None: all.
        bins: of the grid.

    Returns:
        One for each pair; None for a layer without ranges (NaN or infinity, differing shapes).

    Raises:
        InvalidInput: the samples do not fit the models.
        Unsupported: the runtime cannot run a model.
    """
    counts = [_Counts(one, bins) if _has_ranges(one) else None for one in figures]
    total = given.count if limit is None else min(given.count, limit)
    for number, inputs in enumerate(islice(given, total)):
        reference.run(inputs)
        candidate.run(translate(inputs, reference.facts, candidate.facts))
        for pair, one in zip(pairs, counts, strict=True):
            if one is not None:
                _add(one, pair, reference, candidate)
        progress((number + 1) / total, f"histograms: sample {number + 1} of {total}")
    return [None if one is None else one.result() for one in counts]


def _has_ranges(figures: LayerFigures) -> bool:
    """Whether both ranges are known; a scale that is not finite makes them infinite."""
    ends = (*(figures.reference_range or (math.nan,)), *(figures.candidate_range or (math.nan,)))
    return all(math.isfinite(end) for end in ends)


def _add(counts: _Counts, pair: Pair, reference: Runner, candidate: Runner) -> None:
    """Adds one sample of a layer. Views are let go with this call: the runtime does not run while one is held."""
    reference_values, candidate_values = pair.reference.tensor, pair.candidate.tensor
    values = candidate.view(candidate_values.index)
    expected = arranged(reference.view(reference_values.index), pair, values.shape)
    counts.add(dequantize(expected, reference_values.quantization), dequantize(values, candidate_values.quantization))


class _Counts:
    def __init__(self, figures: LayerFigures, bins: int) -> None:
        ends = (*(figures.reference_range or ()), *(figures.candidate_range or ()))
        low, high = min(ends), max(ends)
        # Float32 sums may put an end a last digit inside the values; a constant needs a width.
        margin = max((high - low) * 1e-6, abs(high) * 1e-6, 1e-30)
        self._edges = np.linspace(low - margin, high + margin, bins + 1)
        self._sides = np.zeros((2, bins), dtype=np.int64)

    def add(self, reference: NDArray[np.float64], candidate: NDArray[np.float64]) -> None:
        for side, values in zip(self._sides, (reference, candidate), strict=True):
            ends = float(self._edges[0]), float(self._edges[-1])
            side += np.histogram(values, bins=len(side), range=ends)[0]

    def result(self) -> Histogram:
        reference, candidate = (tuple(int(count) for count in side) for side in self._sides)
        return Histogram(tuple(float(edge) for edge in self._edges), reference, candidate)
