"""When the quantization range of a tensor does not fit its values (room `static`)."""

from __future__ import annotations

from typing import Annotated

from windtunnel.diagnosis.thresholds.threshold import Threshold

RANGE_SHORT: Annotated[
    float,
    Threshold(
        "share of the span of the values",
        "A range that misses the values by more than this may clip them.",
        "chosen",
        "A calibration set is never the samples; a moving average clips what few of them reach. The fault "
        "matrix (docs/diagnosis.md) passes with it.",
    ),
] = 0.15

RANGE_WIDE: Annotated[
    float,
    Threshold(
        "width of a range / width of the values",
        "A range above this is too wide, whatever the other ranges are.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 2.6

RANGE_NARROW: Annotated[
    float,
    Threshold(
        "width of a range / width of the values, relative to the usual one of the model",
        "A range below this may clip values.",
        "chosen",
        "litert-quantizer's moving average alone gives 0.43 to 0.6 (docs/diagnosis-by-others.md); the other "
        "ranges of the model decide.",
    ),
] = 0.65

RANGE_SURELY_NARROW: Annotated[
    float,
    Threshold(
        "width of a range / width of the values",
        "A range below this clips values, whatever the other ranges are.",
        "measured",
        "docs/diagnosis-by-others.md: without a fault, 0.43 was observed.",
    ),
] = 0.4

RANGES_ALL_NARROW: Annotated[
    float,
    Threshold(
        "width of the usual range / width of its values",
        "If the usual range of a model is below this, the calibration clipped.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 0.6

RANGE_APART: Annotated[
    float,
    Threshold(
        "width of a range / of the usual one",
        "A range that is wider than the others by this may be too wide.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 1.7

SHIFTED_FROM_ZERO: Annotated[
    float,
    Threshold(
        "quantization steps",
        "A range that starts at 0 is shifted from this on.",
        "chosen",
        "Chance does not explain it. The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 6.0

SHIFTED: Annotated[
    float,
    Threshold(
        "quantization steps",
        "Another range is shifted from this on.",
        "chosen",
        "Chance does not explain it. The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 26.0

SHIFTED_COSTLY: Annotated[
    float,
    Threshold(
        "quantization steps",
        "The same for a range whose clipping is costly.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 8.0

RARE_ONE_IN: Annotated[
    int,
    Threshold(
        "ranges",
        "A deviation that one in this many ranges of a model has is not rare.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 20

OUTLIER_TIMES: Annotated[
    float,
    Threshold(
        "deviation of a range / of the rare ones",
        "A fault deviates by this much more.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 1.3

RANGE_DRIFT: Annotated[
    float,
    Threshold(
        "share of the range",
        "A range may miss its values by this without a fault.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 0.15

SHIFT_SLACKS: Annotated[
    float,
    Threshold(
        "multiples of the middle miss of the model's ranges",
        "A shift beyond this is not chance.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 4.0

CLIPPING_COSTLY: Annotated[
    float,
    Threshold(
        "clipping error / rounding error",
        "Clipping above this is costly, even if few values are clipped.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 5.0

JOINED_ENDS: Annotated[
    float,
    Threshold(
        "share of the width",
        "Ends of ranges that were joined are closer than this.",
        "chosen",
        "One to two steps of int8.",
    ),
] = 0.006

JOINED_CALIBRATED: Annotated[
    float,
    Threshold(
        "end of a range / end of the values",
        "An end within this comes from the tensor's calibration and was not joined.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 1.6

RANGE_BEYOND: Annotated[
    float,
    Threshold(
        "width of a range / width of the values",
        "No calibration set of the same kind has values that are so much larger.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 5.0

RANGE_TRACE: Annotated[
    int,
    Threshold(
        "layers",
        "A wide range is explained by another one at most this many layers away.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 6

RANGE_AS_WIDE: Annotated[
    float,
    Threshold(
        "width of the other range / width of the range",
        "Another range counts as equally wide from this ratio on.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 0.8

RANGE_STRETCHED: Annotated[
    float,
    Threshold(
        "end of a range / end of the values",
        "If both ends are beyond this, the scale is wrong.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 1.4

CLIP_COST: Annotated[
    float,
    Threshold(
        "clipping error / rounding error",
        "Clipping above this harms.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 2.5

FINEST_SCALE: Annotated[
    float,
    Threshold(
        "fitted scale / scale of the file",
        "A scale is not fitted finer than this.",
        "chosen",
        "Keeps the fit of a tensor without values away from 0.",
    ),
] = 2.0**-10

RANGES_OFF_SHARE: Annotated[
    float,
    Threshold(
        "share of a model's ranges",
        "If more are off, the calibration is the cause and not a range.",
        "chosen",
        "The fault matrix (docs/diagnosis.md) passes with it.",
    ),
] = 0.34

RANGE_NARROW_TOO: Annotated[
    float,
    Threshold(
        "width of a range / width of the values",
        "If the usual range of the model is narrow (RANGES_ALL_NARROW), one below this is clipped too.",
        "chosen",
        "Not measured.",
    ),
] = 0.7

STRETCHED_LEAST: Annotated[
    float,
    Threshold(
        "share of the width of the values",
        "A range is stretched on both sides only if the values reach this far to either side of 0.",
        "chosen",
        "Not measured.",
    ),
] = 0.1

LEAST_ROUNDING: Annotated[
    float,
    Threshold(
        "share of the rounding error of a uniform distribution",
        "What clipping costs is compared with at least this much rounding.",
        "chosen",
        "Values on few quantization steps round less than others.",
    ),
] = 0.5
