"""Which layer of the reference a layer of the candidate is."""

from __future__ import annotations

from windtunnel.layer_diff.graph import TRANSPARENT, Matching, Node, Pair, match_layers

__all__ = ["TRANSPARENT", "Matching", "Node", "Pair", "match_layers"]
