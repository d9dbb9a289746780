"""Two models as graphs of steps, however their converters fused, split, renamed or laid them out.

`steps` reads a model as canonical steps; `match` pairs the steps, and the tensors, of two models.
"""

from __future__ import annotations

from windtunnel.diagnosis.graph.fused_layers import FusedLayer, FusedModel
from windtunnel.diagnosis.graph.layer_matching import Matching, Node, Pair, match_layers

__all__ = ["FusedLayer", "FusedModel", "Matching", "Node", "Pair", "match_layers"]
