"""The first batch norm of a model: it keeps the mean and variance that its inputs had during the training."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from windtunnel.converter.adapters.graph_nodes import tensor_name
from windtunnel.converter.adapters.original_model import reason
from windtunnel.converter.domain.conversion import FirstNorm

_log = logging.getLogger(__name__)
_SAME = frozenset({"Identity", "Cast"})
Nodes = Mapping[str, Any]


def first_norm(function: Any, target: Path) -> FirstNorm | None:
    """Writes the model up to the input of its first batch norm.

    Batch norms are ops of their own, or as Keras 3 writes them: x * (rsqrt(variance + epsilon) * gamma), and mean *
    (...). This is an extra: if anything fails, there is none, and the log says why.

    Args:
        function: a model with constants in the place of its variables.
        target: the new .tflite file.

    Returns:
        None: there is none.
    """
    try:
        return _first_norm(function, target)
    except Exception as error:  # noqa: BLE001 - TensorFlow raises anything, and graphs of others hold anything
        _log.info("the first batch norm cannot be judged by itself: %s", reason(error))
        return None


def _first_norm(function: Any, target: Path) -> FirstNorm | None:
    graph = convert_variables_to_constants_v2(function).graph.as_graph_def()
    nodes = {node.name: node for node in graph.node}
    found = next((norm for node in graph.node if (norm := _norm(node, nodes, graph.node)) is not None), None)
    inputs = [f"{node.name}:0" for node in graph.node if node.op == "Placeholder"]
    if found is None or len(inputs) != 1:
        return None
    tensor, mean, variance = found
    whole = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
    part = whole.prune(inputs, [tensor])
    target.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([part], whole).convert())
    return FirstNorm(target, tuple(map(float, mean)), tuple(map(float, variance)))


def _norm(node: Any, nodes: Nodes, order: Any) -> tuple[str, NDArray[Any], NDArray[Any]] | None:
    """(tensor that is normalized, mean, variance per channel) where a node is a batch norm of the last axis."""
    if node.op == "FusedBatchNormV3" and not node.attr["is_training"].b and node.attr["data_format"].s != b"NCHW":
        mean, variance = _constant(node.input[3], nodes), _constant(node.input[4], nodes)
        return None if mean is None or variance is None else (tensor_name(node.input[0]), mean, variance)
    if node.op != "Mul":
        return None
    for at, factor in (tuple(node.input), tuple(reversed(node.input))):
        variance = _variance(factor, nodes)
        if variance is not None and _constant(at, nodes) is None:
            mean = _mean(factor, nodes, order)
            return None if mean is None else (tensor_name(at), mean, variance)
    return None


def _variance(factor: str, nodes: Nodes) -> NDArray[Any] | None:
    """The variance in rsqrt(variance + epsilon), alone or times gamma."""
    node = _node(factor, nodes)
    roots = [node] if node.op == "Rsqrt" else [_node(name, nodes) for name in node.input] if node.op == "Mul" else []
    for root in roots:
        inner = _node(root.input[0], nodes) if root.op == "Rsqrt" else None
        if inner is not None and inner.op in ("AddV2", "Add"):
            values = [
                value for name in inner.input if (value := _constant(name, nodes)) is not None and value.ndim == 1
            ]
            if len(values) == 1:
                return values[0]
    return None


def _mean(factor: str, nodes: Nodes, order: Any) -> NDArray[Any] | None:
    """The constant that the same factor scales elsewhere."""
    for node in order:
        if node.op == "Mul" and factor in node.input:
            for name in node.input:
                value = None if name == factor else _constant(name, nodes)
                if value is not None and value.ndim == 1:
                    return value
    return None


def _constant(name: str, nodes: Nodes) -> NDArray[Any] | None:
    node = _node(name, nodes)
    return np.asarray(tf.make_ndarray(node.attr["value"].tensor)) if node.op == "Const" else None


def _node(name: str, nodes: Nodes) -> Any:
    """The node that makes a tensor, without what only hands it on."""
    node = nodes[name.lstrip("^").split(":")[0]]
    while node.op in _SAME:
        node = nodes[node.input[0].split(":")[0]]
    return node
