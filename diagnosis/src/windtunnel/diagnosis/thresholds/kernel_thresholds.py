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
        "This many ops that diverge in the same way are listed in one cause.",
        "chosen",
        "Keeps the list short.",
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

HYBRID_LIMIT: Annotated[
    float,
    Threshold(
        "share of the layer's range",
        "Two right kernels of an op with float values and integer weights may differ by this.",
        "chosen",
        "Each kernel quantizes the input in its own way, which moves a value by up to 0.01 of the range.",
    ),
] = 0.03

SUM_LIMIT: Annotated[
    float,
    Threshold(
        "multiples of the precision times the root of the number of terms",
        "Two right kernels may sum in different orders.",
        "derived",
        "Errors of a sum of n rounded terms grow with sqrt(n) (Higham, Accuracy and Stability, 2.8).",
    ),
] = 8.0

SUM_LIMIT_LEAST: Annotated[
    float,
    Threshold(
        "share of the layer's range",
        "Two right float kernels may differ by at least this.",
        "chosen",
        "docs/arm.md: without a fault, one op differs by at most 8.8e-7.",
    ),
] = 1e-5

FIXED_POINT_STEPS: Annotated[
    float,
    Threshold(
        "quantization steps",
        "Two right kernels may differ by this if one rounds in fixed point and the other in float.",
        "derived",
        "Both round once.",
    ),
] = 1.0
