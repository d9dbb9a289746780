"""How similar the weights of two fused layers are, whatever factor each channel was scaled by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.graph.constants import WEIGHTED, rows
from windtunnel.diagnosis.graph.fused_layers import FusedLayer, FusedModel
from windtunnel.diagnosis.thresholds.graph_thresholds import FINGERPRINT_COLUMNS, FINGERPRINT_ROWS


class Fingerprints:
    """Rows of each fused layer's weights, scaled to length 1: at most 64 channels of at most 256 values.

    Folding a batch normalization scales every output channel; quantizing moves values a little. Neither changes the
    direction of a row much.

    Args:
        fused_layers: of one model.
    """

    def __init__(self, fused_layers: FusedModel) -> None:
        self._steps = fused_layers
        self._known: dict[int, tuple[tuple[int, int], NDArray[np.float64]] | None] = {}

    def likeness(self, reference_layer: FusedLayer, others: Fingerprints, other: FusedLayer) -> float:
        """Mean absolute cosine between the rows of two layers' weights.

        Args:
            reference_layer: of this model.
            others: fingerprints of the other model.
            other: layer of the other model.

        Returns:
            0 to 1; 0 if one has no weights, or another size.
        """
        a, b = self._of(reference_layer), others._of(other)
        if a is None or b is None or a[0] != b[0]:
            return 0.0
        return float(np.abs((a[1] * b[1]).sum(axis=1)).mean())

    def _of(self, layer: FusedLayer) -> tuple[tuple[int, int], NDArray[np.float64]] | None:
        if layer.order not in self._known:
            self._known[layer.order] = self._make(layer)
        return self._known[layer.order]

    def _make(self, layer: FusedLayer) -> tuple[tuple[int, int], NDArray[np.float64]] | None:
        op = self._steps.facts.ops[layer.work]
        place = WEIGHTED.get(op.name)
        constant = dict(layer.constants).get(place[0]) if place else None
        values = None if constant is None else self._steps.constants.real(constant)
        if place is None or values is None or values.ndim <= place[2]:
            return None
        table = rows(values, place[2])
        size = (table.shape[0], table.shape[1])
        picked = table[:: -(-size[0] // FINGERPRINT_ROWS), :: -(-size[1] // FINGERPRINT_COLUMNS)]
        # A row of one weight has no direction; such layers are distinguished by their place.
        if picked.shape[1] < 2 or not np.isfinite(picked).all():
            return None
        lengths = np.linalg.norm(picked, axis=1, keepdims=True)
        return size, picked / np.where(lengths > 0.0, lengths, 1.0)
