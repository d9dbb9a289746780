"""Which account of two models is the simpler one: layers told apart by their weights, or by their names.

Weights say more than names, until those of two layers are exchanged: then all that surrounds them seems to be.
"""

from __future__ import annotations

from collections.abc import Hashable

from windtunnel.diagnosis.graph import Matching, Step, Steps, match_layers
from windtunnel.diagnosis.graph.constants import WEIGHTED
from windtunnel.diagnosis.graph.layer_matching import normalised
from windtunnel.diagnosis.static.compare_files import compare_files
from windtunnel.diagnosis.static.suspect import Suspect

_CONSTANTS = frozenset({"weights", "bias"})


def simplest(matching: Matching) -> Matching:
    """The matching, or the one by names: where these are crossed, and the weights of as few layers account for it all.

    Names that are only shifted, as those of a network that was built once more, would have many layers wrong.
    """
    ours, theirs = matching.ours, matching.theirs
    assert ours is not None and theirs is not None
    if _crossed(matching) < 2:
        return matching
    suspects = _suspects(matching)
    if not any(one.code == "conversion.op" for one in suspects):
        return matching
    named = match_layers(ours.facts, theirs.facts, names_first=True)
    others = _suspects(named)
    exchanged = all(one.evidence.get("role") in _CONSTANTS for one in others)
    fewer = len({one.tensor for one in others}) <= max(2, len({one.tensor for one in suspects}))
    return named if exchanged and fewer and len(named.pairs) >= len(matching.pairs) else matching


def _crossed(matching: Matching) -> int:
    """How many layers with weights have the name of another one of the reference."""
    ours, theirs = matching.ours, matching.theirs
    assert ours is not None and theirs is not None
    steps = [(own, mine) for own, mine in matching.steps if theirs.facts.ops[mine.work].name in WEIGHTED]
    names = {name: own.order for own, _ in steps for name in _names(ours, own)}
    return sum(any(names.get(name, own.order) != own.order for name in _names(theirs, mine)) for own, mine in steps)


def _names(side: Steps, step: Step) -> set[Hashable]:
    """The names of what the op of a step computes, and of what the step ends in."""
    tensors = side.facts.ops[step.work].outputs[0], *step.outputs
    return {normalised(side.facts.tensors[index].name) for index in tensors}


def _suspects(matching: Matching) -> tuple[Suspect, ...]:
    """What the files show, but for ranges: these need samples."""
    return compare_files(matching, [], {}, frozenset(), typical=False).suspects
