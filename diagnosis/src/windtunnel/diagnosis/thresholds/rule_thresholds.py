"""What decides whether a difference between the models is a cause (room `rules`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from windtunnel.diagnosis.thresholds.threshold import Threshold

PROBED_SUSPECTS: Annotated[
    int,
    Threshold(
        "suspects",
        "This many suspects are fixed and run; the rest is judged from the files and the isolated errors.",
        "chosen",
        "Bounds the time of a comparison: each suspect costs two runs of the candidate over a few samples.",
    ),
] = 12

CONSTANTS_COMPENSATE: Annotated[
    float,
    Threshold(
        "isolated error with the fix / without it",
        "Constants whose fix raises the error of their layer more than this compensate for constants before them.",
        "chosen",
        "Set for channels in another order and channels scaled from layer to layer (docs/diagnosis-by-"
        "others.md, third set). The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 3.0

OP_ROUNDING: Annotated[
    float,
    Threshold(
        "nRMSE of one layer, isolated",
        "Another op whose error is below this computes the same: float32 adds in another order.",
        "measured",
        "docs/arm.md: the same op on other float32 kernels differs by at most 8.8e-7 of the range.",
    ),
] = 1e-6

UNNOTICED_FLOORS: Annotated[
    float,
    Threshold(
        "share of PRECISION_FLOOR",
        "A bound that differs is harmless if its layer's isolated error is below this: no integer reaches it.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 0.1

UNFIXED_FLOORS: Annotated[
    float,
    Threshold(
        "multiples of PRECISION_FLOOR",
        "If no file can be changed to fix a suspect, its layer must diverge by more than this.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 2.0

SHOWN_FLOORS: Annotated[
    float,
    Threshold(
        "share of PRECISION_FLOOR",
        "A fault must cause at least this isolated error, or move an output.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 0.25

SAME_ERROR: Annotated[
    float,
    Threshold(
        "relative difference of two errors",
        "Errors closer than this are the same error: the fix changes nothing.",
        "chosen",
        "Between the precision of the sums, 2e-6 (docs/decisions/0005), and OUTPUT_NOISE.",
    ),
] = 1e-4

LAYER_BETTER: Annotated[
    float,
    Threshold(
        "isolated error without the fix / with it",
        "A fix that lowers the error of its layer more than this helps, for codes that LAYER_BETTER_BY_CODE "
        "does not name.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 1.08

LAYER_BETTER_BY_CODE: Annotated[
    Mapping[str, float],
    Threshold(
        "isolated error without the fix / with it",
        "The same, for these codes.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = {"quantization.per_tensor": 1.5, "conversion.weights": 1.15, "conversion.op": 1.5}

OUTPUT_BETTER: Annotated[
    float,
    Threshold(
        "nRMSE of an output without the fix / with it",
        "A fix that lowers the error of an output more than this is verified.",
        "chosen",
        "Above OUTPUT_NOISE of every precision. The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 1.1

OUTPUT_WORSE: Annotated[
    float,
    Threshold(
        "nRMSE of an output with the fix / without it",
        "A fix that raises the error of an output more than this does harm.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 1.15

OUTPUT_DECIDED: Annotated[
    float,
    Threshold(
        "nRMSE of an output without the fix / with it",
        "A fix that lowers the error of an output more than this removes most of it; such causes are named first.",
        "chosen",
        "Set when causes were first ordered by what they do to the outputs. The fault matrix "
        "(docs/diagnosis.md) passes with it.",
    ),
] = 2.0

DOUBTFUL_RANGE_BETTER: Annotated[
    float,
    Threshold(
        "nRMSE of an output without the fix / with it",
        "A range that other samples may explain counts only if its fix lowers the error of an output more than this.",
        "chosen",
        "Equals OUTPUT_NOISE of integers. A second limit for ranges that rare values pass (1.02 to 1.2) lost three "
        "common faults on the fault matrix and found one rare one.",
    ),
] = 1.06

DOUBTFUL_RANGE_BETTER_BEHIND_FLOAT: Annotated[
    float,
    Threshold(
        "nRMSE of an output without the fix / with it",
        "The same for a range behind an op in float, whose range only rare values pass.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 1.5

RANGE_FITS: Annotated[
    float,
    Threshold(
        "width of a range / width of the candidate's values",
        "A range that follows from a fault before it is at most this many times as wide as the values the "
        "candidate itself reaches.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 1.6

ROUNDED_STEPS: Annotated[
    float,
    Threshold(
        "quantization steps",
        "Quantizers that weigh errors (GPTQ, OCTAV, MSE) move integers by at most this.",
        "chosen",
        "Set for clean candidates of such quantizers, which were false alarms before. The fault matrix "
        "(docs/diagnosis.md) passes with it.",
    ),
] = 8.0

ROUNDED_FLOORS: Annotated[
    float,
    Threshold(
        "multiples of PRECISION_FLOOR",
        "Integers that such a quantizer chose leave a smaller isolated error than this.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 2.0

ROUNDED_LAYERS: Annotated[
    int,
    Threshold(
        "layers",
        "A quantizer that rounds in its own way does so in at least this many layers.",
        "chosen",
        "A single layer with other integers is a fault of the matrix (noise in the weights of one layer).",
    ),
] = 3

BIAS_FOLLOWS_SCALE: Annotated[
    float,
    Threshold(
        "relative difference of two factors",
        "A bias whose factor is this close to the factor of a wrong scale before it follows from that scale.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 0.4

CLIPPING_OR_ROUNDING: Annotated[
    float,
    Threshold(
        "share of a layer's isolated error",
        "If storing the output explains more than this, the range is the cause and not the op.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 0.7

LISTED_ERRORS: Annotated[
    int,
    Threshold(
        "layers",
        "This many layers with the largest isolated errors are listed for accumulated rounding.",
        "chosen",
        "Keeps the list short.",
    ),
] = 5

SAME_GAIN: Annotated[
    float,
    Threshold(
        "ratio of two errors, less 1",
        "Gains closer to 1 than this are none: the output does not move.",
        "chosen",
        "Between SAME_ERROR and OUTPUT_NOISE of float32.",
    ),
] = 1e-3

NO_ERROR: Annotated[
    float,
    Threshold(
        "nRMSE of an output",
        "Added to both errors before they are divided: below it two outputs are equal.",
        "chosen",
        "Far below float32 rounding, 1.7e-7 at the outputs of MobileNetV2 (docs/arm.md).",
    ),
] = 1e-9

EFFECT_SAMPLES: Annotated[
    int,
    Threshold(
        "samples",
        "An output is observed on this many samples before a difference is called harmless.",
        "chosen",
        "Four times the samples of a trial; bounds the time of a comparison.",
    ),
] = 32

REWRITE_DIVERGES: Annotated[
    float,
    Threshold(
        "nRMSE of a layer, accumulated",
        "A layer from this error on may be an equivalent rewrite of the reference's layer.",
        "chosen",
        "Far above float32 rounding, 8.8e-7 per op (docs/arm.md).",
    ),
] = 1e-3

REWRITE_READERS_ROUND: Annotated[
    float,
    Threshold(
        "nRMSE of a layer, accumulated",
        "In float32 the layers that read a rewrite must agree within this.",
        "measured",
        "docs/decisions/0009: a twentieth of the layer's error was tried on the fault matrix in float32 and "
        "rejected, because it let faults pass.",
    ),
] = 1e-5

REWRITE_READERS_SHARE: Annotated[
    float,
    Threshold(
        "share of the rewrite's nRMSE",
        "With coarser numbers the layers that read a rewrite have less than this share of its error.",
        "chosen",
        "docs/decisions/0009.",
    ),
] = 0.05

REWRITE_READERS_MOST: Annotated[
    float,
    Threshold(
        "nRMSE of a layer, accumulated",
        "With coarser numbers the layers that read a rewrite must agree within this as well.",
        "chosen",
        "docs/decisions/0009.",
    ),
] = 0.03

FOREIGN_CONSTANT: Annotated[
    float,
    Threshold(
        "largest difference of two constants / largest value",
        "At an op that produces NaN or infinity, a constant that differs more than this is another constant.",
        "derived",
        "No weight format in use moves a value by a tenth of the tensor's largest value: int4 with one scale "
        "moves it by 1/14.",
    ),
] = 0.10
ENDS_ALIKE: Annotated[
    float,
    Threshold(
        "nRMSE of the output / nRMSE of the last common layer",
        "An op before an output that only one model has changes nothing if the output's error is at most this.",
        "derived",
        "An op that changes nothing leaves the error as it is, but for one more rounding; without a softmax it is 50 "
        "times as large.",
    ),
] = 2.0
