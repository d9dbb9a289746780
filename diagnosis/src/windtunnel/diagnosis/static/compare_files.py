"""All suspects of two matched models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.kinds.constants import (
    ConstantDiffers,
    ConstantFinding,
    ConstantScaleDiffers,
    InputScale,
    InputScaleDiffers,
    WeightsDiffer,
    of_kind,
)
from windtunnel.diagnosis.graph import FusedLayer, FusedModel, Matching
from windtunnel.diagnosis.numerics.isolated_sums import Local
from windtunnel.diagnosis.static.op_differences import OpComparer
from windtunnel.diagnosis.static.ops_at_end import suspects_at_end
from windtunnel.diagnosis.static.patches import input_place, put_activation
from windtunnel.diagnosis.static.per_tensor_scales import per_tensor_suspects
from windtunnel.diagnosis.static.quantization_ranges import ParameterReport, compare_parameters, range_ratios
from windtunnel.diagnosis.static.suspect import Suspect
from windtunnel.diagnosis.static.weight_differences import ConstantComparer, ConstantReport
from windtunnel.diagnosis.thresholds.static_thresholds import SAME_SCALE
from windtunnel.tflite import Quantization


@dataclass(frozen=True, slots=True)
class StaticReport:
    """What the files say: suspects, and what was compared and is the same."""

    suspects: tuple[Suspect, ...]
    constants: ConstantReport
    ops: int
    parameters: ParameterReport
    per_tensor: int


def compare_files(
    matching: Matching,
    inputs: Sequence[int],
    local: Mapping[int, Local],
    reordered: frozenset[int],
    *,
    typical: bool = True,
    graph: int = 0,
) -> StaticReport:
    """Compares ops, constants and quantization of all matched layers.

    Args:
        matching: of the two models, or of two graphs in them.
        inputs: tensor indices of the candidate's inputs.
        local: isolated errors and observed ranges, by the candidate's tensor index.
        reordered: tensors of the candidate whose dimensions are in another order.
        typical: whether the samples are; calibrated ranges are not judged on random inputs, which reach other values.
        graph: index of the reference's graph.

    Returns:
        Suspects, and what was compared.
    """
    reference, candidate = matching.reference, matching.candidate
    seen = {index: (one.low, one.high) for index, one in local.items() if one.low <= one.high}
    constants = ConstantComparer(reference, candidate)
    ops = OpComparer(reference, candidate, reordered, seen, matching.same_values(), graph)
    suspects: list[Suspect] = []
    numbers: list[Suspect] = []
    for reference_layer, candidate_layer in matching.fused:
        suspects += ops.compare(
            reference_layer, candidate_layer, up_to_activation=candidate_layer.order in matching.written_out
        )
        numbers += _traced(candidate, candidate_layer, constants.compare(reference_layer, candidate_layer), local)
    # Inside a loop the last ops are the outputs of the graph, not of the model.
    suspects += [] if graph else list(suspects_at_end(matching))
    report = constants.report(numbers)
    per_tensor = per_tensor_suspects(matching)
    seen_values = local if typical else {}
    parameters = compare_parameters(candidate, inputs, seen_values)
    suspects += [*report.suspects, *per_tensor, *parameters.suspects]
    suspects = [_seen_at_end(candidate, one, local) for one in suspects]
    return StaticReport(tuple(suspects), report, ops.compared, parameters, len(per_tensor))


def _seen_at_end(candidate: FusedModel, suspect: Suspect, local: Mapping[int, Local]) -> Suspect:
    """The suspect with the end of its step as its tensor, where only that has figures: ops that cut values off."""
    layer = None if suspect.op_index is None else candidate.by_op.get(suspect.op_index)
    if layer is None or not layer.clips or suspect.tensor in local or layer.outputs[0] not in local:
        return suspect
    return replace(suspect, tensor=layer.outputs[0])


def _traced(
    candidate: FusedModel, candidate_layer: FusedLayer, found: list[Suspect], local: Mapping[int, Local]
) -> list[Suspect]:
    """Constants' suspects of one fused layer, each fault once and at its root.

    A bias that is off by one factor throughout comes from a wrong scale of the layer's input. A bias that is off by
    the factors of the weights comes from the weights' scales. If every channel of the weights has a factor of its own
    and the bias is off as well, they were so before quantization: a wrong normalization was folded into both.
    """
    by_role = {one.finding.role: one for one in found if isinstance(one.finding, ConstantFinding)}
    bias, weights = by_role.get("bias"), by_role.get("weights")
    if bias is None:
        return found
    if weights is not None:
        found = [_folded(one) if one is weights else one for one in found]
    difference = bias.finding
    if not isinstance(difference, ConstantDiffers) or difference.pattern != "scaled":
        return found
    if weights is not None and weights.code == CauseCode.PARAMETERS:
        return [one for one in found if one is not bias]
    factor = difference.factor or 0.0
    if weights is None and factor > 0.0:
        root = _input_scale(candidate, candidate_layer, bias, difference, factor, local)
        return [root if one is bias and root is not None else one for one in found]
    return found


def _folded(weights: Suspect) -> Suspect:
    """Weights that a wrong normalization was folded into, if channels have factors of their own."""
    finding = weights.finding
    if not isinstance(finding, ConstantScaleDiffers) or finding.factor is not None or finding.pattern != "scaled":
        return weights
    return replace(weights, finding=of_kind(WeightsDiffer, finding))


def _input_scale(
    candidate: FusedModel,
    candidate_layer: FusedLayer,
    bias: Suspect,
    difference: ConstantDiffers,
    factor: float,
    local: Mapping[int, Local],
) -> Suspect | None:
    """The layer's input tensor as the suspect: its scale is off by `factor`, and the bias with it.

    None where the tensor's range fits the reference's values rather than `factor` times those: then it is the bias.
    """
    op = candidate.facts.ops[candidate_layer.work]
    source = candidate.facts.tensors[op.inputs[input_place(op)]]
    if source.quantization is None or math.isclose(factor, 1.0, rel_tol=SAME_SCALE):
        return None
    ratio = range_ratios(candidate, local).get(source.index, math.nan)
    if ratio > 0.0 and abs(math.log(ratio)) < abs(math.log(ratio / factor)):
        return None
    maker = candidate.makers.get(source.index)
    bound = frozenset(
        tensor.index
        for tensor in candidate.facts.tensors
        if tensor.quantization == source.quantization and tensor.index not in candidate.facts.main.fixed
    )
    fitted = Quantization((source.quantization.scales[0] / factor,), source.quantization.zero_points)
    first = min((index for index in bound if index in candidate.makers), default=source.index)
    place = candidate.makers.get(first) or maker
    name = candidate.facts.tensors[first].name
    scale = InputScale(source.quantization.scales[0], factor)
    return replace(
        bias,
        finding=of_kind(InputScaleDiffers, difference, tensor=name, scale=scale),
        layer=name,
        op_index=None if place is None else place.index,
        tensor=first,
        patch=put_activation(candidate, bound, fitted),
        tensors=bound,
        reads=-1,
    )
