"""What decides that one scale does not resolve parts of a tensor, or the values next to a mask (room `rules`)."""

from __future__ import annotations

import math
from typing import Annotated

from windtunnel.diagnosis.thresholds.threshold import Threshold
from windtunnel.thresholds import DEFAULT_THRESHOLD

MASK_SIZE: Annotated[
    float,
    Threshold(
        "absolute value of a constant",
        "A constant from this size on is a mask or a padding, not a parameter of the network.",
        "chosen",
        "Masks in use are -1e4 (BERT), -1e9 and the lowest float16 or float32.",
    ),
] = 1e3

MASK_SHARE: Annotated[
    float,
    Threshold(
        "share of the mask's size",
        "Values of at least this size belong to the mask.",
        "chosen",
        "A mask plus scores stays close to the mask: scores are far below MASK_SIZE.",
    ),
] = 0.5

MASK_REST_SHARE: Annotated[
    float,
    Threshold(
        "share of the mask's size",
        "Values below this size do not belong to the mask.",
        "chosen",
        "The gap to MASK_SHARE leaves values out that are neither.",
    ),
] = 0.1

MASK_DEPTH: Annotated[
    int,
    Threshold(
        "ops",
        "A mask is followed back through this many ops.",
        "chosen",
        "A mask passes a cast, a subtraction, a multiplication, a reshape and a broadcast.",
    ),
] = 6

MASK_BELOW: Annotated[
    float,
    Threshold(
        "difference of two inputs of a softmax",
        "A mask this far below the rest is large enough.",
        "derived",
        "exp(-20) = 2e-9 is below the float32 resolution of 1.",
    ),
] = 20.0

PART_FEWEST_STEPS: Annotated[
    float,
    Threshold(
        "quantization steps",
        "A part of a tensor whose own range is less than this loses its values: rounding alone exceeds the "
        "layer threshold.",
        "derived",
        "Rounding to steps of s has an RMSE of s / sqrt(12); as a share of a range of r steps that is 0.10 at "
        "r = 2.9 (docs/diagnosis.md).",
    ),
] = 1.0 / (math.sqrt(12.0) * DEFAULT_THRESHOLD)

PART_NEEDS_STEPS: Annotated[
    float,
    Threshold(
        "multiples of PART_FEWEST_STEPS",
        "Another part needs the shared range if its own range is at least this.",
        "chosen",
        "If no part is resolved, the scale of the whole tensor is the problem.",
    ),
] = 2.0

PART_SAMPLES: Annotated[
    int,
    Threshold(
        "samples",
        "Ranges of parts are observed on this many samples.",
        "chosen",
        "As isolated errors are.",
    ),
] = 16

PART_MOST_CHANNELS: Annotated[
    int,
    Threshold(
        "channels",
        "Outputs with more channels are maps or embeddings: their channels have one unit.",
        "chosen",
        "Not measured.",
    ),
] = 64

PART_OTHER_UNITS: Annotated[
    float,
    Threshold(
        "gain of the largest channel / of a channel",
        "Channels of one op whose gains differ more than this have other units.",
        "chosen",
        "The tests have boxes in pixels next to scores.",
    ),
] = 16.0

MASK_LARGEST: Annotated[
    float,
    Threshold(
        "absolute value of a constant",
        "A larger mask, such as minus infinity, counts as one of this size.",
        "derived",
        "Just below the largest float32.",
    ),
] = 3e38

PART_LEAST_DIVISOR: Annotated[
    float,
    Threshold(
        "absolute value of a constant",
        "A smaller divisor counts as this: the gain of its channel stays finite.",
        "derived",
        "Far below any divisor in use, and its inverse is a float32.",
    ),
] = 1e-30
