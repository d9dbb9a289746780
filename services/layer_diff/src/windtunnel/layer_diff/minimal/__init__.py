"""The smallest part of two models that still shows a fault, with inputs, as a zip for a bug report.

The zip's script needs numpy and a TensorFlow Lite runtime, nothing of Windtunnel.
"""

from __future__ import annotations

from windtunnel.layer_diff.minimal.region import Boundary, Region
from windtunnel.layer_diff.minimal.search import MinimalCase, minimal_case

__all__ = ["Boundary", "MinimalCase", "Region", "minimal_case"]
