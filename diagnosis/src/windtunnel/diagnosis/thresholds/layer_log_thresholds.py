"""What decides when two layer logs are compared (room `layer_log`)."""

from __future__ import annotations

from typing import Annotated

from windtunnel.diagnosis.thresholds.threshold import Threshold

BOUND_SPREADS: Annotated[
    float,
    Threshold(
        "standard deviations of the estimate",
        "An upper bound of an estimated nRMSE lies this far above it.",
        "chosen",
        "For a normal distribution 0.1 % lie above.",
    ),
] = 3.0

OTHER_INPUTS_SHARE: Annotated[
    float,
    Threshold(
        "share of values",
        "Two frames have the same inputs if at most this share of their values differs.",
        "chosen",
        "Not measured.",
    ),
] = 0.5

TEXT_VALUES: Annotated[
    int,
    Threshold(
        "values",
        "Of larger layers so many values are written as text, and the size is extrapolated.",
        "chosen",
        "Bounds the time (docs/layer-log.md).",
    ),
] = 10_000
