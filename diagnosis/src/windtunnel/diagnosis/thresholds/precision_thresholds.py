"""What the precision of two models explains. Keys: the coarser precision of the two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from windtunnel.diagnosis.thresholds.threshold import Threshold

PRECISION_FLOOR: Annotated[
    Mapping[str, float],
    Threshold(
        "nRMSE of one layer, isolated",
        "An isolated error below it is what the precision causes anyway.",
        "chosen",
        "Above what single ops show without a fault: float32 8.8e-7 of the range (docs/arm.md), int8 one quantization "
        "step, which is 1/255 = 0.0039 of the range. float16 is not measured.",
    ),
] = {"float32": 1e-4, "float16": 2e-3, "integer": 4e-3}

UNEXPLAINED_ERROR: Annotated[
    Mapping[str, float],
    Threshold(
        "nRMSE of one layer, isolated",
        "A layer that diverges more than this on equal inputs needs a cause, even if the files show no difference.",
        "chosen",
        "For integers the layer threshold of 0.10, which separates healthy int8 layers (below 0.08) from a broken "
        "kernel (0.5) in ML-EXray (MLSys 2022). The values for float keep the fault matrix without a false alarm "
        "(docs/diagnosis.md).",
    ),
] = {"float32": 1e-3, "float16": 3e-2, "integer": 0.1}

UNEXPLAINED_SHARE_OPS_MISSING: Annotated[
    float,
    Threshold(
        "share of UNEXPLAINED_ERROR",
        "If the candidate lacks ops of the reference, a layer needs a cause from this share on.",
        "chosen",
        "A missing op is a reason to suspect its neighbors; set after 20 of 23 ops that were removed from quantized "
        "candidates had been missed (docs/diagnosis-by-others.md, first set).",
    ),
] = 0.5

QUIET_OUTPUT: Annotated[
    Mapping[str, float],
    Threshold(
        "nRMSE of the worst output",
        "Outputs that are closer than this are equal for a model of that precision.",
        "chosen",
        "For comparison: int8 kernels without a fault differ by 0.010 at the outputs of MobileNetV2 (docs/arm.md).",
    ),
] = {"float32": 1e-3, "float16": 1e-2, "integer": 0.02}

OUTPUT_NOISE: Annotated[
    Mapping[str, float],
    Threshold(
        "nRMSE of an output without a fix / with it",
        "A ratio up to this is noise: the fix of a harmless difference rounds again, which moves outputs a little.",
        "chosen",
        "Keeps the clean pairs of the fault matrix healthy (docs/diagnosis.md).",
    ),
] = {"float32": 1.01, "float16": 1.03, "integer": 1.06}

KERNEL_ERROR: Annotated[
    Mapping[str, float],
    Threshold(
        "nRMSE of one layer, isolated",
        "A layer with a smaller error on the kernels used is not attributed to a kernel.",
        "measured",
        "docs/arm.md: without a fault, one op differs between kernels by at most 8.8e-7 (float32), one quantization "
        "step (int8, 0.0039 of the range) and 0.010 (dynamic range).",
    ),
] = {"float32": 1e-3, "float16": 5e-3, "integer": 0.02}

KERNEL_TIMES: Annotated[
    float,
    Threshold(
        "isolated error on the kernels used / on the others",
        "A kernel is at fault if its error is more than this many times that of the other kernels.",
        "measured",
        "docs/arm.md: the one faulty kernel found (XNNPACK hybrid 1x1 convolutions on qemu's cpu max) is off by the "
        "whole range, 100 times the largest difference without a fault.",
    ),
] = 5.0
