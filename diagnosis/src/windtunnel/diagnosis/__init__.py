"""Compares a variant with its reference, layer by layer, and says whether it is healthy."""

from __future__ import annotations

from windtunnel.diagnosis.comparison.compare_models import compare_models
from windtunnel.diagnosis.findings.comparison import Comparison

__all__ = ["Comparison", "compare_models"]
