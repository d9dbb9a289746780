"""Two models as graphs of steps, however their converters fused, split, renamed or laid them out.

`steps` reads a model as canonical steps; `match` pairs the steps, and the tensors, of two models.
"""

from __future__ import annotations

from windtunnel.layer_diff.graph.match import Matching, Node, Pair, match_layers
from windtunnel.layer_diff.graph.steps import TRANSPARENT, Step, Steps

__all__ = ["TRANSPARENT", "Matching", "Node", "Pair", "Step", "Steps", "match_layers"]
