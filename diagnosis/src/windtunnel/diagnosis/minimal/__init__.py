"""The smallest part of two models that still shows a fault, with inputs, as a zip for a bug report.

The zip's script needs numpy and a TensorFlow Lite runtime, nothing of Windtunnel.
"""

from __future__ import annotations

from windtunnel.diagnosis.minimal.find_smallest import MinimalCase, minimal_case
from windtunnel.diagnosis.minimal.graph_region import Boundary, Region

__all__ = ["Boundary", "MinimalCase", "Region", "minimal_case"]
