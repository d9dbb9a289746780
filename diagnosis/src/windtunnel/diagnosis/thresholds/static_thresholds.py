"""What the precision of a file explains of its weights, and what is noted (room `static`)."""

from __future__ import annotations

from typing import Annotated

from windtunnel.diagnosis.thresholds.threshold import Threshold

FOLDING_ROUNDING: Annotated[
    float,
    Threshold(
        "share of the channel's largest weight",
        "Folding a batch normalization in float32 moves weights by less.",
        "chosen",
        "A few units in the last place of float32 (6e-8).",
    ),
] = 4e-6

FOLDED_ROUNDING: Annotated[
    float,
    Threshold(
        "share of the channel's largest weight",
        "The same if one model is folded and the other is not.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 2e-5

LEAST_BIT: Annotated[
    int,
    Threshold(
        "bits of a float32",
        "A changed bit below this one is rounding.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 1 << 3

COMPENSATING_STEPS: Annotated[
    float,
    Threshold(
        "quantization steps",
        "Quantizers that compensate errors (GPTQ, rotations) move values by less.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 8.0

COMPENSATING_SHARE: Annotated[
    float,
    Threshold(
        "share of the values",
        "Such quantizers move more than this share of a tensor.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 0.02

LARGEST_FLOAT16: Annotated[
    float,
    Threshold(
        "weight",
        "The largest number of float16.",
        "derived",
        "IEEE 754.",
    ),
] = 65504.0

SAME_SCALE: Annotated[
    float,
    Threshold(
        "relative difference",
        "Scales closer than this are one.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 0.01

TIE_STEPS: Annotated[
    float,
    Threshold(
        "quantization steps",
        "Rounding the other way moves a value by less.",
        "derived",
        "Half a step, plus a fifth for float32 scales.",
    ),
] = 0.6

ROUNDING_SLACK: Annotated[
    float,
    Threshold(
        "multiples of half a step",
        "What precision explains, with a margin for ties and float32 scales.",
        "chosen",
        "Not measured.",
    ),
] = 1.002

CHANNELS_LOST: Annotated[
    float,
    Threshold(
        "largest range of a channel / middle one",
        "One scale may harm channels from this on.",
        "derived",
        "Half the channels lose two bits.",
    ),
] = 4.0

CHANNELS_SURELY_LOST: Annotated[
    float,
    Threshold(
        "largest range of a channel / middle one",
        "One scale harms channels from this on; the file proves it.",
        "derived",
        "Half the channels lose three bits.",
    ),
] = 8.0

WORST_CHANNEL: Annotated[
    float,
    Threshold(
        "rounding error of a channel / its size",
        "One scale may harm a channel from this on.",
        "chosen",
        "int8 with a scale per channel moves a channel by a hundredth of its size.",
    ),
] = 0.1

NOTE_CLIPPED: Annotated[
    float,
    Threshold(
        "share of the values",
        "From this on, clipping is noted.",
        "chosen",
        "Not measured.",
    ),
] = 1e-3

NOTE_WIDE: Annotated[
    float,
    Threshold(
        "width of a range / width of the values",
        "From this on, an unused range is noted.",
        "chosen",
        "Not measured.",
    ),
] = 1.5

NOTE_CROWDED: Annotated[
    float,
    Threshold(
        "steps of int8 per standard deviation",
        "Below this, values in few steps are noted.",
        "derived",
        "A bell curve that is clipped at four deviations has 32.",
    ),
] = 9.0

NOTE_COARSE: Annotated[
    float,
    Threshold(
        "rounding error of weights / their size",
        "From this on, coarse weights are noted.",
        "chosen",
        "int8 with a scale per channel gives 0.01.",
    ),
] = 0.03

NOTE_UNEVEN: Annotated[
    float,
    Threshold(
        "largest range of a channel / middle one",
        "From this on, one scale for uneven channels is noted.",
        "chosen",
        "Not measured.",
    ),
] = 2.0

NOTE_MOSTLY: Annotated[
    float,
    Threshold(
        "share of a layer's isolated error",
        "If storing the output explains more, this is noted.",
        "chosen",
        "Not measured.",
    ),
] = 0.6

PATTERN_FACTOR: Annotated[
    float,
    Threshold(
        "factor of a channel, less 1",
        "Rounding leaves the factor of a channel this close to 1.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 0.02

PATTERN_FEW: Annotated[
    int,
    Threshold(
        "values",
        "This many other values at most are single damaged values.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 3

PATTERN_ROWS: Annotated[
    int,
    Threshold(
        "rows",
        "This many rows are compared at once.",
        "chosen",
        "Bounds the memory.",
    ),
] = 64

PATTERN_NEAR: Annotated[
    float,
    Threshold(
        "share of a row's power",
        "A row this close to another one is its twin.",
        "chosen",
        "int4 rounds most. The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 0.1

ARITHMETIC_ROUNDING: Annotated[
    float,
    Threshold(
        "share of a value",
        "Arithmetic in float32 moves a value by less.",
        "chosen",
        "Some units in the last place of float32 (6e-8).",
    ),
] = 1e-6

SAME_ATTRIBUTE: Annotated[
    float,
    Threshold(
        "relative difference",
        "Attributes of ops that are closer than this are equal.",
        "derived",
        "Some units in the last place of float32 (6e-8), in which files store them.",
    ),
] = 1e-6

PATTERN_SLACK: Annotated[
    float,
    Threshold(
        "multiples of the tolerance",
        "A factor or an offset explains a channel if it leaves less than this.",
        "chosen",
        "Not measured.",
    ),
] = 1.5

PERMUTED_SLACK: Annotated[
    float,
    Threshold(
        "multiples of the tolerance",
        "Rows in another order may differ by this.",
        "chosen",
        "Not measured.",
    ),
] = 1.05

PERMUTED_ROUNDING: Annotated[
    float,
    Threshold(
        "share of the largest weight",
        "Rows in another order may differ by this in addition: a channel has the scale of its new place.",
        "chosen",
        "Not measured.",
    ),
] = 0.02

PERMUTED_SHARE: Annotated[
    float,
    Threshold(
        "share of the values",
        "Rows are in another order if more values than this agree.",
        "chosen",
        "Not measured.",
    ),
] = 0.98

PERMUTED_MOST_ROWS: Annotated[
    int,
    Threshold(
        "rows",
        "Of more rows no other order is searched.",
        "chosen",
        "Bounds the time.",
    ),
] = 4096

PERMUTED_MOST_COLUMNS: Annotated[
    int,
    Threshold(
        "values of a row",
        "Of longer rows no other order is searched.",
        "chosen",
        "Bounds the time.",
    ),
] = 65536

CUT_OFF_END: Annotated[
    float,
    Threshold(
        "share of the largest value of the channel",
        "Values from this on are at the end of the quantization range of the channel.",
        "derived",
        "Less than a step of int8 below the end, and more than float32 rounding.",
    ),
] = 0.999

CUT_OFF_FEW: Annotated[
    float,
    Threshold(
        "share of the values of a channel",
        "A quantizer cuts off at most this share on purpose.",
        "chosen",
        "If more are cut off, the scale is too small.",
    ),
] = 0.05

CUT_OFF_REST: Annotated[
    float,
    Threshold(
        "multiples of the tolerance",
        "The other values of a channel that is cut off on purpose differ by less.",
        "chosen",
        "Not measured.",
    ),
] = 1.5

CUT_OFF_SLIGHTLY: Annotated[
    float,
    Threshold(
        "multiples of the tolerance",
        "A single value that is cut off by less is a choice of the quantizer.",
        "chosen",
        "Not measured.",
    ),
] = 1.3

CUT_OFF_VALUES: Annotated[
    int,
    Threshold(
        "values of a channel",
        "This many values at the end of one channel are a choice of the quantizer.",
        "chosen",
        "One value alone may be another fault.",
    ),
] = 2

CUT_OFF_CHANNELS: Annotated[
    int,
    Threshold(
        "channels",
        "Values at the end of this many channels are a choice of the quantizer.",
        "chosen",
        "One value alone may be another fault.",
    ),
] = 3

NOTE_OUTLIERS: Annotated[
    float,
    Threshold(
        "width of the values / standard deviation",
        "From this on, outliers set a range.",
        "derived",
        "A bell curve that is clipped at four deviations has 8; half as much again.",
    ),
] = 12.0
