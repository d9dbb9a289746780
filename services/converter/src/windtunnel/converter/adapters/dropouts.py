"""Dropouts of a training: found by what they compute, and taken out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import tensorflow as tf

from windtunnel.converter.adapters.graph_nodes import VARIABLES, Nodes, op_name
from windtunnel.converter.adapters.inference_mode import Changes

_RANDOM: Final = re.compile(
    r"(Stateless)?(Random(Uniform|StandardNormal|Normal|Gamma|Poisson|Binomial).*|(Parameterized)?TruncatedNormal.*"
    r"|Multinomial|RandomShuffle)\Z"
)
# Dropouts draw from these alone; a product with other values is noise, or a sample of a distribution.
_UNIFORM: Final = re.compile(r"(Stateless)?RandomUniform(V2)?\Z")
# What makes a mask of zeros and ones from random values.
_MASKING: Final = frozenset({"Greater", "GreaterEqual", "Less", "LessEqual", "Floor"})
_SELECT: Final = frozenset({"Select", "SelectV2"})
_SCALING: Final = frozenset({"Mul", "RealDiv", "Div"})
_FARTHEST: Final = 50


def drop_dropouts(nodes: Nodes, needed: set[str], inputs: Sequence[str], changes: Changes) -> None:
    """Removes the dropouts: products of what is scaled up and a random mask. Other random ops stay.

    Args:
        nodes: of the graph; they are changed.
        needed: names of the nodes that the outputs depend on.
        inputs: of the model.
        changes: what was changed is added.
    """
    random = [name for name in sorted(needed) if _RANDOM.match(nodes[name].op)]
    if not random:
        return
    from_data = nodes.descendants([op_name(name) for name in inputs])
    for name in random:
        drop = _dropout_of(nodes, name, from_data) if _UNIFORM.match(nodes[name].op) else None
        if drop is None:
            changes.random.append(name)
            continue
        end, taken = drop
        nodes.redirect(f"{end}:0", taken)
        changes.dropouts.append(end)


def _dropout_of(nodes: Nodes, random: str, from_data: set[str]) -> tuple[str, str] | None:
    """The last node of the dropout that uses a random op, and the tensor that goes into it; None: it is not a dropout.

    From the random op on, values become a mask before anything of the data comes in: what is compared with data is a
    sample of a distribution that the model computes.
    """
    readers = nodes.readers()
    pending = [(random, False)]
    seen: set[str] = set()
    while pending and len(seen) < _FARTHEST:
        name, is_mask = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in readers.get(name, ()):
            if any(op_name(one) == name and one.startswith("^") for one in node.input):
                continue
            if is_mask and node.op in ("Mul", *_SELECT):
                source = _masked(nodes, node, name, from_data)
                return None if source is None else (str(node.name), source)
            if any(op_name(one) in from_data and op_name(one) != name for one in node.input):
                return None
            pending.append((node.name, is_mask or node.op in _MASKING))
    return None


def _masked(nodes: Nodes, node: Any, mask: str, from_data: set[str]) -> str | None:
    """What a dropout gets whose last node is `node`; None where `node` is not the end of a dropout."""
    if node.op in _SELECT:
        return _unscaled(nodes, node.input[1], from_data) if op_name(node.input[0]) == mask else None
    others = [one for one in node.input if op_name(one) != mask]
    return _unscaled(nodes, others[0], from_data) if len(others) == 1 and op_name(others[0]) in from_data else None


def _unscaled(nodes: Nodes, tensor: str, from_data: set[str]) -> str | None:
    """What is scaled to `tensor` by 1 / keep_prob, one number."""
    node = nodes.get(tensor)
    if node is None or node.op not in _SCALING:
        return None
    data = [one for one in node.input if op_name(one) in from_data]
    others = [one for one in node.input if op_name(one) not in from_data]
    if len(data) != 1 or len(others) != 1 or not _is_number(nodes, others[0]):
        return None
    return data[0] if node.op == "Mul" or node.input[0] == data[0] else None


def _is_number(nodes: Nodes, tensor: str) -> bool:
    """Whether a tensor is computed from single numbers alone, and nothing trained goes into it."""
    for name in nodes.ancestors([tensor]):
        node = nodes[name]
        if node.op in VARIABLES:
            return False
        if node.op == "Const" and tf.TensorShape(node.attr["value"].tensor.tensor_shape).num_elements() != 1:
            return False
    return True
