"""Which layers add most of a variant's error: the order in which a search keeps layers in float."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from windtunnel.diagnosis.comparison.compare_models import compare_models
from windtunnel.diagnosis.remedy.recipes import units_of
from windtunnel.isolation import Pool
from windtunnel.tflite import read_model

# The comparison only ranks layers: more samples would not change their order much.
_MAX_SAMPLES: Final = 50


async def rank_by_comparison(reference: Path, variant: Path, calibration: Path, pool: Pool) -> list[tuple[str, float]]:
    """Ranks the layers of the float model by the error that each of them adds.

    Args:
        reference: the float model.
        variant: the quantized model.
        calibration: the samples, an .npz file.
        pool: where native code runs.

    Returns:
        As `rank_layers`.

    Raises:
        UserError: the models cannot be compared.
    """
    found = await pool.run(compare_models, reference, variant, calibration, None, max_samples=_MAX_SAMPLES)
    units = units_of(await asyncio.to_thread(read_model, reference))
    return rank_layers(found.to_json()["layers"], {unit.name: unit.reads for unit in units})


def rank_layers(layers: Sequence[Mapping[str, Any]], reads: Mapping[str, Sequence[str]]) -> list[tuple[str, float]]:
    """Weights the layers of the float model.

    Args:
        layers: `layers` of a diagnosis.
        reads: for each layer of the float model, the layers that it reads.

    Returns:
        (layer of the float model, weight), largest weight first. The weight is the larger of the layer's isolated
        error and of the increase of its accumulated error over the layers that it reads, both nRMSE; 1 for a layer
        without a figure.
    """
    errors = {layer["reference"]: 1.0 if layer["nrmse"] is None else float(layer["nrmse"]) for layer in layers}
    local = {layer["reference"]: layer.get("local_nrmse") or 0.0 for layer in layers}
    weights = {}
    for name, error in errors.items():
        before = max((errors.get(source, 0.0) for source in reads.get(name, ())), default=0.0)
        weights[name] = max(float(local[name]), error - before, 0.0)
    return sorted(weights.items(), key=lambda one: -one[1])
