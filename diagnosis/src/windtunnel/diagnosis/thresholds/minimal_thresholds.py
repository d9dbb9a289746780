"""How the smallest case of a fault is found (room `minimal`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from windtunnel.diagnosis.thresholds.threshold import Threshold

TRIED_SAMPLES: Annotated[
    int,
    Threshold(
        "samples",
        "This many samples are searched for those that show the fault.",
        "chosen",
        "Bounds the time of the search.",
    ),
] = 32

MOST_SAMPLES: Annotated[
    int,
    Threshold(
        "samples",
        "A case has at most this many samples.",
        "chosen",
        "Keeps the file small.",
    ),
] = 5

LEAST_SAMPLES: Annotated[
    int,
    Threshold(
        "samples",
        "A case has at least this many samples, if there are as many.",
        "chosen",
        "Not measured.",
    ),
] = 3

ROUNDING_FLOOR: Annotated[
    Mapping[str, float],
    Threshold(
        "nRMSE of one op",
        "Rounding alone explains this, by the coarsest type that the op computes with.",
        "chosen",
        "int8: two quantization steps of 1/255. The other values are not measured.",
    ),
] = {"int4": 0.08, "int2": 0.2, "int8": 0.008, "uint8": 0.008, "int16": 0.004, "float16": 1e-3}

ROUNDING_FLOOR_FLOAT: Annotated[
    float,
    Threshold(
        "nRMSE of one op",
        "The same for float32.",
        "measured",
        "docs/arm.md: 8.8e-7 is the largest difference observed.",
    ),
] = 1e-5

SHOWN_TIMES: Annotated[
    float,
    Threshold(
        "multiples of the rounding floor",
        "A fault shows from this error on.",
        "chosen",
        "Not measured.",
    ),
] = 2.0

MOST_GROWTH: Annotated[
    int,
    Threshold(
        "tensors",
        "A region grows by this many tensors on either side at most.",
        "chosen",
        "Each one is another build and run of both parts.",
    ),
] = 6
