"""How much of a graph a delegate took over, from the interpreter's list of nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the graph: the tensors that it reads and writes. `delegate`: it stands for nodes taken over."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    delegate: bool = False


@dataclass(frozen=True, slots=True)
class Delegation:
    """`kernels` is the number of delegate nodes; `partitions` counts the parts in both hands, as the runtime does."""

    nodes_delegated: int
    nodes_total: int
    kernels: int
    partitions: int


def count_delegated(nodes: Sequence[Node]) -> Delegation:
    """Counts what delegate nodes replaced.

    Args:
        nodes: the graph's own in execution order, then the delegate's.

    Returns:
        The counts.
    """
    own = [node for node in nodes if not node.delegate]
    kernels = [node for node in nodes if node.delegate]
    taken = {index for kernel in kernels for index in _replaced(own, kernel)}
    return Delegation(len(taken), len(own), len(kernels), _partitions(own, taken))


def _replaced(own: Sequence[Node], kernel: Node) -> set[int]:
    """The nodes between a delegate node's outputs and its inputs."""
    producers = {tensor: index for index, node in enumerate(own) for tensor in node.outputs}
    given = set(kernel.inputs)
    found: set[int] = set()
    todo = list(kernel.outputs)
    while todo:
        tensor = todo.pop()
        index = producers.get(tensor)
        if tensor not in given and index is not None and index not in found:
            found.add(index)
            todo.extend(own[index].inputs)
    return found


def _partitions(own: Sequence[Node], taken: set[int]) -> int:
    """The runtime's partitioning: of the nodes that are ready, all that go the same way make a part, in turns."""
    produced = {tensor for node in own for tensor in node.outputs}
    waiting = dict(enumerate(own))
    parts = 0
    while waiting:
        side: bool | None = None
        moved = True
        while moved:
            moved = False
            for index, node in list(waiting.items()):
                ready = not produced.intersection(node.inputs)
                if ready and side in (None, index in taken):
                    side = index in taken
                    produced -= set(waiting.pop(index).outputs)
                    moved = True
        parts += 1
        if side is None:
            break
    return parts
