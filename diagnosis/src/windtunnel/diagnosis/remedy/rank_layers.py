"""Which layers add most of a variant's error: the order in which a search keeps layers in float."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


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
