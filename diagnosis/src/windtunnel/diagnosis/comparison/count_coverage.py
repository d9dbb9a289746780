"""How many of a candidate's layers were compared, counted against the model's own list of layers."""

from __future__ import annotations

from collections.abc import Sequence

from windtunnel.diagnosis.findings.coverage import Coverage, Unmatched
from windtunnel.diagnosis.graph import Matching

LOST = "the comparison lost it, which is a fault of Windtunnel: report it with both models"


def coverage_of(matching: Matching, inside: Sequence[Unmatched]) -> Coverage:
    """Counts what a matching covers.

    The total comes from the candidate's graph, not from the matching: a layer that is in no pair and not among the
    unmatched layers is named with the reason `LOST`.

    Args:
        matching: the two models; its pairs are the layers that were compared.
        inside: the layers of subgraphs, which the main graph does not list; they are among the unmatched ones.

    Returns:
        The coverage of the candidate.
    """
    paired = {pair.candidate.tensor.index for pair in matching.pairs}
    named = {(one.op_index, one.name) for one in matching.unmatched}
    lost = [
        Unmatched(tensor.name, matching.candidate.facts.ops[op].name, op, LOST)
        for index, (op, tensor) in matching.candidate.layers.items()
        if index not in paired and (op, tensor.name) not in named
    ]
    listed = {(op, tensor.name) for op, tensor in matching.candidate.layers.values()}
    # Text is not a layer of numbers, so it is not in the list; it is named as unmatched and counts.
    unlisted = [one for one in matching.unmatched if one not in inside and (one.op_index, one.name) not in listed]
    return Coverage(
        compared=len(matching.pairs),
        total=len(matching.candidate.layers) + len(inside) + len(unlisted),
        unmatched=tuple(sorted((*matching.unmatched, *lost), key=lambda one: one.op_index)),
        unmatched_reference=matching.unmatched_reference,
    )
