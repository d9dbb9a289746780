"""Compares a variant with its reference, layer by layer, and says whether it is healthy.

What is named here loads on first use: rooms that need no interpreter, such as `findings`, stay quick to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from windtunnel.diagnosis.comparison.compare_models import compare_models
    from windtunnel.diagnosis.findings.comparison import Comparison

__all__ = ["Comparison", "compare_models"]


def __getattr__(name: str) -> Any:
    if name == "compare_models":
        from windtunnel.diagnosis.comparison.compare_models import compare_models

        return compare_models
    if name == "Comparison":
        from windtunnel.diagnosis.findings.comparison import Comparison

        return Comparison
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
