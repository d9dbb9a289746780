"""Compares a variant with its reference, layer by layer, and says whether it is healthy."""

from __future__ import annotations

from windtunnel.layer_diff.compare import compare_models
from windtunnel.layer_diff.domain import Comparison

__all__ = ["Comparison", "compare_models"]
