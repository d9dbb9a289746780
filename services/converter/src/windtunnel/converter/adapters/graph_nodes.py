"""A GraphDef as nodes by name: who reads what, what depends on what, and changes of single nodes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

import tensorflow as tf

# Ops that change state and give nothing to the outputs; what waits for them needs no waiting in inference.
STATE_OPS: Final = re.compile(
    r"(Assign.*|Scatter(Add|Sub|Update|Nd.*)|Apply.*|ResourceApply.*|ResourceScatter.*|Sparse(Resource)?Apply.*|NoOp"
    r"|Assert|Print(V2)?|.*Summary(V2)?|CheckNumerics.*|Save.*|Restore.*|.*Enqueue.*)\Z"
)
VARIABLES: Final = ("VariableV2", "Variable", "VarHandleOp")
# What training leaves in a graph: their results are nobody's output.
_NOT_AN_OUTPUT: Final = re.compile(
    r"(Const|NoOp|Assert|Placeholder.*|Save.*|Restore.*|Merge.*Summary|.*Summary(V2)?|Assign.*|Apply.*|ResourceApply.*"
    r"|VarIsInitializedOp|ReadVariableOp|VarHandleOp|VariableV2|Variable|IsVariableInitialized|ShardedFilename"
    r"|StringJoin|Shape|ShapeN|Rank|.*Enqueue.*|.*Close.*|.*Size|Iterator.*|.*Iterator|.*Dataset(V\d)?)\Z"
)
_TRAINING_SCOPE: Final = re.compile(
    r"(^|/)(gradients|gradients_\d+|save|save_\d+|train_op|Adam|report_uninitialized\w*)/"
)
# Where samples come from, other than placeholders.
SOURCE_OPS: Final = re.compile(
    r"(Placeholder(WithDefault|V2)?|(Iterator|Dequeue).*GetNext.*|IteratorGetNext.*|.*Dequeue.*)\Z"
)


def op_name(tensor: str) -> str:
    """The node of a tensor or control input.

    Args:
        tensor: its name.

    Returns:
        Name of the node.
    """
    return tensor.lstrip("^").split(":")[0]


def tensor_name(name: str) -> str:
    """A tensor with its output number.

    Args:
        name: of a node or tensor.

    Returns:
        `node:0` for a node.
    """
    return name if ":" in name else f"{name}:0"


class Nodes:
    """The nodes of a graph, which may be changed; functions that they call are kept as they are.

    Args:
        graph_def: the GraphDef; it is changed.
    """

    def __init__(self, graph_def: Any) -> None:
        self._graph = graph_def
        self._nodes: dict[str, Any] = {node.name: node for node in graph_def.node}

    def __contains__(self, name: str) -> bool:
        return name in self._nodes

    def __getitem__(self, name: str) -> Any:
        return self._nodes[name]

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._nodes.values()))

    def get(self, tensor: str) -> Any | None:
        """The node that makes a tensor.

        Args:
            tensor: its name.

        Returns:
            None: there is none.
        """
        return self._nodes.get(op_name(tensor))

    def add(self, node: Any) -> str:
        """Adds a node, or replaces the one of its name.

        Args:
            node: a NodeDef.

        Returns:
            Its name.
        """
        self._nodes[node.name] = node
        return str(node.name)

    def constant(self, name: str, value: Any, dtype: Any) -> None:
        """Replaces a node by a constant.

        Args:
            name: of the node.
            value: of the constant.
            dtype: TensorFlow's number of the type.
        """
        node = tf.compat.v1.NodeDef(name=name, op="Const")
        node.attr["dtype"].type = dtype
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype=dtype))
        self.add(node)

    def readers(self) -> dict[str, list[Any]]:
        """Nodes by the name of the node that they read, or wait for."""
        found: dict[str, list[Any]] = {}
        for node in self:
            for name in {op_name(one) for one in node.input}:
                found.setdefault(name, []).append(node)
        return found

    def redirect(self, old: str, new: str) -> None:
        """Lets every reader of a tensor read another one.

        Args:
            old: the tensor.
            new: the other one.
        """
        names = {old, old.removesuffix(":0")} if old.endswith(":0") else {old}
        for node in self:
            for place, name in enumerate(node.input):
                if name in names:
                    node.input[place] = new

    def ancestors(self, tensors: Sequence[str], stop: Collection[str] = ()) -> set[str]:
        """The nodes that tensors depend on, including those that make them.

        Args:
            tensors: their names.
            stop: nodes whose inputs do not count.

        Returns:
            Names of nodes.
        """
        seen: set[str] = set()
        pending = [op_name(name) for name in tensors]
        while pending:
            name = pending.pop()
            if name in seen or name not in self._nodes:
                continue
            seen.add(name)
            if name not in stop:
                pending.extend(op_name(one) for one in self._nodes[name].input)
        return seen

    def descendants(self, names: Sequence[str]) -> set[str]:
        """The nodes that depend on others, including those.

        Args:
            names: of nodes.

        Returns:
            Names of nodes.
        """
        readers = self.readers()
        seen = set(names)
        pending = list(names)
        while pending:
            for node in readers.get(pending.pop(), ()):
                if node.name not in seen:
                    seen.add(node.name)
                    pending.append(node.name)
        return seen

    def drop_waits(self) -> None:
        """Drops control inputs from what changes state, or only waits for it: inference changes none."""
        stateful: dict[str, bool] = {}
        for node in self:
            kept = [name for name in node.input if not (name.startswith("^") and self._changes(name, stateful))]
            del node.input[:]
            node.input.extend(kept)

    def _changes(self, name: str, known: dict[str, bool]) -> bool:
        node = self.get(name)
        if node is None:
            return True
        if node.name not in known:
            known[node.name] = STATE_OPS.match(node.op) is not None
        return known[node.name]

    def cut(self, outputs: Sequence[str], stop: Collection[str] = ()) -> Any:
        """The part of the graph that outputs depend on.

        Args:
            outputs: names of tensors.
            stop: nodes whose inputs do not count.

        Returns:
            A GraphDef.
        """
        needed = self.ancestors(outputs, stop)
        result = tf.compat.v1.GraphDef()
        result.versions.CopyFrom(self._graph.versions)
        result.library.CopyFrom(self._graph.library)
        result.node.extend(node for name, node in self._nodes.items() if name in needed)
        return result


def sources(nodes: Nodes, tensors: Sequence[str], fed: Collection[str] = ()) -> set[str]:
    """Tensors of placeholders, iterators and queues that others depend on.

    Args:
        nodes: of the graph.
        tensors: those others.
        fed: nodes whose inputs do not count.

    Returns:
        Names of tensors.
    """
    found: set[str] = set()
    stop = {node.name for node in nodes if SOURCE_OPS.match(node.op)} | set(fed)
    needed = nodes.ancestors(tensors, stop)
    for name in needed:
        for read in nodes[name].input if name not in stop else ():
            if op_name(read) in stop and not read.startswith("^"):
                found.add(tensor_name(read))
    return found | {tensor_name(name) for name in map(op_name, tensors) if name in stop}


def final_nodes(nodes: Nodes, inputs: Collection[str]) -> list[str]:
    """Nodes that may be the output.

    A node is an end if only training reads it, or only nodes that need more inputs, such as the loss, which needs
    labels. Of the ends those count that need the fewest inputs. One that depends on nothing trained (labels) counts
    only if all are like that.

    Args:
        nodes: of the graph.
        inputs: nodes that are inputs.

    Returns:
        Names of nodes.
    """
    training = {node.name for node in nodes if _TRAINING_SCOPE.search(node.name) or STATE_OPS.match(node.op)}
    readers, needs = nodes.readers(), _needs(nodes, inputs)

    def ends(node: Any) -> bool:
        others = readers.get(node.name, ())
        # What is only assigned is a state of the training.
        return not any(one.op.startswith("Assign") for one in others) and all(
            one.name in training or needs[node.name] < needs[one.name] for one in others
        )

    finals = [
        node.name
        for node in nodes
        if needs[node.name] and node.name not in training and not _NOT_AN_OUTPUT.match(node.op) and ends(node)
    ]
    trained = nodes.descendants([node.name for node in nodes if node.op in VARIABLES])
    finals = [name for name in finals if name in trained] or finals
    return [name for name in finals if not any(needs[other] < needs[name] for other in finals)]


def _needs(nodes: Nodes, inputs: Collection[str]) -> dict[str, frozenset[str]]:
    """By node, the tensors of the nodes `inputs` that it depends on."""
    found: dict[str, frozenset[str]] = {}
    pending = [(node.name, False) for node in nodes]
    while pending:
        name, done = pending.pop()
        if done:
            read = [one for one in nodes[name].input if not one.startswith("^")]
            from_inputs = {tensor_name(one) for one in read if op_name(one) in inputs}
            found[name] = frozenset(from_inputs).union(*(found.get(op_name(one), frozenset()) for one in read))
        elif name not in found:
            # Loops end here: what is looked at needs nothing yet.
            found[name] = frozenset()
            pending.append((name, True))
            pending.extend((op_name(one), False) for one in nodes[name].input if op_name(one) in nodes)
    return found
