"""Which matching of two models explains more with less: layers matched by their weights, or by their names.

Weights say more than names, until those of two layers are exchanged: then all that surrounds them seems to be.
"""

from __future__ import annotations

from collections.abc import Hashable

from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.kinds.constants import ConstantFinding
from windtunnel.diagnosis.graph import FusedLayer, FusedModel, Matching, match_layers
from windtunnel.diagnosis.graph.constants import WEIGHTED
from windtunnel.diagnosis.graph.match_layers import normalized
from windtunnel.diagnosis.static.compare_files import compare_files
from windtunnel.diagnosis.static.suspect import Suspect


def simplest(matching: Matching) -> Matching:
    """The given matching, or the one by names.

    The one by names is taken if names are crossed, and the weights of as few layers explain everything. Names that are
    only shifted, as those of a network that was built once more, would have many layers wrong.

    Args:
        matching: by weights and structure.

    Returns:
        One of the two.
    """
    reference, candidate = matching.reference, matching.candidate
    if _crossed(matching) < 2:
        return matching
    suspects = _suspects(matching)
    if not any(one.code == CauseCode.CONVERSION_OP for one in suspects):
        return matching
    named = match_layers(reference.facts, candidate.facts, names_first=True)
    others = _suspects(named)
    exchanged = all(_is_of_weights(one) for one in others)
    fewer = len({one.tensor for one in others}) <= max(2, len({one.tensor for one in suspects}))
    return named if exchanged and fewer and len(named.pairs) >= len(matching.pairs) else matching


def _is_of_weights(suspect: Suspect) -> bool:
    """Whether it is about the weights or the bias of a layer."""
    return isinstance(suspect.finding, ConstantFinding) and suspect.finding.role != "operand"


def _crossed(matching: Matching) -> int:
    """How many layers with weights have the name of another one of the reference."""
    reference, candidate = matching.reference, matching.candidate
    fused_layers = [
        (reference_layer, candidate_layer)
        for reference_layer, candidate_layer in matching.fused
        if candidate.facts.ops[candidate_layer.work].name in WEIGHTED
    ]
    names = {
        name: reference_layer.order
        for reference_layer, _ in fused_layers
        for name in _names(reference, reference_layer)
    }
    return sum(
        any(
            names.get(name, reference_layer.order) != reference_layer.order
            for name in _names(candidate, candidate_layer)
        )
        for reference_layer, candidate_layer in fused_layers
    )


def _names(side: FusedModel, layer: FusedLayer) -> set[Hashable]:
    """The names of what the op of a step computes, and of what the step ends in."""
    tensors = side.facts.ops[layer.work].outputs[0], *layer.outputs
    return {normalized(side.facts.tensors[index].name) for index in tensors}


def _suspects(matching: Matching) -> tuple[Suspect, ...]:
    """What the files show, but for ranges: these need samples."""
    return compare_files(matching, [], {}, frozenset(), typical=False).suspects
