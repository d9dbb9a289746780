"""Turns the graph of a training into that of inference: batch norm, dropout, switches of the mode, variables."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import tensorflow as tf

from windtunnel.converter.adapters.graph_nodes import VARIABLES, Nodes, op_name, tensor_name
from windtunnel.errors import InvalidInput

_REF_OPS: Final = {"RefSwitch": "Switch", "RefMerge": "Merge", "RefIdentity": "Identity", "RefEnter": "Enter"}
_FUSED: Final = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
_ARITHMETIC: Final = ("Sub", "Mul", "Add", "AddV2", "Identity", "Cast", "Neg", "RealDiv", "Squeeze", "Reshape")
_PASS: Final = ("Identity", "StopGradient", "ReadVariableOp", "Cast", "Snapshot")
_TRAIN: Final = re.compile(r"train|learning_phase|(^|[/_])phase", re.IGNORECASE)
_TEST: Final = re.compile(r"infer|test|eval|predict|deterministic", re.IGNORECASE)
_KEEP: Final = re.compile(r"keep", re.IGNORECASE)
_DROP: Final = re.compile(r"drop", re.IGNORECASE)
_RATE: Final = re.compile(r"(keep_?prob\w*|dropout\w*|drop_?(rate|prob)\w*)\Z", re.IGNORECASE)


@dataclass
class Changes:
    """What was done to the graph, in words."""

    modes: list[str] = field(default_factory=list)
    batch_norms: list[str] = field(default_factory=list)
    dropouts: list[str] = field(default_factory=list)
    # Random ops that are left: what they give differs from run to run.
    random: list[str] = field(default_factory=list)

    def words(self) -> str:
        """All of it in one sentence; empty: nothing."""
        parts = list(self.modes)
        if self.batch_norms:
            parts.append(f"{len(self.batch_norms)} batch normalizations in training mode use their moving averages")
        if self.dropouts:
            parts.append(f"{len(self.dropouts)} dropouts are off")
        return ", ".join(parts)


def modes(nodes: Nodes, fed: Collection[str]) -> dict[str, bool | float]:
    """Placeholders that say whether the model trains.

    Args:
        nodes: of the graph.
        fed: placeholders that are inputs.

    Returns:
        The value of inference, by name.
    """
    placeholders = [node for node in nodes if node.op.startswith("Placeholder") and node.name not in fed]
    values = {str(node.name): _mode(nodes, node) for node in placeholders}
    return {name: value for name, value in values.items() if value is not None}


def set_modes(nodes: Nodes, values: Mapping[str, bool | float], changes: Changes) -> None:
    """Gives placeholders their values.

    Args:
        nodes: of the graph; they are changed.
        values: by name.
        changes: what was changed is added.
    """
    for name, value in sorted(values.items()):
        changes.modes.append(f"{name} is {value}")
        nodes.constant(name, value, nodes[name].attr["dtype"].type)


def _mode(nodes: Nodes, node: Any) -> bool | float | None:
    """The value of inference for a placeholder; None: it is data."""
    dtype, shape, last = node.attr["dtype"].type, node.attr["shape"].shape, node.name.rpartition("/")[2]
    # Old graphs do not say that a switch is a scalar.
    likely = dtype == tf.bool.as_datatype_enum or _RATE.match(last) is not None
    scalar = not shape.dim and (likely or not shape.unknown_rank)
    if dtype == tf.bool.as_datatype_enum and scalar:
        if _TRAIN.search(node.name):
            return False
        return True if _TEST.search(node.name) else _default(nodes, node)
    if tf.as_dtype(dtype).is_floating and scalar:
        if _KEEP.search(last):
            return 1.0
        return 0.0 if _DROP.search(last) else _default(nodes, node)
    return _default(nodes, node) if scalar else None


def _default(nodes: Nodes, node: Any) -> Any:
    if node.op != "PlaceholderWithDefault":
        return None
    given = nodes.get(node.input[0])
    if given is None or given.op != "Const":
        return None
    value = tf.make_ndarray(given.attr["value"].tensor)
    return value.item() if value.ndim == 0 else None


def moving_averages(nodes: Nodes) -> dict[str, str]:
    """Statistics of the batch whose average a variable keeps.

    An average is what an assignment computes from itself and from one other tensor.

    Args:
        nodes: of the graph.

    Returns:
        The variable, by tensor.
    """
    found: dict[str, str] = {}
    for node in nodes:
        if not node.op.startswith("Assign") or len(node.input) < 2 or "save/" in node.name:
            continue
        variable = _variable(nodes, node.input[0])
        if variable is None:
            continue
        leaves = _leaves(nodes, node.input[1])
        # An average of another variable is one of weights, which is the author's to choose.
        others = [one for one in leaves if one != variable]
        if any(":" not in one for one in others) or not nodes[variable].attr["shape"].shape.dim:
            continue
        if len(others) == 1 and (variable in leaves or node.op not in ("Assign", "AssignVariableOp")):
            found.setdefault(others[0], variable)
    return found


def _variable(nodes: Nodes, tensor: str) -> str | None:
    """The variable that a tensor is, or is read from."""
    for _ in range(8):
        node = nodes.get(tensor)
        if node is None:
            return None
        if node.op in VARIABLES:
            return str(node.name)
        if node.op not in (*_PASS, "Switch", "RefSwitch", "RefIdentity") or not node.input:
            return None
        tensor = node.input[0]
    return None


def _leaves(nodes: Nodes, tensor: str) -> list[str]:
    """What an expression of plain arithmetic is made of: variables by name, other tensors; constants left out."""
    found: dict[str, None] = {}
    pending = [tensor]
    seen: set[str] = set()
    while pending and len(seen) < 100:
        one = tensor_name(pending.pop())
        if one in seen:
            continue
        seen.add(one)
        node = nodes.get(one)
        read = None if node is None else _variable(nodes, one)
        if node is None or node.op == "Const":
            continue
        if read is not None:
            found[read] = None
        elif node.op in _ARITHMETIC and not _is_statistic(node):
            inputs = [name for name in node.input if not name.startswith("^")]
            pending.extend(inputs[:1] if node.op in ("Squeeze", "Reshape") else inputs)
        else:
            found[one] = None
    return list(found)


def _is_statistic(node: Any) -> bool:
    """The end of tf.nn.moments, which is what the layer reads too."""
    return node.op == "Squeeze" and "moments" in node.name


def use_averages(nodes: Nodes, needed: set[str], averages: Mapping[str, str], changes: Changes) -> None:
    """Lets batch norms in training mode use their moving averages.

    Args:
        nodes: of the graph; they are changed.
        needed: names of the nodes that the outputs depend on.
        averages: from `moving_averages`.
        changes: what was changed is added.

    Raises:
        InvalidInput: a batch norm has no moving average.
    """
    for name in sorted(needed):
        node = nodes[name]
        if node.op in _FUSED and node.attr["is_training"].b:
            mean, variance = _fused_averages(nodes, node, averages)
            node.input[3], node.input[4] = _read(nodes, mean), _read(nodes, variance)
            node.attr["is_training"].b = False
            changes.batch_norms.append(name)
    for statistic, variable in averages.items():
        node = nodes.get(statistic)
        if node is None or node.name not in needed or node.op in _FUSED:
            continue
        nodes.redirect(statistic, _read(nodes, variable))
        scope = variable.rpartition("/")[0]
        if scope not in changes.batch_norms:
            changes.batch_norms.append(scope)


def _fused_averages(nodes: Nodes, node: Any, averages: Mapping[str, str]) -> tuple[str, str]:
    """The variables of moving mean and variance: those updated from the node, or those next to its scale.

    Raises:
        InvalidInput: it has none.
    """
    mean, variance = averages.get(f"{node.name}:1"), averages.get(f"{node.name}:2")
    scale = _variable(nodes, node.input[1]) or _variable(nodes, node.input[2])
    scope = "" if scale is None else scale.rpartition("/")[0]
    mean = mean or _beside(nodes, scope, "moving_mean")
    variance = variance or _beside(nodes, scope, "moving_variance")
    if mean is None or variance is None:
        raise InvalidInput(
            f"the graph is one of training: batch normalization {node.name!r} computes with the statistics of the "
            "batch, and no moving averages belong to it",
            hint="build the graph with is_training=False, restore the checkpoint into it, and save that",
            code="training_graph",
        )
    return mean, variance


def _beside(nodes: Nodes, scope: str, name: str) -> str | None:
    found = nodes.get(f"{scope}/{name}" if scope else name)
    return None if found is None or found.op not in VARIABLES else str(found.name)


def _read(nodes: Nodes, variable: str) -> str:
    """The value of a variable as a tensor."""
    node = nodes[variable]
    if node.op != "VarHandleOp":
        return variable
    name = f"{variable}/windtunnel_read"
    if name not in nodes:
        read = tf.compat.v1.NodeDef(name=name, op="ReadVariableOp", input=[variable])
        read.attr["dtype"].type = node.attr["dtype"].type
        nodes.add(read)
    return name


def fold_switches(nodes: Nodes, outputs: Sequence[str]) -> None:
    """Follows the branches of conditions that are constant now, and drops the others.

    Args:
        nodes: of the graph; they are changed.
        outputs: names of tensors.
    """
    known: dict[str, bool | None] = {}
    alive: dict[str, str | None] = {}

    def follow(tensor: str, depth: int = 0) -> str | None:
        """The tensor that replaces another one.

        Args:
            tensor: the other one.
            depth: of the recursion.

        Returns:
            None: it is in a branch that is not taken.
        """
        key = tensor_name(tensor)
        if key not in alive:
            alive[key] = tensor  # while it is looked at: loops end here
            alive[key] = _followed(nodes, tensor, follow, known)
        return alive[key]

    for name in _in_order(nodes, outputs):
        node = nodes[name]
        for place, one in enumerate(node.input):
            if not one.startswith("^") and node.op not in ("Merge", "RefMerge"):
                node.input[place] = follow(one) or one


def drop_frames(nodes: Nodes, outputs: Sequence[str]) -> None:
    """Drops ops that only said in which branch a node is; loops need them.

    Args:
        nodes: of the graph; they are changed.
        outputs: names of tensors.
    """
    needed = nodes.ancestors(outputs)
    if any(nodes[name].op == "Enter" for name in needed):
        return
    for name in needed:
        kept = [one for one in nodes[name].input if not one.startswith("^")]
        del nodes[name].input[:]
        nodes[name].input.extend(kept)


def _in_order(nodes: Nodes, outputs: Sequence[str]) -> list[str]:
    """What the outputs depend on, inputs first."""
    order: dict[str, None] = {}
    pending = [(op_name(name), False) for name in outputs]
    entered: set[str] = set()
    while pending:
        name, done = pending.pop()
        if done:
            order[name] = None
        elif name not in entered and name in nodes:
            entered.add(name)
            pending.append((name, True))
            pending.extend((op_name(one), False) for one in nodes[name].input)
    return list(order)


def _followed(
    nodes: Nodes, tensor: str, follow: Callable[[str], str | None], known: dict[str, bool | None]
) -> str | None:
    node = nodes.get(tensor)
    if node is None:
        return tensor
    if node.op in ("Switch", "RefSwitch"):
        predicate = _truth(nodes, node.input[1], known)
        if predicate is None:
            return tensor
        taken = tensor_name(tensor).endswith(":1") == predicate
        return follow(node.input[0]) if taken else None
    inputs = [one for one in node.input if not one.startswith("^")]
    if node.op in ("Merge", "RefMerge"):
        left = [found for one in inputs if (found := follow(one)) is not None]
        return left[0] if len(left) == 1 else tensor
    waits = [one for one in node.input if one.startswith("^")]
    dead = any(follow(one) is None for one in inputs) or any(follow(f"{one[1:]}:0") is None for one in waits)
    return None if dead else tensor


def _truth(nodes: Nodes, tensor: str, known: dict[str, bool | None]) -> bool | None:
    """The value of a condition; None where it depends on the samples."""
    name = op_name(tensor)
    if name in known:
        return known[name]
    known[name] = None
    node = nodes.get(tensor)
    value: bool | None = None
    if node is not None and node.op == "Const":
        array = tf.make_ndarray(node.attr["value"].tensor)
        value = bool(array.item()) if array.ndim == 0 else None
    elif node is not None and node.op in ("LogicalNot", *_PASS, "PlaceholderWithDefault", "Squeeze"):
        inner = _truth(nodes, node.input[0], known)
        value = (not inner) if node.op == "LogicalNot" and inner is not None else inner
    elif node is not None and node.op in ("LogicalAnd", "LogicalOr"):
        both = [_truth(nodes, one, known) for one in node.input[:2]]
        decides = node.op == "LogicalOr"
        value = decides if decides in both else (None if None in both else not decides)
    known[name] = value
    return value


def set_variables(nodes: Nodes, needed: set[str], value_of: Callable[[str], Any]) -> None:
    """Replaces variables by the trained values.

    Args:
        nodes: of the graph; they are changed.
        needed: names of the nodes that the outputs depend on.
        value_of: the value of a variable, by name.
    """
    for name in sorted(needed):
        node = nodes[name]
        if node.op in VARIABLES:
            nodes.constant(name, value_of(name), node.attr["dtype"].type)
        elif node.op == "ReadVariableOp":
            _as_identity(node)
        elif node.op == "ResourceGather":
            _as_gather(nodes, node)
        elif node.op in _REF_OPS:
            node.op = _REF_OPS[node.op]
    for name in sorted(needed):
        _drop_resource_types(nodes, nodes[name])


def _as_identity(node: Any) -> None:
    node.op = "Identity"
    dtype = node.attr["dtype"].type
    node.attr.clear()
    node.attr["T"].type = dtype


def _as_gather(nodes: Nodes, node: Any) -> None:
    axis = f"{node.name}/windtunnel_axis"
    nodes.constant(axis, 0, tf.int32.as_datatype_enum)
    dtype, indices = node.attr["dtype"].type, node.attr["Tindices"].type
    node.op = "GatherV2"
    node.input.insert(2, axis)
    node.attr.clear()
    node.attr["Tparams"].type, node.attr["Tindices"].type = dtype, indices
    node.attr["Taxis"].type = tf.int32.as_datatype_enum


def _drop_resource_types(nodes: Nodes, node: Any) -> None:
    """What handed a variable on hands its value on now."""
    if node.op not in ("Identity", "Switch", "Merge", "Enter") or node.attr["T"].type != tf.resource.as_datatype_enum:
        return
    source = nodes.get(node.input[0])
    for key in ("dtype", "T"):
        if source is not None and source.attr[key].type not in (0, tf.resource.as_datatype_enum):
            node.attr["T"].type = source.attr[key].type
            return
