"""One finding of each kind, with figures as they occur."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.kinds import (
    apps,
    constants,
    kernels,
    latency,
    layers,
    model_ends,
    non_finite,
    ops,
    postprocessing,
    preprocessing,
    ranges,
    scales,
)
from windtunnel.diagnosis.findings.kinds.phrases import BothSides

_F = TypeVar("_F", bound=CauseFinding)
_CONSTANT: Final[Mapping[str, Any]] = {
    "constant": "w",
    "role": "weights",
    "pattern": "scaled",
    "channels": (3,),
    "values_beyond_precision": 5,
    "values": 9,
    "relative_difference": 0.21,
    "factors": (0.5,),
}
_FED: Final[Mapping[str, Any]] = {
    "app": "one thing",
    "pipeline": "another thing",
    "proof": preprocessing.Proof(0.4, 0.2, 0.001, 8),
    "how": "do the other thing",
}
_DETECTED: Final[Mapping[str, Any]] = {
    "app": "one thing",
    "pipeline": "another thing",
    "without": 0.5,
    "explained": 0.01,
    "frames": 8,
}
_RANGE: Final[Mapping[str, Any]] = {
    "tensors": ("conv",),
    "held": (0.0, 1.5),
    "seen": (0.0, 6.0),
    "held_to_seen": 0.25,
    "values_outside": 0.125,
    "scale": ranges.FileAndFitting(0.00588, 0.0235),
    "zero_point": ranges.ZeroPoints(-128, -127),
    "tensor": "conv",
}
_CLIPPED, _WIDE = ranges.RangeClipped(**_RANGE), ranges.RangeTooWide(**_RANGE, doubtful=False, behind_float=False)
_MANY: Final[Mapping[str, Any]] = {"ranges_off": 12, "ranges": 65, "median_held_to_seen": 0.25}
_BAD = non_finite.NonFiniteValues(3, "EXP")
_SETS: Final[Mapping[str, Any]] = {"diverging": ("arm:cortex-a53",), "agree": ("none", "xnnpack")}
_SPENT: Final[Mapping[str, Any]] = {"excess_ms": 3.0, "share": 0.4, "macs": 1000, "bytes": 2000}

FINDINGS: Final[tuple[CauseFinding, ...]] = (
    constants.WeightsDiffer(**_CONSTANT),
    constants.ConstantScaleDiffers(**_CONSTANT, factor=0.5, largest_difference_steps=39.27),
    constants.InputScaleDiffers(**_CONSTANT, factor=0.5, tensor="x", scale=constants.InputScale(0.5, 2.0)),
    constants.OneBitDiffers(constant="w", role="weights", bit=30, at=7, reference=0.5, candidate=1e38),
    constants.WeightsNonFinite(constant="w", role="weights", non_finite=constants.ValueCount(3), too_large=True),
    constants.WeightScaleNonFinite(constant="w", role="weights", non_finite=constants.ValueCount(3)),
    ops.OpDiffers(op=BothSides("ADD", "MUL"), converted="ADD"),
    ops.ActivationDiffers(activation=BothSides("RELU6", "RELU"), bound=BothSides(6.0, 3.0), converted="CONV_2D"),
    ops.AttributeDiffers(attribute="stride_w", reference=1, candidate=2, converted="CONV_2D"),
    ops.InputsDiffer(inputs=BothSides(["a", "b"], ["b", "a"]), converted="SUB"),
    ops.OpAdded(added=ops.OpOfReference("SOFTMAX", "likely")),
    ops.OpMissing(missing=ops.OpOfReference("RELU", "relu_2")),
    _CLIPPED,
    _WIDE,
    ranges.ZeroPointShifted(**_RANGE, shift_steps=12, doubtful=True, starts_at_0=True),
    ranges.CalibrationClipped(**_MANY, first=_CLIPPED),
    ranges.CalibrationTooWide(**_MANY, first=_WIDE),
    ranges.ScaleInvalid(tensors=("conv",), scale=ranges.FileScale(0.0)),
    scales.PerTensorTooCoarse(
        constant="w",
        channels=16,
        largest_to_median_channel=41.0,
        median_bits_lost=5.36,
        worst_channel_relative_error=0.2,
    ),
    scales.SharedScale(
        kind="channels",
        lost=(scales.LostPart("head", (2, 2), (-1.0, 1.0), 1.5, constant=False, value=None),),
        scale=ranges.FileScale(0.1),
        others=(0.0, 640.0),
        fewest_steps=2.89,
        tensor="head",
    ),
    scales.MaskScale(
        mask=scales.MaskConstant("low", 1e9), rest=(-5.0, 5.0), steps=0.0, scale=ranges.FileScale(7e6), smaller=30.0
    ),
    model_ends.OutputsExchanged(
        kind="order",
        outputs=(model_ends.MovedOutput("a", "b", model_ends.OutputPlaces(0, 1), nrmse=0.01, nrmse_as_called=0.7),),
    ),
    model_ends.InputsExchanged(exchanged=("left", "right")),
    layers.LayerDiverges(local_nrmse=0.4, op="CONV_2D"),
    layers.RangeUnexplained(
        local_nrmse=0.4, seen=(0.0, 6.0), values_outside=0.1, kind="clipped", held=(0.0, 1.5), tensor="conv"
    ),
    layers.RoundingAccumulated(largest_own_errors=(layers.LayerError("conv", 0.02),), root_sum_of_squares=0.05),
    non_finite.NonFiniteByScale(non_finite=_BAD, tensor="conv"),
    non_finite.NonFiniteByOp(non_finite=_BAD, reference_op="EXP with NONE", candidate_op="LOG with NONE"),
    non_finite.NonFiniteByConstant(non_finite=_BAD, constant="w"),
    non_finite.NonFiniteByLostConstant(non_finite=_BAD, constant="epsilon", reference=1e-12, stored_as="float16"),
    non_finite.NonFiniteByRounding(non_finite=_BAD, tensor="conv", why="what is rounded to 0 there has no finite LOG"),
    non_finite.NonFiniteByKernel(non_finite=_BAD),
    kernels.KernelDiffers(
        local_nrmse=0.4, local_nrmse_on_other_kernels=1e-6, kernels="xnnpack", other_kernels="none", op="CONV_2D"
    ),
    kernels.KernelSetsDiverge(
        **_SETS,
        op="CONV_2D",
        ops=(3, 5),
        in_whole_model_only=False,
        limit=kernels.RoundingLimit(1.0, "steps", "rounded in fixed point"),
        max_abs=40.0,
        of_range=0.2,
        nrmse=0.1,
        share=0.5,
        sides_equal=False,
    ),
    kernels.KernelCrash(**_SETS, crash="SIGSEGV", said="segmentation fault", op="CONV_2D", tries=3),
    kernels.FusionDiverges(diverging=("xnnpack",), agree=(), nrmse=0.3),
    kernels.OutputNonFinite(output="y", kernel="gpu", non_finite=3, values=10),
    kernels.OutputAllZero(output="y", kernel="gpu", cpu_max_abs=2.0),
    kernels.AcceleratorDidNotRun(
        accelerator="gpu", promised="float16", bit_equal_values=100, values_that_would_differ=90, samples=4
    ),
    latency.LatencyStraggler(
        **_SPENT,
        measured_ms=4.0,
        expected_ms=1.0,
        times_slower=4.0,
        limit_times=3.0,
        peers=latency.Peers("kind", "CONV_2D", (1, 2)),
        kernels=("conv",),
        reason="dilation has no fast kernel",
        advice="use an undilated convolution",
        op="CONV_2D",
        op_index=3,
    ),
    latency.WideOpsSlow(
        **_SPENT, ops=(1, 2), measured_ms=3.0, reason="16 bit has no fast kernel", advice="use int8", op="CONV_2D"
    ),
    latency.DelegateFallback(
        **_SPENT,
        ops=(1, 2),
        kinds=("GATHER",),
        measured_ms=3.0,
        reasons=("not supported",),
        delegate=latency.DelegateCoverage("gpu", "partial", 40, 65, 3),
        slower_than_expected=(latency.SlowOp(1, 2.0, 0.5),),
        advice="replace these ops",
    ),
    preprocessing.ChannelOrderFinding(**_FED, order=(2, 1, 0)),
    preprocessing.LayoutFinding(**_FED),
    preprocessing.ResizeFinding(**_FED, method="nearest"),
    preprocessing.CropFinding(**_FED, framing="center"),
    preprocessing.ValueRangeFinding(**_FED, scale=(2.0,), offset=(-1.0, -1.0, -0.9)),
    preprocessing.OrientationFinding(**_FED, turned=3, of_frames=8),
    preprocessing.DtypeFinding(**_FED, rounding="pixels_down"),
    preprocessing.ColorFinding(**_FED, change="gamma 0.455"),
    preprocessing.SpectrogramFinding(**_FED, step="log"),
    preprocessing.ResamplingFinding(**_FED, step="resample"),
    preprocessing.TextFinding(**_FED, step="lowercase"),
    postprocessing.DecodeFinding(**_DETECTED, step="scales"),
    postprocessing.ThresholdFinding(**_DETECTED, step="threshold"),
    postprocessing.SuppressionFinding(**_DETECTED, step="iou"),
    postprocessing.DetectionLabelsFinding(**_DETECTED, step="labels"),
    apps.DeviceKernelDiffers(tensor="conv", nrmse=0.3, limit=0.02, frames=8, op="CONV_2D"),
    apps.LabelsMoved(mapping={"0": 1, "1": 2}, shift=1, accuracy=0.1, accuracy_renumbered=0.9, how="subtract 1"),
)


def sample_of(code: str) -> CauseFinding:
    """A finding with that code."""
    return next(one for one in FINDINGS if one.code == code)


def kind_of(kind: type[_F]) -> _F:
    """The finding of that kind."""
    return next(one for one in FINDINGS if isinstance(one, kind))
