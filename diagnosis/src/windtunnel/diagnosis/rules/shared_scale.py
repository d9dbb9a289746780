"""Parts of a tensor that its one scale does not resolve: boxes in pixels next to scores, channels in other units.

An integer tensor has one scale. A part whose own range is a few quantization steps loses its values to rounding, while
the figures of the whole tensor hardly show it. Rounding to steps of s gives an RMSE of s / sqrt(12). As a share of the
part's own range r that exceeds the threshold of a layer (0.10) if r < 2.9 s: then the part is lost. The range of
probabilities is 1, whatever the samples reach.

Calibrating again cannot help: another part needs the range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.execution.trials import ValueSums
from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.kinds.ranges import FileScale
from windtunnel.diagnosis.findings.kinds.scales import LostPart, PartKind, SharedScale
from windtunnel.diagnosis.graph import FusedModel, Matching, Pair
from windtunnel.diagnosis.graph.constants import WEIGHTED
from windtunnel.diagnosis.rules.effect_on_outputs import Ends
from windtunnel.diagnosis.rules.mask_scale import Rest, mask_causes, masked_layers
from windtunnel.diagnosis.static.effective_weights import effective
from windtunnel.diagnosis.thresholds.confidences import PART_AT_OUTPUT, PART_INSIDE
from windtunnel.diagnosis.thresholds.scale_thresholds import (
    PART_FEWEST_STEPS,
    PART_LEAST_DIVISOR,
    PART_MOST_CHANNELS,
    PART_NEEDS_STEPS,
    PART_OTHER_UNITS,
    PART_SAMPLES,
)
from windtunnel.tflite import OpFacts, Quantization, TensorFacts
from windtunnel.tflite.op_kinds import JOINING, PICKING, PROBABILITIES, QUANTIZING, SHAPING

Observe = Callable[[Mapping[str, ValueSums], int], None]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a joint tensor of the reference: a tensor that is joined, or single channels of one.

    `channels` are its first and last place along the joint dimension. `probability`: its values are in [0, 1].
    """

    tensor: int
    name: str
    channels: tuple[int, int]
    probability: bool = False
    column: int | None = None


@dataclass
class _Seen:
    """The least and the largest value of a part that the reference reaches."""

    tensor: int
    column: int | None = None
    low: float = math.inf
    high: float = -math.inf

    def add(self, values: NDArray[np.float64]) -> None:
        part = values if self.column is None else values[..., self.column]
        finite = part[np.isfinite(part)]
        if finite.size:
            self.low, self.high = min(self.low, float(finite.min())), max(self.high, float(finite.max()))

    def state(self) -> list[float]:
        return [self.low, self.high]

    def restore(self, state: Sequence[float]) -> None:
        self.low, self.high = state


@dataclass(frozen=True, slots=True)
class Joint:
    """A quantized tensor of the candidate whose parts share a scale. `is_output`: what it holds reaches an output."""

    pair: Pair
    parts: tuple[Part, ...]
    quantization: Quantization
    is_output: bool
    kind: PartKind


@dataclass(frozen=True, slots=True)
class SharedScales:
    """Causes at outputs, at masks, and other ones inside of the model, each with the quantization that is shared."""

    outputs: tuple[tuple[Cause, Quantization], ...] = ()
    masks: tuple[tuple[Cause, Quantization], ...] = ()
    inside: tuple[tuple[Cause, Quantization], ...] = ()

    def explain(self, matching: Matching, cause: Cause) -> Cause | None:
        """The cause of a range that does not fit one tensor, if other parts need the range.

        Args:
            matching: the two models.
            cause: about the range.

        Returns:
            None if the tensor does not share its scale.
        """
        candidate = matching.candidate
        if cause.code not in _RANGES or cause.op_index is None:
            return None
        made = [candidate.facts.tensors[index].quantization for index in candidate.facts.ops[cause.op_index].outputs]
        known = (one for one, quantization in (*self.outputs, *self.masks, *self.inside) if quantization in made)
        return next(known, None)


_RANGES: Final = frozenset({CauseCode.PARAMETERS, CauseCode.CALIBRATION_WIDE, CauseCode.CALIBRATION_CLIPPED})


def shared_scales(matching: Matching, observe: Observe, ends: Ends, overflowed: Sequence[Pair] = ()) -> SharedScales:
    """Finds what a shared scale does not resolve, on the reference's values of the first samples.

    Args:
        matching: the layers to judge.
        observe: adds the reference's values to sums, as `Trials.observe`.
        ends: tries patches.
        overflowed: layers that are in no pair because the candidate cannot run them.

    Returns:
        Causes, with the quantization of their tensors.
    """
    joints = list(_joints(matching))
    masked = {
        one.pair.candidate.tensor.index: (one, Rest(one.pair.reference.tensor.index, one.size))
        for one in masked_layers(matching, overflowed)
    }
    if not joints and not masked:
        return SharedScales()
    seen = {part: _Seen(part.tensor, part.column) for joint in joints for part in joint.parts}
    parts: dict[str, ValueSums] = {f"part {part.tensor} {part.column} {part.channels}": seen[part] for part in seen}
    rests = {f"rest {index} {rest.tensor} {rest.size!r}": rest for index, (_, rest) in masked.items()}
    observe({**parts, **rests}, PART_SAMPLES)
    lost = [(joint, found) for joint in joints if (found := _lost(joint, seen))]
    causes = [(joint.is_output, (_cause(joint, found, seen), joint.quantization)) for joint, found in lost]
    return SharedScales(
        outputs=tuple(one for is_output, one in causes if is_output),
        masks=tuple(mask_causes(matching, masked, PART_FEWEST_STEPS, ends)),
        inside=tuple(one for is_output, one in causes if not is_output),
    )


def _joints(matching: Matching) -> Iterator[Joint]:
    reference, candidate = matching.reference, matching.candidate
    ends = _moved_to_outputs(candidate)
    for pair in matching.pairs:
        quantization = pair.candidate.tensor.quantization
        # A damaged file has scales of 0 or NaN, which resolve nothing.
        single = quantization is not None and len(quantization.scales) == 1 and 0.0 < quantization.scales[0] < math.inf
        if quantization is None or not single or not pair.candidate.tensor.is_quantized_integer:
            continue
        is_output = pair.candidate.tensor.index in ends
        op = reference.facts.ops[pair.reference.op_index]
        if op.name in JOINING and pair.candidate.op in JOINING:
            parts = tuple(_joined(reference, op))
            kind: PartKind = "concatenation"
        else:
            parts = tuple(_channels(reference, op, pair.reference.tensor)) if is_output else ()
            kind = "channels"
        if len(parts) > 1:
            yield Joint(pair, parts, quantization, is_output, kind)


def _moved_to_outputs(side: FusedModel) -> set[int]:
    """Tensors whose values reach an output of the model unchanged."""
    left = list(side.facts.main.output_indices)
    found = set(left)
    while left:
        maker = side.makers.get(left.pop())
        if maker is not None and maker.name in QUANTIZING | SHAPING | JOINING | PICKING:
            new = [index for index in maker.inputs if index >= 0 and index not in found]
            found.update(new)
            left += new
    return found


def _joined(side: FusedModel, op: OpFacts) -> Iterator[Part]:
    """The tensors that an op joins, but for constants."""
    tensors, at = side.facts.tensors, 0
    axis = int(op.options.get("axis", 0))
    for index in op.inputs:
        width = 1 if op.name == "PACK" else tensors[index].shape[axis]
        if index not in side.facts.main.fixed:
            yield Part(index, tensors[index].name, (at, at + width - 1), _is_probability(side, index))
        at += width


def _is_probability(side: FusedModel, tensor: int) -> bool:
    maker = side.makers.get(side.root(tensor))
    return maker is not None and maker.name in PROBABILITIES


def _channels(side: FusedModel, op: OpFacts, tensor: TensorFacts) -> Iterator[Part]:
    """The channels of an output whose gains show that they are in other units."""
    gains = _gains(side, op, tensor)
    if gains is None or len(gains) != tensor.shape[-1] or not 1 < len(gains) <= PART_MOST_CHANNELS:
        return
    largest = float(gains.max())
    for channel, own in enumerate(gains):
        # All of the largest unit are one part, which needs the range.
        if 0.0 < own * PART_OTHER_UNITS < largest or own == largest:
            yield Part(tensor.index, tensor.name, (channel, channel), column=channel)


def _gains(side: FusedModel, op: OpFacts, tensor: TensorFacts) -> NDArray[np.float64] | None:
    """How strongly each channel of an op answers: the size of its weights, or of what it is multiplied by."""
    layer = side.by_op.get(op.index)
    if layer is not None and side.facts.ops[layer.work].name in WEIGHTED:
        weights = effective(side, layer).weights
        return None if weights is None else np.sqrt(np.square(weights.values).mean(axis=1))
    if op.name in ("MUL", "DIV"):
        for index in op.inputs:
            constant = side.constants.find(index)
            values = None if constant is None else side.constants.real(constant)
            if values is not None and values.size == tensor.shape[-1] == values.shape[-1]:
                sizes = np.abs(values.reshape(-1))
                return sizes if op.name == "MUL" else 1.0 / np.maximum(sizes, PART_LEAST_DIVISOR)
    return None


def _steps(part: Part, seen: Mapping[Part, _Seen], scale: float) -> float:
    """The quantization steps in a part's own range; infinite where it is constant."""
    width = seen[part].high - seen[part].low
    return (max(width, 1.0) if part.probability else width) / scale if width > 0.0 else math.inf


def _lost(joint: Joint, seen: Mapping[Part, _Seen]) -> list[Part]:
    """The parts that the scale does not resolve, if another part needs it."""
    scale = joint.quantization.scales[0]
    fused_layers = {part: _steps(part, seen, scale) for part in joint.parts}
    known = [one for one in fused_layers.values() if math.isfinite(one)]
    if not known or max(known) < PART_NEEDS_STEPS * PART_FEWEST_STEPS:
        return []
    return [part for part in joint.parts if fused_layers[part] < PART_FEWEST_STEPS]


def _cause(joint: Joint, lost: Sequence[Part], seen: Mapping[Part, _Seen]) -> Cause:
    scale = joint.quantization.scales[0]
    parts = [
        LostPart(
            part.name,
            part.channels,
            (seen[part].low, seen[part].high),
            round(_steps(part, seen, scale), 3),
            (value := _only_value(seen[part], joint.quantization)) is not None,
            value,
        )
        for part in lost
    ]
    rest = [seen[part] for part in joint.parts if part not in lost]
    node = joint.pair.candidate
    finding = SharedScale(
        kind=joint.kind,
        lost=tuple(parts),
        scale=FileScale(scale),
        others=(min(one.low for one in rest), max(one.high for one in rest)),
        fewest_steps=round(PART_FEWEST_STEPS, 2),
        tensor=node.tensor.name,
    )
    confidence = PART_AT_OUTPUT if joint.is_output else PART_INSIDE
    return Cause(finding, confidence, node.tensor.name, node.op_index, rule="scale_does_not_resolve_part")


def _only_value(seen: _Seen, quantization: Quantization) -> float | None:
    """The one value that all values of a part are rounded to; None if there are several."""
    scale = quantization.scales[0]
    low, high = round(seen.low / scale), round(seen.high / scale)
    return low * scale if low == high else None
