"""Variables of a model: whether anything sets those that it reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from windtunnel.errors import InvalidInput
from windtunnel.tflite.facts import CALLS, GraphFacts, ModelFacts

_SHOWN: Final = 3


def require_values(facts: ModelFacts) -> None:
    """Refuses a model that reads variables which nothing sets: its answers would depend on leftovers in memory.

    TFLiteConverter.from_saved_model makes such models of what tf.saved_model.save wrote of a Keras 3 model.

    Args:
        facts: of the model.

    Raises:
        InvalidInput: some variables have no value; the message names them.
    """
    unset = unset_variables(facts)
    if not unset:
        return
    more = f" and {len(unset) - _SHOWN} more" if len(unset) > _SHOWN else ""
    raise InvalidInput(
        f"the variables of {facts.path.name} have no values: it reads {', '.join(unset[:_SHOWN])}{more}, and nothing "
        "sets them",
        hint="convert again with the weights in the model: from model.export(path) or from_keras_model, or give the "
        "Keras model",
        code="variables_without_values",
    )


def unset_variables(facts: ModelFacts) -> list[str]:
    """Names of variables that the main graph, and the graphs it runs, read and never assign.

    Another signature may assign them, but nothing runs that one before.

    Args:
        facts: of the model.

    Returns:
        In the order in which they are read; empty if all are set.
    """
    read: dict[str, None] = {}
    graphs = list(_reached(facts))
    for graph in graphs:
        handles = _handles(graph)
        for op in graph.ops:
            if op.name == "ASSIGN_VARIABLE" and op.inputs[0] not in handles:
                # It came from another graph, and may be any.
                return []
            if op.name == "READ_VARIABLE" and op.inputs[0] in handles:
                read[handles[op.inputs[0]]] = None
    assigned = {
        handles[op.inputs[0]]
        for graph in graphs
        for handles in [_handles(graph)]
        for op in graph.ops
        if op.name == "ASSIGN_VARIABLE"
    }
    return [name for name in read if name not in assigned]


def _reached(facts: ModelFacts) -> Iterator[GraphFacts]:
    """The main graph and all graphs that ops of it run, each once."""
    left, seen = [0], {0}
    while left:
        graph = facts.graphs[left.pop()]
        yield graph
        for number in (op.options[name] for op in graph.ops for name in CALLS if name in op.options):
            if 0 < number < len(facts.graphs) and number not in seen:
                seen.add(number)
                left.append(number)


def _handles(graph: GraphFacts) -> dict[int, str]:
    """Names of variables by the tensor of their handle."""
    return {
        op.outputs[0]: "/".join(filter(None, (op.options.get("container"), op.options.get("shared_name"))))
        for op in graph.ops
        if op.name == "VAR_HANDLE" and op.outputs
    }
