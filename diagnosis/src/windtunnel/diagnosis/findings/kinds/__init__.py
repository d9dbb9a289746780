"""The kinds of findings by family: what each states, what fixes it, and its words for people.

Importing this package defines all of them; `reading` finds the kind of a cause in a document.
"""

from windtunnel.diagnosis.findings.kinds import (
    constants,
    kernels,
    latency,
    layers,
    model_ends,
    non_finite,
    ops,
    preprocessing,
    ranges,
    scales,
)

__all__ = [
    "constants",
    "kernels",
    "latency",
    "layers",
    "model_ends",
    "non_finite",
    "ops",
    "preprocessing",
    "ranges",
    "scales",
]
