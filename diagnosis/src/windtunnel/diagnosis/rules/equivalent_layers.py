"""Layers that hold another value at the same place, while all that reads them agrees: another way to write it.

A sum adds its bias first or last, a sigmoid is a hyperbolic tangent of half the value: structure pairs what stands in
the same place. An error does not vanish behind its layer. Where numbers are coarse it may look so: there, what makes up
for it must be seen: a layer that stands alone in one of the models, an op that cuts values off, or a mask of extreme
size (float16 holds no more than 65504), of which a softmax makes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from windtunnel.diagnosis.findings.comparison import OutputDiff
from windtunnel.diagnosis.graph import FusedModel, Matching, Node, Pair
from windtunnel.diagnosis.graph.fused_layers import TRANSPARENT
from windtunnel.diagnosis.graph.model_precision import is_quiet, precision_of
from windtunnel.diagnosis.numerics.layer_sums import LayerFigures
from windtunnel.diagnosis.rules.mask_scale import is_masked
from windtunnel.thresholds import DEFAULT_THRESHOLD

# They cut off what may then be cut off before them too: a range that ends there holds all that counts.
_CUTTING = frozenset({"MAXIMUM", "MINIMUM", "RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1"})
# A layer departs from this nRMSE on. What reads it agrees where float32 rounds as much; where numbers are coarser, if
# it has less than this share of the layer's own nRMSE, and no more than precision makes.
_DEPARTS, _ROUNDED = 1e-3, 1e-5
_SHARE, _COARSE = 0.05, 0.03
_WHY = "it holds another value, and all that reads it agrees: the same is computed in another way"


def without_rewritten(
    matching: Matching, figures: Sequence[LayerFigures], output: OutputDiff, threshold: float = DEFAULT_THRESHOLD
) -> tuple[Matching, list[LayerFigures]]:
    """The matching without pairs that depart where everything behind them agrees, and the figures of the others.

    `figures` are those of its pairs, `output` those of the outputs: where they show nothing, a layer over the threshold
    has no effect, however coarse the numbers are.
    """
    reference, candidate = matching.reference, matching.candidate
    drift = {pair.candidate.tensor.index: one.nrmse for pair, one in zip(matching.pairs, figures, strict=True)}
    precision = precision_of(matching)
    exact = precision == "float32"
    quiet = is_quiet(output, precision)
    # Another way to write the same takes other ops.
    other_ops = _kinds(reference) != _kinds(candidate)
    by_own = {pair.reference.tensor.index: pair for pair in matching.pairs}
    by_mine = {pair.candidate.tensor.index: pair for pair in matching.pairs}
    apart: list[Pair] = []
    # The last ones first: what only moves their values stands between them and what agrees.
    for pair in reversed(matching.pairs):
        reference_layer = drift[pair.candidate.tensor.index]
        if reference_layer is None or reference_layer < _DEPARTS:
            continue
        behind, alone = _behind(candidate, pair.candidate, by_mine)
        other, other_alone = _behind(reference, pair.reference, by_own)
        errors = [output.nrmse if index is None else drift[index] for index in behind | other]
        shows_nothing = quiet and reference_layer > threshold and (other_ops or is_masked(reference, pair.reference))
        if not errors or not (exact or alone or other_alone or shows_nothing):
            continue
        limit = _ROUNDED if exact else min(_SHARE * reference_layer, _COARSE)
        if all(error is not None and error < limit for error in errors):
            apart.append(pair)
            del by_own[pair.reference.tensor.index], by_mine[pair.candidate.tensor.index]
    made = {pair.candidate.tensor.index for pair in apart}
    fused_layers = tuple(
        (reference_layer, candidate_layer)
        for reference_layer, candidate_layer in matching.fused
        if not made.intersection(candidate_layer.outputs)
    )
    left = [one for pair, one in zip(matching.pairs, figures, strict=True) if pair.candidate.tensor.index not in made]
    return replace(matching.set_aside({}, dict.fromkeys(made, _WHY)), fused=fused_layers), left


def _kinds(side: FusedModel) -> Counter[str]:
    """How many ops of each kind a model has, but for those that only restate a value."""
    return Counter(op.name for op in side.facts.ops if op.name not in TRANSPARENT)


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
