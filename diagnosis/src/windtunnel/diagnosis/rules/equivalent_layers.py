"""Layers with other values at the same place, while everything that reads them agrees: another way to write it.

A sum adds its bias first or last, a sigmoid is a hyperbolic tangent of half the value: structure pairs what is in the
same place. An error does not vanish after its layer, but with coarse numbers it may look so. Then something must
explain it: a layer that only one of the models has, an op that cuts values off, or a mask of extreme size (float16 has
no number above 65504), which a softmax reduces to nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from windtunnel.diagnosis.findings.output_diff import OutputDiff
from windtunnel.diagnosis.graph import FusedModel, Matching, Node, Pair
from windtunnel.diagnosis.graph.model_precision import is_quiet, precision_of
from windtunnel.diagnosis.numerics.layer_sums import LayerFigures
from windtunnel.diagnosis.rules.mask_scale import is_masked
from windtunnel.diagnosis.thresholds.rule_thresholds import (
    REWRITE_DIVERGES,
    REWRITE_READERS_MOST,
    REWRITE_READERS_ROUND,
    REWRITE_READERS_SHARE,
)
from windtunnel.tflite.op_kinds import CHOOSING, QUANTIZING
from windtunnel.thresholds import DEFAULT_THRESHOLD

# They cut off what may then be cut off before them too: a range that ends there holds all that counts.
_CUTTING = CHOOSING | {"RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1"}
_WHY = "its values differ, and everything that reads it agrees: the same is computed differently"


def without_rewritten(
    matching: Matching, figures: Sequence[LayerFigures], output: OutputDiff, threshold: float = DEFAULT_THRESHOLD
) -> tuple[Matching, list[LayerFigures]]:
    """The matching without pairs that diverge while everything that reads them agrees.

    Args:
        matching: the two models.
        figures: those of the matching's pairs, in their order.
        output: how the outputs compare. If they show nothing, a layer that diverges has no effect, however coarse the
            numbers are.
        threshold: nRMSE above which a layer diverges.

    Returns:
        The matching and the figures without these pairs.
    """
    rewritten = _rewritten(matching, figures, output, threshold)
    layers = tuple(
        (reference, candidate)
        for reference, candidate in matching.fused
        if not rewritten.intersection(candidate.outputs)
    )
    left = [
        one for pair, one in zip(matching.pairs, figures, strict=True) if pair.candidate.tensor.index not in rewritten
    ]
    return replace(matching.set_aside({}, dict.fromkeys(rewritten, _WHY)), fused=layers), left


def _rewritten(
    matching: Matching, figures: Sequence[LayerFigures], output: OutputDiff, threshold: float
) -> frozenset[int]:
    """The candidate's tensors of the pairs that are equivalent rewrites."""
    drift = {pair.candidate.tensor.index: one.nrmse for pair, one in zip(matching.pairs, figures, strict=True)}
    precision = precision_of(matching)
    exact, quiet = precision == "float32", is_quiet(output, precision)
    # An equivalent rewrite has other ops.
    other_ops = _kinds(matching.reference) != _kinds(matching.candidate)
    by_reference = {pair.reference.tensor.index: pair for pair in matching.pairs}
    by_candidate = {pair.candidate.tensor.index: pair for pair in matching.pairs}
    found: set[int] = set()
    # The last ones first: what only moves their values is between them and what agrees.
    for pair in reversed(matching.pairs):
        error = drift[pair.candidate.tensor.index]
        if error is None or error < REWRITE_DIVERGES:
            continue
        behind, alone = _behind(matching.candidate, pair.candidate, by_candidate)
        other, other_alone = _behind(matching.reference, pair.reference, by_reference)
        readers = [output.nrmse if index is None else drift[index] for index in behind | other]
        shows_nothing = quiet and error > threshold and (other_ops or is_masked(matching.reference, pair.reference))
        if not readers or not (exact or alone or other_alone or shows_nothing):
            continue
        limit = REWRITE_READERS_ROUND if exact else min(REWRITE_READERS_SHARE * error, REWRITE_READERS_MOST)
        if all(one is not None and one < limit for one in readers):
            found.add(pair.candidate.tensor.index)
            del by_reference[pair.reference.tensor.index], by_candidate[pair.candidate.tensor.index]
    return frozenset(found)


def _kinds(side: FusedModel) -> Counter[str]:
    """How many ops of each kind a model has, but for those that only restate a value."""
    return Counter(op.name for op in side.facts.ops if op.name not in QUANTIZING)


def _behind(side: FusedModel, node: Node, pairs: Mapping[int, Pair]) -> tuple[set[int | None], bool]:
    """The pairs that read a layer, past layers without one, and whether there are such layers, or ops that cut off.

    Pairs by the candidate's tensor; None: an output of the model.
    """
    found: set[int | None] = set()
    readers = side.readers[node.tensor.index]
    cut = bool(readers) and all(op.name in _CUTTING for op in readers)
    left, seen = [node.tensor.index], {node.tensor.index}
    while left:
        tensor = left.pop()
        if tensor in side.facts.main.output_indices:
            found.add(None)
        for index in (index for op in side.readers[tensor] for index in op.outputs if index >= 0):
            if index in pairs:
                found.add(pairs[index].candidate.tensor.index)
            elif index not in seen:
                seen.add(index)
                left.append(index)
    return found, cut or len(seen) > 1
