"""What a matching of two models is: the layers that are the same, and why the others have no partner."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from windtunnel.diagnosis.findings.coverage import Unmatched
from windtunnel.diagnosis.graph.fused_layers import FusedLayer, FusedModel
from windtunnel.tflite import TensorFacts
from windtunnel.tflite.op_kinds import SHAPING
from windtunnel.tflite.paired_ends import pair_inputs


@dataclass(frozen=True, slots=True)
class Node:
    """A layer: an op's output tensor."""

    op: str
    op_index: int
    tensor: TensorFacts


@dataclass(frozen=True, slots=True)
class Pair:
    """The same layer in both models.

    `permutation` takes the reference's dimensions to the candidate's order (numpy.transpose), None where it is the
    same. `by` says what paired them: structure or values.
    """

    reference: Node
    candidate: Node
    permutation: tuple[int, ...] | None = None
    by: str = "structure"


@dataclass(frozen=True, slots=True)
class Matching:
    """Pairs in the candidate's execution order, what is left on either side, and the steps that are the same.

    `written_out` are orders of the candidate's steps where one side has an activation op, and the other perhaps several
    ops in its place: these steps are the same up to the activation.
    """

    reference: FusedModel = field(repr=False)
    candidate: FusedModel = field(repr=False)
    pairs: tuple[Pair, ...]
    unmatched: tuple[Unmatched, ...]
    unmatched_reference: tuple[Unmatched, ...]
    fused: tuple[tuple[FusedLayer, FusedLayer], ...] = ()
    written_out: frozenset[int] = frozenset()

    def set_aside(self, reference: Mapping[int, str], candidate: Mapping[int, str]) -> Matching:
        """The matching without the pairs of some tensors, which become unmatched.

        Args:
            reference: reasons by tensor index of the reference.
            candidate: reasons by tensor index of the candidate.

        Returns:
            The matching.
        """
        pairs, left = [], []
        for pair in self.pairs:
            why = candidate.get(pair.candidate.tensor.index) or reference.get(pair.reference.tensor.index)
            if why is None:
                pairs.append(pair)
            else:
                node = pair.candidate
                left.append(Unmatched(node.tensor.name, node.op, node.op_index, why))
        return replace(self, pairs=tuple(pairs)).with_unmatched(left)

    def with_unmatched(self, left: Iterable[Unmatched]) -> Matching:
        """The matching with more layers that have no partner.

        Args:
            left: layers of the candidate.

        Returns:
            The matching.
        """
        return replace(self, unmatched=tuple(sorted((*self.unmatched, *left), key=lambda one: one.op_index)))

    @property
    def lacking(self) -> int:
        """How many steps of the reference that compute something are in no pair, by structure or by values."""
        left = {
            self.reference.by_op[one.op_index].order
            for one in self.unmatched_reference
            if one.op_index in self.reference.by_op
        }
        paired = {layer.order for layer, _ in self.fused}
        return sum(self.reference.fused[order].kind not in SHAPING for order in left - paired)

    def same_values(self) -> dict[int, int]:
        """The reference's tensor by the candidate's: inputs of the models and outputs of steps, as steps read them."""
        reference, candidate = self.reference, self.candidate
        found = {
            candidate_layer.index: reference_layer.index
            for reference_layer, candidate_layer in pair_inputs(reference.facts, candidate.facts)
        }
        for reference_layer, candidate_layer in self.fused:
            if candidate_layer.order in self.written_out:
                found[candidate.facts.ops[candidate_layer.work].outputs[0]] = reference.facts.ops[
                    reference_layer.work
                ].outputs[0]
            elif candidate_layer.kind not in SHAPING:
                found |= {
                    candidate.root(b): reference.root(a)
                    for a, b in zip(reference_layer.outputs, candidate_layer.outputs, strict=False)
                }
        return found

    def same_outputs(self) -> dict[int, int]:
        """The reference's output by the candidate's, where each gives one value; others are left out."""
        same, reference, candidate = self.same_values(), self.reference, self.candidate
        roots: dict[int, list[int]] = {}
        for index in reference.facts.main.output_indices:
            roots.setdefault(reference.root(index), []).append(index)
        found = {}
        for index in candidate.facts.main.output_indices:
            values = roots.get(same.get(candidate.root(index), -1), [])
            if len(values) == 1:
                found[index] = values[0]
        return found


def matching_of(
    reference: FusedModel,
    candidate: FusedModel,
    fused_layers: Sequence[tuple[FusedLayer, FusedLayer]],
    pairs: Sequence[Pair],
    written_out: frozenset[int] = frozenset(),
) -> Matching:
    """The matching that some pairs make.

    Args:
        reference: the reference model.
        candidate: the candidate model.
        fused_layers: matched layers.
        pairs: matched tensors.
        written_out: ops of the candidate that are a layer together with others.

    Returns:
        The matching.
    """
    ordered = sorted(pairs, key=lambda pair: (pair.candidate.op_index, pair.candidate.tensor.index))
    a = {pair.reference.tensor.index for pair in ordered}
    b = {pair.candidate.tensor.index for pair in ordered}
    partners = (
        {layer.order: other for other, layer in fused_layers},
        {layer.order: other for layer, other in fused_layers},
    )
    return Matching(
        pairs=tuple(ordered),
        unmatched=_unmatched(candidate, reference, b, partners[0], "reference"),
        unmatched_reference=_unmatched(reference, candidate, a, partners[1], "candidate"),
        fused=tuple(fused_layers),
        written_out=written_out,
        reference=reference,
        candidate=candidate,
    )


def _unmatched(
    side: FusedModel, other: FusedModel, paired: set[int], partners: Mapping[int, FusedLayer], name: str
) -> tuple[Unmatched, ...]:
    found = []
    for index, (op, tensor) in side.layers.items():
        if index not in paired:
            layer = side.by_op.get(op)
            reason = _reason(side, other, layer, index, partners, name)
            inside = layer is not None and layer.order in partners and index not in layer.outputs
            found.append(Unmatched(tensor.name, side.facts.ops[op].name, op, reason, inside))
    return tuple(found)


def _reason(
    side: FusedModel,
    other: FusedModel,
    layer: FusedLayer | None,
    tensor: int,
    partners: Mapping[int, FusedLayer],
    name: str,
) -> str:
    if layer is not None and layer.order in partners:
        partner = partners[layer.order]
        shapes = [list(one.facts.tensors[s.outputs[0]].shape) for one, s in ((side, layer), (other, partner))]
        if tensor in layer.outputs and shapes[0] != shapes[1]:
            return f"its shape {shapes[0]} is {shapes[1]} in the {name}"
        inside = other.facts.ops[partner.work]
        return f"the {name} computes it inside {inside.name} {other.facts.tensors[partner.outputs[0]].name!r}"
    op = side.facts.ops[side.layers[tensor][0]]
    shape = list(side.facts.tensors[tensor].shape)
    if op.name in SHAPING:
        return f"it only moves values, and the {name} has no {op.name} to {shape} at this place"
    same = [one for _, one in other.layers.values() if one.name == side.facts.tensors[tensor].name]
    if same and list(same[0].shape) != shape:
        return f"its shape {shape} is {list(same[0].shape)} in the {name}"
    return f"the {name} has no {op.name} of the shape {shape} at this place"


def node(side: FusedModel, tensor: int) -> Node:
    """The layer that a tensor is.

    Args:
        side: the model.
        tensor: index.

    Returns:
        Op and tensor.
    """
    op, facts = side.layers[tensor]
    return Node(side.facts.ops[op].name, op, facts)


def with_layout(pair: Pair) -> Pair | None:
    """The pair with the order of the candidate's dimensions.

    Args:
        pair: of tensors.

    Returns:
        None if the sizes differ.
    """
    reference_shape, candidate_shape = pair.reference.tensor.shape, pair.candidate.tensor.shape
    if reference_shape == candidate_shape:
        return pair
    if math.prod(reference_shape) != math.prod(candidate_shape):
        return None
    return replace(pair, permutation=next(iter(permutations(reference_shape, candidate_shape)), None))


def permutations(reference_shape: Sequence[int], candidate_shape: Sequence[int]) -> list[tuple[int, ...]]:
    """Every order of dimensions that gives the reference's shape the candidate's.

    Args:
        reference_shape: sizes.
        candidate_shape: sizes.

    Returns:
        Channels last and channels first come first; empty if the sizes differ.
    """
    if sorted(reference_shape) != sorted(candidate_shape):
        return []
    found: list[tuple[int, ...]] = [()]
    for size in candidate_shape:
        found = [
            (*one, axis)
            for one in found
            for axis, width in enumerate(reference_shape)
            if width == size and axis not in one
        ]
    usual = {(0, 3, 1, 2): 0, (0, 2, 3, 1): 1, tuple(range(len(reference_shape))): -1}
    return sorted(found, key=lambda one: usual.get(one, 2))
