"""How many samples are run, and when values decide what matches (rooms `execution`, `comparison` and `feeding`)."""

from __future__ import annotations

from typing import Annotated

from windtunnel.diagnosis.thresholds.threshold import Threshold

FEWEST_TYPICAL_SAMPLES: Annotated[
    int,
    Threshold(
        "samples",
        "Fewer samples say nothing about the ranges that a model meets.",
        "chosen",
        "Not measured.",
    ),
] = 4

ISOLATED_SAMPLES: Annotated[
    int,
    Threshold(
        "samples",
        "Isolated errors are measured on the first samples.",
        "chosen",
        "Bounds the time of a comparison.",
    ),
] = 16

HISTOGRAM_LAYERS: Annotated[
    int,
    Threshold(
        "layers",
        "This many layers at fault get a histogram.",
        "chosen",
        "A person looks at them.",
    ),
] = 3

RIGHT_WHEN_FIXED: Annotated[
    float,
    Threshold(
        "nRMSE of one layer, isolated",
        "A layer whose error with the fix is below this was not wrong because of the kernel.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 0.01

SAME_BOX_OVERLAP: Annotated[
    float,
    Threshold(
        "intersection over union",
        "Boxes that overlap by at least this are the same box.",
        "derived",
        "The default of the detection op itself.",
    ),
] = 0.5

MATCHING_SAMPLES: Annotated[
    int,
    Threshold(
        "samples",
        "Layers that structure does not match are matched on the values of this many samples.",
        "chosen",
        "Bounds the time of a comparison.",
    ),
] = 3

SAME_VALUES: Annotated[
    float,
    Threshold(
        "nRMSE of the worst sample",
        "Two layers whose values are closer than this may be the same.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 0.05

CLEARLY_SAME_VALUES: Annotated[
    float,
    Threshold(
        "nRMSE of the second best layer / of the best",
        "A match is clear if no other layer is nearly as close.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 2.0

MATCHED_LEAST_VALUES: Annotated[
    int,
    Threshold(
        "values",
        "Smaller layers agree by chance.",
        "chosen",
        "Not measured.",
    ),
] = 8

MATCHED_MOST_VALUES: Annotated[
    int,
    Threshold(
        "values",
        "Larger layers take too long.",
        "chosen",
        "Bounds the time of a comparison.",
    ),
] = 4_000_000

MATCHED_ORDERS: Annotated[
    int,
    Threshold(
        "orders of axes",
        "This many orders of the axes are tried.",
        "chosen",
        "Channels first, channels last and the given order come first; bounds the time.",
    ),
] = 8

OUTPUT_PAIRING_SAMPLES: Annotated[
    int,
    Threshold(
        "samples",
        "Outputs are paired on this many samples.",
        "chosen",
        "Bounds the time of a comparison.",
    ),
] = 8

OUTPUT_PAIRING_VALUES: Annotated[
    int,
    Threshold(
        "values",
        "Of an output this many values are compared at most, evenly spaced.",
        "chosen",
        "Bounds the memory.",
    ),
] = 1_000_000

MOST_EXCHANGES: Annotated[
    int,
    Threshold(
        "pairs of inputs",
        "This many exchanges of two inputs are tried at most.",
        "chosen",
        "Each one runs the candidate over the samples.",
    ),
] = 32

ALL_ORDERS_OUTPUTS: Annotated[
    int,
    Threshold(
        "outputs",
        "All orders of this many outputs are tried. Of more, each takes the closest one that is left.",
        "derived",
        "6 outputs have 720 orders, 7 have 5040.",
    ),
] = 6

PAIRED_CLEARLY: Annotated[
    float,
    Threshold(
        "nRMSE in the given order / in the other order",
        "Another order counts if its outputs are this much closer.",
        "chosen",
        "Not measured.",
    ),
] = 2.0

PAIRED_SAME: Annotated[
    float,
    Threshold(
        "nRMSE of an output",
        "Another order counts if its outputs are closer than this.",
        "chosen",
        "Above the layer threshold of 0.10, so that a quantized model still counts.",
    ),
] = 0.15

UNCOMPARABLE: Annotated[
    float,
    Threshold(
        "nRMSE of an output",
        "The error of outputs that cannot be compared.",
        "derived",
        "The error of an output whose difference is as large as its range.",
    ),
] = 1.0

CLEAR_CLASS: Annotated[
    float,
    Threshold(
        "share of the range of all outputs",
        "A class is clear if it leads by this: rounding may reverse the order of closer ones.",
        "chosen",
        "docs/decisions/0008.",
    ),
] = 0.05

PROBE_SAMPLES: Annotated[
    int,
    Threshold(
        "samples",
        "A suspect's fix is run on this many samples, layer by layer.",
        "measured",
        "16 samples for ranges found one rare fault of the fault matrix and lost three common ones, together "
        "with other limits.",
    ),
] = 4

OUTPUT_SAMPLES: Annotated[
    int,
    Threshold(
        "samples",
        "A suspect's fix is run on this many samples as a whole.",
        "measured",
        "See PROBE_SAMPLES.",
    ),
] = 8

LARGE_MODEL_VALUES: Annotated[
    int,
    Threshold(
        "values in all layers of one sample",
        "In larger models only some samples are examined closely.",
        "chosen",
        "Bounds the time: docs of the diagnosis library, figures of a layer.",
    ),
] = 500_000

INPUT_RANGE_SHARE: Annotated[
    float,
    Threshold(
        "share of the reference's input range",
        "A candidate's input with a smaller range is a fault to show, not to avoid.",
        "chosen",
        "Not measured.",
    ),
] = 0.4

EXCHANGED_LEAST_ERROR: Annotated[
    float,
    Threshold(
        "nRMSE of the worst output",
        "Exchanged inputs are looked for if the outputs differ by this.",
        "chosen",
        "Rounding of int8 stays below it (docs/arm.md: 0.010).",
    ),
] = 0.05

MATCHED_ROUNDING: Annotated[
    float,
    Threshold(
        "nRMSE of the worst sample",
        "Two layers that are both closer than this agree equally well.",
        "derived",
        "Rounding of float32 in one op (docs/arm.md: 8.8e-7).",
    ),
] = 1e-6
