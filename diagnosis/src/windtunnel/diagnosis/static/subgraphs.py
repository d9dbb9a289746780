"""Graphs in addition to the main one: bodies of control flow, and those of further signatures.

They are not run separately. They are compared in the files as the main graph is. A difference in a body is put to the
test at the op that runs the body.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from windtunnel.diagnosis.findings.coverage import Unmatched
from windtunnel.diagnosis.findings.trial import SubgraphPlace
from windtunnel.diagnosis.graph import FusedModel, Matching, match_layers
from windtunnel.diagnosis.numerics.isolated_sums import Local
from windtunnel.diagnosis.static.compare_files import compare_files
from windtunnel.diagnosis.static.suspect import Patch, Suspect
from windtunnel.errors import InvalidInput
from windtunnel.tflite import ModelFacts, OpFacts, TensorFacts, layer_tensors
from windtunnel.tflite.edit import Editor
from windtunnel.tflite.facts import CALLS


@dataclass(frozen=True, slots=True)
class NestedGraph:
    """One nested graph in both models, by its numbers; `matching` is None where the two take other inputs.

    `holder` is the op of the candidate's main graph that runs it, None for a graph that only a signature runs.
    `handed` are its inputs that are constants of the graph around it.
    """

    graph: int
    reference_graph: int
    title: str
    holder: OpFacts | None
    facts: ModelFacts
    matching: Matching | None
    handed: frozenset[int] = frozenset()


def nested_graphs(matching: Matching) -> tuple[NestedGraph, ...]:
    """All nested graphs that have a counterpart.

    Args:
        matching: of the main graphs.

    Returns:
        Each once, in the order in which they are met.
    """
    found: dict[int, NestedGraph] = {}
    _called(matching, None, found)
    reference, candidate = matching.reference.facts, matching.candidate.facts
    keys = {one.key: one.graph for one in reference.signatures}
    for signature in candidate.signatures:
        if signature.graph not in (0, *found) and keys.get(signature.key, 0):
            title = f"the signature {signature.key!r}, which was not run"
            pair = (
                _SeparateModel(matching.reference, keys[signature.key]),
                _SeparateModel(matching.candidate, signature.graph),
            )
            _add(found, pair, title, None)
    return tuple(found.values())


def nested_suspects(
    graphs: tuple[NestedGraph, ...], main: ModelFacts, local: Mapping[int, Local]
) -> tuple[Suspect, ...]:
    """What the files show in nested graphs.

    Args:
        graphs: from `nested_graphs`.
        main: facts of the candidate.
        local: isolated errors in its main graph, by tensor index.

    Returns:
        Suspects, at the ops of the main graph that run the nested ones.
    """
    found = []
    for nested in graphs:
        if nested.matching is not None:
            report = compare_files(nested.matching, [], {}, frozenset(), typical=False, graph=nested.reference_graph)
            kept = [one for one in report.suspects if one.code.is_conversion]
            # What is handed in is in another graph than the one that a patch would change.
            kept = [replace(one, patch=None) if one.tensors & nested.handed else one for one in kept]
            found += [_placed(one, nested, main, local) for one in kept]
    return tuple(found)


def nested_layers(graphs: tuple[NestedGraph, ...]) -> tuple[Unmatched, ...]:
    """The layers of nested graphs, none of which has figures of its own.

    Args:
        graphs: from `nested_graphs`.

    Returns:
        Unmatched, with that reason.
    """
    return tuple(_layers(graphs))


def _called(matching: Matching, holder: OpFacts | None, found: dict[int, NestedGraph]) -> None:
    reference, candidate = matching.reference.facts, matching.candidate.facts
    for reference_layer, candidate_layer in matching.fused:
        first, second = reference.ops[reference_layer.work], candidate.ops[candidate_layer.work]
        for name in CALLS:
            a, b = first.options.get(name, 0), second.options.get(name, 0)
            if 0 < a < len(reference.graphs) and 0 < b < len(candidate.graphs) and b not in found:
                pair = _SeparateModel(matching.reference, a, first), _SeparateModel(matching.candidate, b, second)
                _add(found, pair, f"{name.split('_')[0]} graph of {_name(candidate, second)}", holder or second)


def _add(
    found: dict[int, NestedGraph], pair: tuple[_SeparateModel, _SeparateModel], title: str, holder: OpFacts | None
) -> None:
    one, other = pair
    try:
        matching = match_layers(one.facts, other.facts)
    except InvalidInput:
        matching = None
    found[other.graph] = NestedGraph(
        other.graph, one.graph, title, holder, other.facts, matching, frozenset(other.handed)
    )
    if matching is not None:
        _called(matching, holder, found)


class _SeparateModel:
    """A nested graph as the main one of its model: `facts`.

    Constants that the op around it hands in are its own: converters write float16 weights of a loop so. `handed` has
    them by the graph's tensor.

    Args:
        around: the model that has the graph.
        graph: its index.
        holder: the op that runs it; None: a signature does.
    """

    def __init__(self, around: FusedModel, graph: int, holder: OpFacts | None = None) -> None:
        facts = around.facts
        self.graph = graph
        self.handed = {} if holder is None else _handed(around, graph, holder)
        nested = facts.graphs[graph]
        tensors = tuple(_as_constant(one, self.handed.get(one.index)) for one in nested.tensors)
        inputs, outputs = (
            tuple(index for index in indices if index not in self.handed)
            for indices in (nested.input_indices, nested.output_indices)
        )
        nested = replace(nested, tensors=tensors, input_indices=inputs, output_indices=outputs)
        self.facts = replace(facts, graphs=(nested, *facts.graphs[1:]), signatures=())


def _handed(around: FusedModel, graph: int, holder: OpFacts) -> dict[int, TensorFacts]:
    """Constants of the graph around an op by the nested graph's inputs that they are, in every turn of a loop."""
    facts = around.facts
    given = holder.inputs[1:] if holder.name == "IF" else holder.inputs
    stays = [True] * len(given)
    if holder.name == "WHILE":
        body = facts.graphs[holder.options["body_subgraph_index"]]
        stays = [a == b for a, b in zip(body.input_indices, body.output_indices, strict=False)]
    found = {}
    for index, source, same in zip(facts.graphs[graph].input_indices, given, stays, strict=False):
        stored = facts.tensors[around.stored(source)]
        if same and source >= 0 and stored.is_constant:
            found[index] = stored
    return found


def _as_constant(tensor: TensorFacts, stored: TensorFacts | None) -> TensorFacts:
    return tensor if stored is None else replace(stored, index=tensor.index, name=tensor.name)


def _placed(suspect: Suspect, nested: NestedGraph, main: ModelFacts, local: Mapping[int, Local]) -> Suspect:
    """A suspect of a nested graph at the op of the main graph that runs it; its tensor is the op's worst result."""
    inside = SubgraphPlace(nested.title, suspect.layer, suspect.op_index)
    if nested.holder is None:
        # No tensor of the main graph shows it: below zero, one of its own for each.
        own = -2 - suspect.tensor - 1_000_000 * nested.graph
        return replace(suspect, inside=inside, tensor=own, tensors=frozenset(), patch=None)
    known = {index: local[index].nrmse or 0.0 for index in nested.holder.outputs if index in local}
    worst = max(known, key=lambda index: known[index], default=next(iter(nested.holder.outputs), -1))
    return replace(
        suspect,
        layer=main.tensors[worst].name if worst >= 0 else suspect.layer,
        op_index=nested.holder.index,
        tensor=worst,
        tensors=frozenset(),
        inside=inside,
        patch=None if suspect.patch is None else _inside(suspect.patch, nested.graph),
    )


def _inside(patch: Patch, graph: int) -> Patch:
    def apply(editor: Editor) -> None:
        patch(editor.inside(graph))

    return apply


def _layers(graphs: tuple[NestedGraph, ...]) -> Iterator[Unmatched]:
    for nested in graphs:
        compared = "its constants and ops were compared" if nested.matching is not None else "it takes other inputs"
        place = -1 if nested.holder is None else nested.holder.index
        for op, tensor in layer_tensors(nested.facts):
            reason = f"it is in {nested.title}, and has no figures of its own; {compared}"
            kind, at = nested.facts.ops[op].name, place if place >= 0 else op
            # What the op that runs the graph makes is compared as a layer of the main graph.
            yield Unmatched(tensor.name, kind, at, reason, inside=nested.holder is not None)


def _name(facts: ModelFacts, op: OpFacts) -> str:
    return f"{op.name} {facts.tensors[op.outputs[0]].name!r}" if op.outputs else op.name
