"""What makes constants and layers the same (room `graph`)."""

from __future__ import annotations

from typing import Annotated

from windtunnel.diagnosis.thresholds.threshold import Threshold

SAME_BOUND: Annotated[
    float,
    Threshold(
        "relative difference",
        "Bounds closer than this are one.",
        "derived",
        "float16 has 11 significant bits.",
    ),
] = 2.0**-10

SAME_WEIGHTS: Annotated[
    float,
    Threshold(
        "mean cosine of the rows of two weights",
        "Weights that agree this well belong to one layer.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 0.98

SAME_WEIGHTS_MARGIN: Annotated[
    float,
    Threshold(
        "mean cosine of the rows of two weights",
        "The second best layer must be worse by at least this.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 0.02

FINGERPRINT_ROWS: Annotated[
    int,
    Threshold(
        "rows",
        "Of larger weights this many rows are compared.",
        "chosen",
        "Bounds the time of a comparison.",
    ),
] = 64

FINGERPRINT_COLUMNS: Annotated[
    int,
    Threshold(
        "columns",
        "Of larger weights this many columns are compared.",
        "chosen",
        "Bounds the time of a comparison.",
    ),
] = 256
