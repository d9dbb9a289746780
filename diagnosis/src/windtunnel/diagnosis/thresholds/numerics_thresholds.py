"""When figures are computed differently, and how layer logs are compared (rooms `numerics` and `layer_log`)."""

from __future__ import annotations

from typing import Annotated

from windtunnel.diagnosis.thresholds.threshold import Threshold

CANCELS: Annotated[
    float,
    Threshold(
        "energy of the candidate / of the reference",
        "Below this too few digits of the sums over the difference are left for a cosine.",
        "chosen",
        "Figures stay within 2e-6 of float64 (docs/decisions/0005).",
    ),
] = 1e-2

MOST_CHANNELS: Annotated[
    int,
    Threshold(
        "channels",
        "Layers with more channels have no figures per channel.",
        "chosen",
        "Nobody examines them one by one; bounds the memory.",
    ),
] = 16384

MOST_INTERVAL: Annotated[
    float,
    Threshold(
        "natural logarithm of the nRMSE",
        "An interval is at most this wide on either side, so that it stays finite.",
        "derived",
        "Two samples can give an interval over thousands of decades.",
    ),
] = 40.0

CLOSE_FIRST: Annotated[
    int,
    Threshold(
        "samples",
        "Layers of large models are examined closely on the first samples.",
        "chosen",
        "Bounds the time of a comparison.",
    ),
] = 4

CLOSE_EVERY: Annotated[
    int,
    Threshold(
        "samples",
        "Layers of large models are examined closely on every sample of this number.",
        "chosen",
        "Bounds the time of a comparison.",
    ),
] = 32

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
        "Of larger layers this many values are written as text, and the size is extrapolated.",
        "chosen",
        "Bounds the time (docs/layer-log.md).",
    ),
] = 10_000
