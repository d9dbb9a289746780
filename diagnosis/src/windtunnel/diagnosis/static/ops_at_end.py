"""An op before an output that only one model has, such as a last SOFTMAX."""

from __future__ import annotations

from collections.abc import Iterator

from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.kinds.ops import OpAdded, OpMissing, OpOfReference
from windtunnel.diagnosis.graph import FusedLayer, FusedModel, Matching
from windtunnel.diagnosis.static.suspect import Suspect
from windtunnel.tflite.op_kinds import SHAPING
from windtunnel.tflite.paired_ends import pair_outputs

# They say the same in another shape or type.
_RESTATING = SHAPING | {"CAST"}


def suspects_at_end(matching: Matching) -> Iterator[Suspect]:
    """The first op that is missing or added before each output.

    Args:
        matching: of the two models.

    Yields:
        A suspect for each such output. It has no tensor: the errors of the layer at its place are not its own.
    """
    reference, candidate = matching.reference, matching.candidate
    if len(reference.facts.main.output_indices) != len(candidate.facts.main.output_indices):
        return
    same = matching.same_values()
    others = {wanted: index for index, wanted in same.items()}
    for wanted, output in pair_outputs(reference.facts, candidate.facts):
        end, at = reference.root(wanted.index), candidate.root(output.index)
        missing = _first_between(reference, same.get(at), end, set(others))
        added = _first_between(candidate, others.get(end), at, set(same))
        maker = candidate.makers.get(at)
        finding: CauseFinding
        if missing is not None and maker is not None:
            finding = OpMissing(missing=_named(reference, missing), at_end=True, reads=at)
            yield Suspect(finding, candidate.facts.tensors[at].name, maker.index, -1, plain=True)
        elif added is not None:
            finding = OpAdded(added=_named(candidate, added), reads=others[end])
            yield Suspect(finding, finding.added.layer, added.work, -1, plain=True)


def _named(model: FusedModel, layer: FusedLayer) -> OpOfReference:
    return OpOfReference(model.facts.ops[layer.work].name, model.facts.tensors[layer.outputs[0]].name)


def _first_between(model: FusedModel, start: int | None, end: int, known: set[int]) -> FusedLayer | None:
    """The first of the layers that lead from one tensor to another and have no counterpart in the other model."""
    found, at = None, end
    while start is not None and at != start:
        maker = model.makers.get(at)
        layer = None if maker is None else model.by_op.get(maker.index)
        if layer is None or len(layer.inputs) != 1 or at in known:
            return None
        found = found if layer.kind in _RESTATING else layer
        at = layer.inputs[0]
    return found
