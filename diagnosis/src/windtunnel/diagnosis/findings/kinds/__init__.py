"""The kinds of findings by family: what each states, what fixes it, and its words for people.

Importing this package defines all of them; `reading` finds the kind of a cause in a document.
"""

from windtunnel.diagnosis.findings.kinds import (
    apps,
    constants,
    kernels,
    latency,
    layers,
    model_ends,
    non_finite,
    ops,
    postprocessing,
    preprocessing,
    ranges,
    scales,
)

__all__ = [
    "apps",
    "constants",
    "kernels",
    "latency",
    "layers",
    "model_ends",
    "non_finite",
    "ops",
    "postprocessing",
    "preprocessing",
    "ranges",
    "scales",
]
