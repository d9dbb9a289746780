"""Which layers add most of a variant's error: the order in which a search keeps layers in float."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from windtunnel.diagnosis.findings.layer_diff import LayerDiff
from windtunnel.diagnosis.remedy.candidate_builder import Models
from windtunnel.diagnosis.remedy.search.recipes import units_of
from windtunnel.diagnosis.thresholds.remedy_thresholds import RANKING_SAMPLES
from windtunnel.errors import UserError
from windtunnel.isolation import Pool
from windtunnel.tflite import read_model

# (layer of the float model, weight), largest weight first.
Ranking = Sequence[tuple[str, float]]
# From the calibration set (.npz of model inputs) to a ranking.
Rank = Callable[[Path], Awaitable[Ranking]]


class RankByComparison:
    """Ranks the layers of the float model by the error that each of them adds on the calibration set.

    Args:
        models: the float model and the variant.
        pool: where native code runs.
        on_note: receives why the layers could not be compared; the ranking is then empty.
    """

    def __init__(self, models: Models, pool: Pool, on_note: Callable[[str], None]) -> None:
        self._models, self._pool, self._on_note = models, pool, on_note

    async def __call__(self, calibration: Path) -> Ranking:
        """Implements `Ranker.__call__`: by the layer comparison of the variant."""
        from windtunnel.diagnosis.comparison.compare_models import compare_models

        models = self._models.reference, self._models.variant
        try:
            found = await self._pool.run(compare_models, *models, calibration, None, max_samples=RANKING_SAMPLES)
        except UserError as error:
            self._on_note(f"the layers could not be compared ({error.message}): they are tried one by one")
            return ()
        units = units_of(await asyncio.to_thread(read_model, self._models.reference))
        return rank_layers(found.layers, {unit.name: unit.reads for unit in units})


def rank_layers(layers: Sequence[LayerDiff], reads: Mapping[str, Sequence[str]]) -> list[tuple[str, float]]:
    """Weights the layers of the float model.

    Args:
        layers: of a comparison.
        reads: for each layer of the float model, the layers that it reads.

    Returns:
        (layer of the float model, weight), largest weight first. The weight is the larger of the layer's isolated
        error and of the increase of its accumulated error over the layers that it reads, both nRMSE; 1 for a layer
        without a figure.
    """
    errors = {layer.reference: 1.0 if layer.nrmse is None else layer.nrmse for layer in layers}
    isolated = {layer.reference: layer.local_nrmse or 0.0 for layer in layers}
    weights = {}
    for name, error in errors.items():
        before = max((errors.get(source, 0.0) for source in reads.get(name, ())), default=0.0)
        weights[name] = max(isolated[name], error - before, 0.0)
    return sorted(weights.items(), key=lambda one: -one[1])
