"""Parts of two graphs between tensors that are the same in both."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from windtunnel.diagnosis.graph import match_layers
from windtunnel.diagnosis.thresholds.minimal_thresholds import MOST_GROWTH
from windtunnel.tflite import GraphFacts, ModelFacts
from windtunnel.tflite.paired_ends import pair_inputs


@dataclass(frozen=True, slots=True)
class Boundary:
    """A tensor, by its index in both models. `permutation` takes the reference's dimensions to the candidate's."""

    reference: int
    candidate: int
    permutation: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Region:
    """What lies between `inputs` and `output`: ops of either model by index, in execution order."""

    inputs: tuple[Boundary, ...]
    output: Boundary
    reference_ops: tuple[int, ...]
    candidate_ops: tuple[int, ...]


def boundaries_of(reference: ModelFacts, candidate: ModelFacts) -> list[Boundary]:
    """The layers that both models have, by structure.

    Args:
        reference: the reference model.
        candidate: the candidate model.

    Returns:
        Pairs of tensors.

    Raises:
        InvalidInput: the inputs cannot be paired.
    """
    pairs = match_layers(reference, candidate).pairs
    return [Boundary(pair.reference.tensor.index, pair.candidate.tensor.index, pair.permutation) for pair in pairs]


def regions(
    reference: ModelFacts, candidate: ModelFacts, boundaries: Sequence[Boundary], culprit: int
) -> Iterator[Region]:
    """Regions that have an op, smallest first, each at most once.

    The first ends at the first shared tensor that depends on the op and begins at the nearest shared ones before it.
    Then each side grows, one shared tensor at a time; the last begins at the graphs' inputs.

    Args:
        reference: the reference model.
        candidate: the candidate model.
        boundaries: the shared tensors.
        culprit: the candidate's op index.

    Yields:
        Each region.
    """
    inputs = [
        Boundary(reference_input.index, candidate_input.index)
        for reference_input, candidate_input in pair_inputs(reference, candidate)
    ]
    shared = [*inputs, *boundaries]
    downstream = _after(candidate.main, culprit)
    makers = {index: op.index for op in candidate.ops for index in op.outputs}
    ends = sorted((one for one in boundaries if one.candidate in downstream), key=lambda one: makers[one.candidate])
    seen: set[Region] = set()
    for total in range(2 * MOST_GROWTH):
        for back in range(total + 1):
            if total - back < min(len(ends), MOST_GROWTH) and back < MOST_GROWTH:
                yield from _new(_region(reference, candidate, shared, inputs, ends[total - back], back), culprit, seen)
    for end in (*ends[:1], *ends[-1:]):
        yield from _new(_between(reference, candidate, inputs, end), culprit, seen)


def _new(region: Region | None, culprit: int, seen: set[Region]) -> Iterator[Region]:
    if region is not None and culprit in region.candidate_ops and region not in seen:
        seen.add(region)
        yield region


def _region(
    reference: ModelFacts,
    candidate: ModelFacts,
    shared: Sequence[Boundary],
    inputs: Sequence[Boundary],
    end: Boundary,
    back: int,
) -> Region | None:
    """The region that ends at `end` and begins `back` shared tensors further back than it must."""
    stops = [one for one in shared if one != end]
    region = _between(reference, candidate, stops, end)
    for _ in range(back):
        if region is None:
            return None
        passed = set(region.inputs) - set(inputs)
        if not passed:
            return None
        stops = [one for one in stops if one not in passed]
        region = _between(reference, candidate, stops, end)
    return region


def _between(reference: ModelFacts, candidate: ModelFacts, stops: Sequence[Boundary], end: Boundary) -> Region | None:
    """What `end` depends on up to the first of `stops` on each path, in both models."""
    ops, met = _before(reference.main, end.reference, {one.reference for one in stops})
    candidate_ops, touched = _before(candidate.main, end.candidate, {one.candidate for one in stops})
    used = tuple(one for one in stops if one.reference in met or one.candidate in touched)
    if not ops or not candidate_ops:
        return None
    return Region(used, end, tuple(ops), tuple(candidate_ops))


def _before(graph: GraphFacts, end: int, stops: Collection[int]) -> tuple[list[int], set[int]]:
    """(ops that compute `end` from `stops`, in execution order; the stops that they read)."""
    wanted, ops, met = {end}, [], set()
    for op in reversed(graph.ops):
        if wanted.isdisjoint(op.outputs):
            continue
        ops.append(op.index)
        for index in op.inputs:
            if index in stops:
                met.add(index)
            elif index >= 0:
                wanted.add(index)
    return ops[::-1], met


def _after(graph: GraphFacts, culprit: int) -> set[int]:
    """Tensors that depend on an op, its own outputs among them."""
    found = set(graph.ops[culprit].outputs)
    for op in graph.ops[culprit + 1 :]:
        if not found.isdisjoint(op.inputs):
            found.update(op.outputs)
    return found - graph.fixed
