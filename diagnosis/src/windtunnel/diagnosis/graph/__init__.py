"""Two models as graphs of fused layers, however their converters fused, split, renamed or laid them out.

`fused_layers` reads a model as canonical layers. `match_layers` pairs the layers, and the tensors, of two models;
`matching` is what it gives.
"""

from __future__ import annotations

from windtunnel.diagnosis.graph.fused_layers import FusedLayer, FusedModel
from windtunnel.diagnosis.graph.match_layers import match_layers
from windtunnel.diagnosis.graph.matching import Matching, Node, Pair

__all__ = ["FusedLayer", "FusedModel", "Matching", "Node", "Pair", "match_layers"]
