"""What is wrong in an app behind its preprocessing (room `app_diagnosis`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from windtunnel.diagnosis.thresholds.threshold import Threshold

FRAMES_REPLAYED: Annotated[
    int,
    Threshold("frames", "This many frames are replayed, evenly over the recording.", "chosen", "Bounds the time."),
] = 128

FRAMES_OF_LAYERS: Annotated[
    int,
    Threshold("frames", "Layers of this many frames are compared.", "chosen", "Bounds the time."),
] = 16

DEVICE_FLOOR: Annotated[
    Mapping[str, float],
    Threshold(
        "nRMSE",
        "Another device may differ by this much, by the coarsest type that the model computes with.",
        "measured",
        "int8: XNNPACK and the builtin kernels differ naturally by up to 0.013 at outputs; float32: docs/arm.md.",
    ),
] = {"float32": 5e-4, "float16": 5e-3, "dynamic_range": 0.01, "int8": 0.02, "int16x8": 5e-3}

DEVICE_FLOOR_ACCELERATED: Annotated[
    float,
    Threshold(
        "nRMSE",
        "The same on an accelerator that computes in float16 (GPU, NPU, Core ML).",
        "derived",
        "float16 keeps 11 bits: a hundred layers of 2^-11 add up to about 0.005.",
    ),
] = 0.01

DEVICE_TIMES: Annotated[
    float,
    Threshold(
        "multiples",
        "A device differs if it is this many times farther than the kernels of this machine from each other.",
        "chosen",
        "Kernels of other processors round in other places.",
    ),
] = 4.0

BROKEN_AGREEMENT: Annotated[
    float,
    Threshold(
        "share of frames",
        "An app is broken if fewer frames have the same class as the reference; otherwise it is degraded.",
        "chosen",
        "Not measured.",
    ),
] = 0.9

BROKEN_APP_OUTPUT: Annotated[
    float,
    Threshold(
        "nRMSE",
        "The same for outputs that are not classes.",
        "chosen",
        "The threshold of layers.",
    ),
] = 0.1

HEALTHY_LOSS: Annotated[
    float,
    Threshold(
        "nRMSE",
        "If a model loses no more against its reference, and no class changes, it is not what is wrong with an app.",
        "measured",
        "Healthy int8 models lose 0.02 in the median, and less than 0.08 (ML-EXray, MLSys 2022).",
    ),
] = 0.02

DETECTION_TOLERANCE: Annotated[
    float,
    Threshold(
        "parts of the image, or of a score",
        "Detections that differ by no more are the same.",
        "chosen",
        "Apps compute boxes in float32, and round them to pixels at most.",
    ),
] = 1e-3

FRAMES_POSTPROCESSED: Annotated[
    int,
    Threshold("frames", "The detections of this many frames are made again.", "chosen", "Bounds the time."),
] = 12

FRAMES_TIMED: Annotated[
    int,
    Threshold("frames", "From as many timed frames on, outliers are reported.", "chosen", "Fewer say little."),
] = 10

SLOW_FRAME_TIMES: Annotated[
    float,
    Threshold(
        "multiples of the median",
        "A frame that takes longer is a far outlier.",
        "chosen",
        "Jitter of a phone that is not disturbed stays below three times the median.",
    ),
] = 5.0

LAYERS_TIMED: Annotated[
    int,
    Threshold(
        "frames", "Layers that were timed in as many frames are judged.", "chosen", "A median of fewer is noise."
    ),
] = 3

PROBABILITY_SUM: Annotated[
    float,
    Threshold(
        "distance from 1",
        "Outputs whose sum is closer to 1 are probabilities, and are compared as logarithms too.",
        "derived",
        "Rounding of a quantized softmax of many classes.",
    ),
] = 0.05

LEAST_PROBABILITY: Annotated[
    float,
    Threshold(
        "probability",
        "Smaller probabilities are not distinguished on a logarithmic scale.",
        "chosen",
        "Half a step of an 8-bit softmax is 0.002; float32 distinguishes far less.",
    ),
] = 1e-4

PARTLY_ALIKE: Annotated[
    float,
    Threshold(
        "share of a detection",
        "A detection with the right box, or the right score, counts this much.",
        "chosen",
        "Not measured.",
    ),
] = 0.25
