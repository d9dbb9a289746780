"""Which layer of the reference a layer of the candidate is.

Three passes, each over what is left: equal tensor names; equal normalised names (quantisers add suffixes,
TFLiteConverter joins names with `;` in varying order); then structure, the longest common run of op types and
shapes between layers already matched. QUANTIZE and DEQUANTIZE restate a value under another name, so their
outputs are further names of the layer that they restate. Shapes must be equal.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import pairwise

from windtunnel.layer_diff.domain import Unmatched
from windtunnel.tflite import ModelFacts, TensorFacts, layer_tensors

TRANSPARENT = frozenset({"QUANTIZE", "DEQUANTIZE"})
_SUFFIX = re.compile(r"(_quantized|_dequant|_requant)+(_\d+)?$")


@dataclass(slots=True)
class Node:
    """A layer: an op's output tensor, with the further names it goes by."""

    order: int
    op: str
    op_index: int
    tensor: TensorFacts
    names: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Pair:
    """The same layer in both models."""

    reference: Node
    candidate: Node


@dataclass(frozen=True, slots=True)
class Matching:
    """Pairs in the candidate's execution order, and what is left on either side."""

    pairs: tuple[Pair, ...]
    unmatched: tuple[Unmatched, ...]
    unmatched_reference: tuple[Unmatched, ...]


def match_layers(reference: ModelFacts, candidate: ModelFacts) -> Matching:
    """Matches the layers of two models; every layer is in a pair or named as unmatched with the reason."""
    ours, theirs = layers_of(reference), layers_of(candidate)
    found: dict[int, int] = {}
    _by_key(ours, theirs, found, lambda node: set(node.names))
    _by_key(ours, theirs, found, lambda node: {_normalised(name) for name in node.names})
    _by_structure(ours, theirs, found)
    pairs = [Pair(ours[a], theirs[b]) for b, a in sorted(found.items())]
    taken = set(found.values())
    return Matching(
        pairs=tuple(pairs),
        unmatched=tuple(_explain(node, ours, "reference") for node in theirs if node.order not in found),
        unmatched_reference=tuple(_explain(node, theirs, "candidate") for node in ours if node.order not in taken),
    )


def layers_of(facts: ModelFacts) -> list[Node]:
    """The layers of a model in execution order, each with all names it goes by."""
    nodes: list[Node] = []
    by_tensor: dict[int, Node] = {}
    for op_index, tensor in layer_tensors(facts):
        op = facts.ops[op_index]
        if op.name in TRANSPARENT:
            source = by_tensor.get(op.inputs[0]) if op.inputs else None
            if source is not None:
                by_tensor[tensor.index] = source
                source.names.add(tensor.name)
            continue
        node = Node(len(nodes), op.name, op_index, tensor, {tensor.name})
        by_tensor[tensor.index] = node
        nodes.append(node)
    return nodes


def _by_key(
    ours: Sequence[Node],
    theirs: Sequence[Node],
    found: dict[int, int],
    keys: Callable[[Node], set[Hashable] | set[str]],
) -> None:
    """Pairs what shares a key that is unique on both sides; `found` maps candidate to reference."""
    taken = set(found.values())
    left = _unique({node.order: keys(node) for node in ours if node.order not in taken})
    right = _unique({node.order: keys(node) for node in theirs if node.order not in found})
    for key, order in right.items():
        other = left.get(key)
        if other is None or order in found or other in taken:
            continue
        if ours[other].tensor.shape == theirs[order].tensor.shape:
            found[order] = other
            taken.add(other)


def _unique(keys: dict[int, set[Hashable] | set[str]]) -> dict[Hashable, int]:
    count = Counter(key for own in keys.values() for key in own)
    return {key: order for order, own in keys.items() for key in own if count[key] == 1}


def _normalised(name: str) -> Hashable:
    return frozenset(_SUFFIX.sub("", part) for part in name.split(";") if part)


def _by_structure(ours: Sequence[Node], theirs: Sequence[Node], found: dict[int, int]) -> None:
    """Aligns op types and shapes inside each gap between layers that are matched in the same order."""
    edges = [(-1, -1), *_anchors(found), (len(ours), len(theirs))]
    for (a_low, b_low), (a_high, b_high) in pairwise(edges):
        taken = set(found.values())
        left = [node for node in ours[a_low + 1 : a_high] if node.order not in taken]
        right = [node for node in theirs[b_low + 1 : b_high] if node.order not in found]
        matcher = SequenceMatcher(None, [_kind(n) for n in left], [_kind(n) for n in right], autojunk=False)
        for block in matcher.get_matching_blocks():
            for step in range(block.size):
                found[right[block.b + step].order] = left[block.a + step].order


def _anchors(found: dict[int, int]) -> list[tuple[int, int]]:
    """Matched (reference, candidate) orders that rise on both sides."""
    anchors: list[tuple[int, int]] = []
    for b, a in sorted(found.items()):
        if not anchors or a > anchors[-1][0]:
            anchors.append((a, b))
    return anchors


def _kind(node: Node) -> tuple[str, tuple[int, ...]]:
    return node.op, node.tensor.shape


def _explain(node: Node, others: Sequence[Node], side: str) -> Unmatched:
    same = next((other for other in others if other.names & node.names), None)
    if same is not None and same.tensor.shape != node.tensor.shape:
        reason = f"its shape {list(node.tensor.shape)} is {list(same.tensor.shape)} in the {side}"
    else:
        reason = f"the {side} has no {node.op} of the shape {list(node.tensor.shape)} at this place"
    return Unmatched(node.tensor.name, node.op, node.op_index, reason)
