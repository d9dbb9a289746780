"""The last word on which layer is which: the values of a few samples.

Structure pairs what two converters wrote the same way. What it leaves (an op split into several, or several made one)
and what it cannot decide (the order of dimensions of one size) shows in the values.

Native code runs here: call it as a job of `windtunnel.isolation.ChildPool`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.feeding.paired_inputs import translate
from windtunnel.diagnosis.findings.coverage import Unmatched
from windtunnel.diagnosis.graph import FusedModel, Matching, Node, Pair
from windtunnel.diagnosis.graph.matching import node, permutations
from windtunnel.diagnosis.thresholds.execution_thresholds import (
    CLEARLY_SAME_VALUES,
    MATCHED_LEAST_VALUES,
    MATCHED_MOST_VALUES,
    MATCHED_ORDERS,
    MATCHED_ROUNDING,
    MATCHING_SAMPLES,
    SAME_VALUES,
)
from windtunnel.tflite import Runner, dequantize
from windtunnel.tflite.op_kinds import SHAPING
from windtunnel.tflite.tensor_error import nrmse_of

Array = NDArray[np.float64]

# So many values are kept of a sample, so as not to read them again for every rival.
_HELD = 20_000_000


def match_by_values(
    matching: Matching,
    reference: Runner,
    candidate: Runner,
    samples: Iterable[Mapping[str, NDArray[Any]]],
    hidden: tuple[Collection[int], Collection[int]] = ((), ()),
) -> Matching:
    """Pairs left-over layers whose values agree on every sample, and decides unclear orders of dimensions.

    Args:
        matching: by structure.
        reference: with all tensors preserved.
        candidate: with all tensors preserved.
        samples: the reference's inputs; the first few are run.
        hidden: tensors of the reference and of the candidate that the runtime does not compute or show.

    Returns:
        The matching with more pairs.
    """
    reference_model, candidate_model = matching.reference, matching.candidate
    moved = _transposes(reference_model) != _transposes(candidate_model)
    unclear = [pair for pair in matching.pairs if len(_orders(pair, moved)) > 1]
    paired = {pair.candidate.tensor.index for pair in matching.pairs}
    left = _open(candidate_model, [one.op_index for one in matching.unmatched], paired.union(hidden[1]))
    if not unclear and not left:
        return matching
    taken = {pair.reference.tensor.index: pair for pair in matching.pairs}
    rivals = _open(reference_model, [op for op, _ in reference_model.layers.values()], set(hidden[0]))
    trials = [_Trial(pair.reference, pair.candidate, order) for pair in unclear for order in _orders(pair, moved)]
    trials += [
        _Trial(one, candidate_layer, order)
        for candidate_layer in left
        for one in rivals
        for order in [None, *_permuted(one, candidate_layer)]
        if math.prod(one.tensor.shape) == math.prod(candidate_layer.tensor.shape)
    ]
    for sample in islice(samples, MATCHING_SAMPLES):
        reference.run(sample)
        candidate.run(translate(sample, reference.facts, candidate.facts))
        _measure(trials, reference, candidate)
    ordered = _reordered(matching, unclear, trials)
    return _with_values(ordered, left, trials, taken)


@dataclass
class _Trial:
    """Whether a layer of the candidate is one of the reference, in an order of dimensions; None: the same, by size."""

    reference: Node
    candidate: Node
    order: tuple[int, ...] | None
    worst: float = 0.0

    def add(self, reference: Array, candidate: Array) -> None:
        if reference.size != candidate.size or not np.isfinite(reference).all() or not np.isfinite(candidate).all():
            self.worst = math.inf
            return
        moved = (
            reference if self.order is None or reference.ndim != len(self.order) else reference.transpose(self.order)
        )
        figure = nrmse_of(moved.ravel(), candidate.ravel())
        # A layer that is constant on a sample shows nothing.
        is_constant = figure == 0.0 and float(np.ptp(reference)) == 0.0
        self.worst = max(self.worst, math.inf if figure is None or is_constant else figure)


def _orders(pair: Pair, moved: bool) -> list[tuple[int, ...]]:
    """The orders of dimensions that a pair may have: several where sizes repeat and the layout may differ.

    `moved`: one of the models transposes where the other does not.
    """
    reference_node, candidate_node = pair.reference.tensor.shape, pair.candidate.tensor.shape
    if pair.permutation is None and (not moved or reference_node != candidate_node or len(reference_node) < 3):
        return []
    return permutations(reference_node, candidate_node)[:MATCHED_ORDERS]


def _transposes(side: FusedModel) -> int:
    return sum(op.name == "TRANSPOSE" for op in side.facts.ops)


def _permuted(one: Node, candidate_node: Node) -> list[tuple[int, ...]]:
    reference_node, other = one.tensor.shape, candidate_node.tensor.shape
    return (
        []
        if reference_node == other or len(reference_node) < 3
        else permutations(reference_node, other)[:MATCHED_ORDERS]
    )


def _open(side: FusedModel, ops: Sequence[int], paired: set[int]) -> list[Node]:
    """Layers of these ops that compute numbers and are in no pair."""
    wanted = set(ops)
    return [
        node(side, index)
        for index, (op, tensor) in side.layers.items()
        if op in wanted
        and index not in paired
        and side.facts.ops[op].name not in SHAPING
        and (tensor.quantization is not None or tensor.dtype.startswith("float"))
        and MATCHED_LEAST_VALUES <= abs(math.prod(tensor.shape)) <= MATCHED_MOST_VALUES
    ]


def _measure(trials: Sequence[_Trial], reference: Runner, candidate: Runner) -> None:
    """Adds what the last runs wrote. Arrays are copies: the runtime does not run while a view is held."""
    known: dict[tuple[int, int], Array] = {}
    held = 0
    for trial in trials:
        if trial.worst > 4.0 * SAME_VALUES:
            continue
        sides = []
        for number, (runner, tensor) in enumerate(
            ((reference, trial.reference.tensor), (candidate, trial.candidate.tensor))
        ):
            key = number, tensor.index
            values = known.get(key)
            if values is None:
                values = dequantize(runner.view(tensor.index), tensor.quantization)
                held += values.size
                if held <= _HELD:
                    known[key] = values
            sides.append(values)
        trial.add(sides[0], sides[1])


def _reordered(matching: Matching, unclear: Sequence[Pair], trials: Sequence[_Trial]) -> Matching:
    """The matching with the order of dimensions that fits best, where it fits much better than the usual one."""
    best: dict[int, tuple[int, ...] | None] = {}
    for pair in unclear:
        index = pair.candidate.tensor.index
        own = [one for one in trials if one.candidate.tensor.index == index and one.order is not None]
        plain = tuple(range(len(pair.candidate.tensor.shape)))
        usual = next((one.worst for one in own if one.order == (pair.permutation or plain)), math.inf)
        finest = min(own, key=lambda one: one.worst)
        if finest.worst * CLEARLY_SAME_VALUES < usual:
            best[index] = None if finest.order == plain else finest.order
    pairs = tuple(
        replace(pair, permutation=best[pair.candidate.tensor.index], by="values")
        if pair.candidate.tensor.index in best
        else pair
        for pair in matching.pairs
    )
    return replace(matching, pairs=pairs)


def _with_values(
    matching: Matching, left: Sequence[Node], trials: Sequence[_Trial], taken: Mapping[int, Pair]
) -> Matching:
    """The matching with pairs of equal values; layers that only repeat a paired one have that as the reason."""
    close = sorted(
        (one for one in trials if one.candidate in left and one.worst <= SAME_VALUES), key=lambda one: one.worst
    )
    pairs, reasons = list(matching.pairs), dict[tuple[int, str], str]()
    used, done = set(taken), set[int]()
    for one in close:
        if one.candidate.tensor.index in done:
            continue
        if one.reference.tensor.index in used:
            twin = next(p.candidate.tensor for p in pairs if p.reference.tensor.index == one.reference.tensor.index)
            reasons.setdefault(
                (one.candidate.op_index, one.candidate.tensor.name), f"it repeats the values of {twin.name!r}"
            )
        elif not any(_rivals(one, other, used) for other in close):
            pairs.append(Pair(one.reference, one.candidate, one.order, "values"))
            used.add(one.reference.tensor.index)
        done.add(one.candidate.tensor.index)
    now = {pair.candidate.tensor.index for pair in pairs}
    names = {(pair.reference.op_index, pair.reference.tensor.name) for pair in pairs}
    index = {(op, tensor.name): place for place, (op, tensor) in matching.candidate.layers.items()}
    return replace(
        matching,
        pairs=tuple(sorted(pairs, key=lambda pair: (pair.candidate.op_index, pair.candidate.tensor.index))),
        unmatched=tuple(
            _explained(one, reasons) for one in matching.unmatched if index.get((one.op_index, one.name), -1) not in now
        ),
        unmatched_reference=tuple(one for one in matching.unmatched_reference if (one.op_index, one.name) not in names),
    )


def _rivals(one: _Trial, other: _Trial, used: set[int]) -> bool:
    """Whether another free layer of the reference agrees almost as well with the same layer of the candidate."""
    free = other.reference.tensor.index not in used and other.reference != one.reference
    return (
        other.candidate == one.candidate and free and other.worst <= CLEARLY_SAME_VALUES * one.worst + MATCHED_ROUNDING
    )


def _explained(one: Unmatched, reasons: Mapping[tuple[int, str], str]) -> Unmatched:
    why = reasons.get((one.op_index, one.name))
    return one if why is None else replace(one, reason=why)
