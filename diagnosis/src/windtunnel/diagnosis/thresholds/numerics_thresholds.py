"""When figures are computed differently (room `numerics`)."""

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
