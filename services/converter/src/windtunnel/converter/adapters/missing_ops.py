"""Ops that TensorFlow Lite lacks: which, where in the model, and what can be done about them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from windtunnel.converter.domain.conversion import Source
from windtunnel.errors import Unsupported

_SHOWN: Final = 3
_SELECT: Final = re.compile(r"TF Select ops: ([\w, ]+)")
_CUSTOM: Final = re.compile(r"Custom ops: ([\w, ]+)")
_DETAIL: Final = re.compile(r"\ttf\.(\w+)\(|'tf\.(\w+)' op is neither a custom op nor a flex op")


def lacking_ops(error: Exception, source: Source, function: Any) -> Unsupported | None:
    """The error if the converter gave up because of ops.

    Args:
        error: of the converter.
        source: the model.
        function: the concrete function that was to be converted; its nodes name the layers.

    Returns:
        None: it gave up for another reason.
    """
    said = str(error)
    select = _listed(_SELECT, said)
    others = _listed(_CUSTOM, said) or sorted({a or b for a, b in _DETAIL.findall(said)} - set(select))
    if not select and not others:
        return None
    places = [_place(function, op) for op in (*select, *others)]
    hint = "replace them in the model"
    if select and not others:
        hint += (
            "; or, if your app can bundle the Flex library, convert them to Select TF ops: `convert --select-tf-ops`, "
            "or conversion: {select_tf_ops: true} in the plan"
        )
    return Unsupported(
        f"{source.name} uses ops that TensorFlow Lite lacks: {', '.join(places)}", hint=hint, code="unsupported_op"
    )


def _listed(pattern: re.Pattern[str], said: str) -> list[str]:
    return sorted({name.strip() for found in pattern.findall(said) for name in found.split(",") if name.strip()})


def _place(function: Any, op: str) -> str:
    names = list(dict.fromkeys(name for kind, name in _nodes(function) if kind == op))
    if not names:
        return op
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{op} at {', '.join(map(_short, names[:_SHOWN]))}{more}"


def _nodes(function: Any) -> Iterator[tuple[str, str]]:
    graph = function.graph.as_graph_def()
    for node in graph.node:
        yield node.op, node.name
    for called in graph.library.function:
        for node in called.node_def:
            yield node.op, node.name


def _short(name: str) -> str:
    """Without the name of the model around all layers, which Keras numbers."""
    return re.sub(r"^((functional|sequential|model|(Stateful)?PartitionedCall)(_\d+)*/)+", "", name)
