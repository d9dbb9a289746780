"""What makes a candidate degraded or broken."""

from __future__ import annotations

from typing import Annotated

from windtunnel.diagnosis.thresholds.threshold import Threshold

DEGRADED_DROP: Annotated[
    float,
    Threshold(
        "top-1, absolute",
        "A larger drop makes a candidate degraded.",
        "chosen",
        "Part of the verdict's definition (docs/diagnosis.md).",
    ),
] = 0.02

BROKEN_DROP: Annotated[
    float,
    Threshold(
        "top-1, absolute",
        "A drop of at least this makes a candidate broken.",
        "chosen",
        "Part of the verdict's definition (docs/diagnosis.md).",
    ),
] = 0.10

DEGRADED_CHANGED: Annotated[
    float,
    Threshold(
        "share of samples",
        "A larger share of changed classes makes a candidate degraded.",
        "chosen",
        "Part of the verdict's definition (docs/diagnosis.md).",
    ),
] = 0.05

BROKEN_CHANGED: Annotated[
    float,
    Threshold(
        "share of samples",
        "A share of changed classes of at least this makes a candidate broken.",
        "chosen",
        "Part of the verdict's definition (docs/diagnosis.md).",
    ),
] = 0.30

BROKEN_OUTPUT: Annotated[
    float,
    Threshold(
        "nRMSE of the worst output",
        "An error of at least this makes a candidate broken.",
        "measured",
        "ML-EXray (MLSys 2022): healthy int8 layers stay below 0.08; a broken kernel shows 0.5.",
    ),
] = 0.30

CHANCE: Annotated[
    float,
    Threshold(
        "probability",
        "A drop of top-1 that chance gives at least this often does not count.",
        "chosen",
        "The usual level of a one-sided test (docs/decisions/0007).",
    ),
] = 0.05

CHANCE_Z: Annotated[
    float,
    Threshold(
        "standard deviations",
        "The one-sided 95 % quantile of the normal distribution, for the interval of a share.",
        "derived",
        "Belongs to CHANCE.",
    ),
] = 1.645

CHANCE_EXACT_SAMPLES: Annotated[
    int,
    Threshold(
        "samples whose result changed",
        "From more on, McNemar's test uses the normal approximation.",
        "derived",
        "The exact sum has terms of up to 2^400, which still fit a float.",
    ),
] = 400

REASON_NAME_LENGTH: Annotated[
    int,
    Threshold(
        "characters",
        "Longer layer names are shortened in reasons.",
        "chosen",
        "A reason fits a line of a terminal.",
    ),
] = 60
