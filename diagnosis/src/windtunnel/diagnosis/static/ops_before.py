"""The ops that lead to a layer from the last value that both models have, and differ between them."""

from __future__ import annotations

from dataclasses import dataclass

from windtunnel.diagnosis.findings.kinds.phrases import BothSides
from windtunnel.diagnosis.graph import FusedModel, Matching
from windtunnel.tflite import OpFacts
from windtunnel.tflite.op_kinds import QUANTIZING, SHAPING


@dataclass(frozen=True, slots=True)
class OtherOps:
    """The kinds of ops on either side, in order, and the first of the candidate's; None: it has none."""

    kinds: BothSides
    first: OpFacts | None


def other_ops_before(matching: Matching, tensor: int) -> OtherOps | None:
    """Whether a value of the candidate comes from a common one by other ops than in the reference.

    Args:
        matching: of the two models.
        tensor: index in the candidate, of a layer's output.

    Returns:
        None if the ops are of the same kinds in the same order, or no common value can be found.
    """
    same = matching.same_values()
    for reference_start, candidate_start in _starts(matching, tensor):
        candidate_ops, at = _walk(matching.candidate, candidate_start, set(same))
        if at is None:
            continue
        reference_ops, end = _walk(matching.reference, reference_start, {same[at]})
        if end is None:
            continue
        kinds = [[op.name for op in ops] for ops in (reference_ops, candidate_ops)]
        # Shapes alone may be written in many ways; values move only with a TRANSPOSE or an op that computes.
        telling = [[kind for kind in one if kind not in SHAPING - {"TRANSPOSE"}] for one in kinds]
        if telling[0] != telling[1]:
            return OtherOps(BothSides(*kinds), next(iter(candidate_ops), None))
    return None


def _starts(matching: Matching, tensor: int) -> list[tuple[int, int]]:
    """Where to begin in the reference and the candidate: a value that is only moved itself, or what a layer reads."""
    candidate, reference = matching.candidate, matching.reference
    maker = candidate.makers.get(tensor)
    if maker is None:
        return []
    if maker.name in SHAPING:
        return [(one.reference.tensor.index, tensor) for one in matching.pairs if one.candidate.tensor.index == tensor]
    twins = [twin for twin, layer in matching.fused if maker.index in layer.members]
    if not twins:
        return []
    reads = [
        [index for index in model.facts.ops[op].inputs if index >= 0 and index not in model.facts.main.fixed]
        for model, op in ((reference, twins[0].work), (candidate, candidate.by_op[maker.index].work))
    ]
    return list(zip(*reads, strict=True)) if len(reads[0]) == len(reads[1]) else []


def _walk(model: FusedModel, start: int, known: set[int]) -> tuple[list[OpFacts], int | None]:
    """The ops from a known value to this one, and that value; None if several values lead here."""
    ops, at = list[OpFacts](), start
    while at not in known:
        maker = model.makers.get(at)
        reads = [] if maker is None else [one for one in maker.inputs if one >= 0 and one not in model.facts.main.fixed]
        if maker is None or len(reads) != 1:
            return [], None
        if maker.name not in QUANTIZING:
            ops.insert(0, maker)
        at = reads[0]
    return ops, at
