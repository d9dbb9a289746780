"""What rounding explains between kernels, and what makes a kernel suspect (room `kernels`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from windtunnel.diagnosis.thresholds.threshold import Threshold

NATURAL_OUTPUT_DRIFT: Annotated[
    Mapping[str, float],
    Threshold(
        "nRMSE of the worst output",
        "Between kernels without a fault, a larger drift of the outputs is reported.",
        "measured",
        "docs/arm.md: 0.010 (int8) and 2e-7 (float32) at the outputs of MobileNetV2; up to 0.012 of the range "
        "at the logits of hybrid models.",
    ),
] = {"integer": 0.03, "hybrid": 0.05, "float": 1e-4}

BROKEN_LAYER: Annotated[
    float,
    Threshold(
        "nRMSE of one layer, isolated",
        "A kernel that diverges more than this makes the result broken, not degraded.",
        "chosen",
        "The layer threshold of `diff`.",
    ),
] = 0.10

LISTED_OPS: Annotated[
    int,
    Threshold(
        "ops",
        "So many ops that diverge in the same way are listed in one cause.",
        "chosen",
        "For people to read.",
    ),
] = 20

FEWEST_TELLING_VALUES: Annotated[
    int,
    Threshold(
        "values",
        "Fewer values that a coarser format cannot hold may be equal by chance.",
        "chosen",
        "16 values of float16 are all equal by chance with a probability far below 1e-9.",
    ),
] = 16

TABLE_STEPS: Annotated[
    Mapping[str, float],
    Threshold(
        "quantization steps",
        "Two kernels of an op that is computed from a table may differ by this.",
        "measured",
        "docs/arm.md: 1 step is the largest difference observed; the limit is twice that.",
    ),
] = {"int16": 2.0, "int8": 2.0, "uint8": 2.0}
