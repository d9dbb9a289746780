"""Which layer of the reference a layer of the candidate is.

Names come late: converters rename, and a name says nothing about what is computed. First come layers whose weights are
the same up to a factor per channel. From these and from the inputs the matching spreads along the graph: forward to
readers of the same values, and backward to their makers. Then come equal names, then the order of what is left between
matched layers. Last, `execution.match_by_values` looks at the values of a few samples. It pairs what no rule did, and
finds the order of the dimensions if the two models lay them out differently.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import pairwise

from windtunnel.diagnosis.graph.fused_layers import FusedLayer, FusedModel
from windtunnel.diagnosis.graph.matching import Matching, Pair, matching_of, node, with_layout
from windtunnel.diagnosis.graph.weight_fingerprint import Fingerprints
from windtunnel.diagnosis.thresholds.graph_thresholds import SAME_WEIGHTS, SAME_WEIGHTS_MARGIN
from windtunnel.tflite import ModelFacts, TensorFacts
from windtunnel.tflite.op_kinds import SHAPING
from windtunnel.tflite.paired_ends import pair_inputs

_SUFFIX = re.compile(r"(_quantized|_dequant|_requant)+(_\d+)?$")


def match_layers(reference: ModelFacts, candidate: ModelFacts, *, names_first: bool = False) -> Matching:
    """Matches two models by structure; every layer is in a pair, or unmatched with the reason.

    Args:
        reference: the reference model.
        candidate: the candidate model.
        names_first: what has the same name is the same layer, whatever its weights are.

    Returns:
        The matching.

    Raises:
        InvalidInput: the inputs cannot be paired.
    """
    reference_model, candidate_model = FusedModel(reference), FusedModel(candidate)
    matcher = _Matcher(reference_model, candidate_model)
    found = matcher.match(names_first=names_first)
    fused_layers = tuple((reference_model.fused[a], candidate_model.fused[b]) for b, a in sorted(found.items()))
    written_out = frozenset(
        candidate_layer.order
        for reference_layer, candidate_layer in fused_layers
        if _is_written_out(reference_layer, candidate_model, candidate_layer, set(found))
        or _is_written_out(candidate_layer, reference_model, reference_layer, set(found.values()))
    )
    return matching_of(
        reference_model,
        candidate_model,
        fused_layers,
        _pairs(reference_model, candidate_model, fused_layers, written_out),
        written_out,
    )


def _is_written_out(fused: FusedLayer, side: FusedModel, bare: FusedLayer, known: set[int]) -> bool:
    """Whether the activation op of one step may be several ops on the other side, none of which is in a pair."""
    if fused.activation_op < 0 or fused.affine or bare.activation != "NONE" or bare.affine:
        return False
    readers = [layer for index in bare.outputs for layer in side.reading(side.root(index)) if layer.kind not in SHAPING]
    return bool(readers) and all(layer.order not in known for layer in readers)


class _Matcher:
    """Pairs steps: `found` maps orders of the candidate's steps to those of the reference.

    Args:
        reference: the reference model.
        candidate: the candidate model.
    """

    def __init__(self, reference: FusedModel, candidate: FusedModel) -> None:
        self.reference, self.candidate = reference, candidate
        self.found: dict[int, int] = {}
        self.taken: set[int] = set()
        self.tensors: dict[int, int] = {
            candidate_layer.index: reference_layer.index
            for reference_layer, candidate_layer in pair_inputs(reference.facts, candidate.facts)
        }
        self.prints = Fingerprints(reference), Fingerprints(candidate)

    def match(self, *, names_first: bool = False) -> dict[int, int]:
        if names_first:
            self._by_name()
        self._spread()
        self._by_weights()
        self._spread()
        self._by_name()
        self._spread(guess=True)
        self._by_order()
        self._spread(guess=True, changed=True)
        return self.found

    def _pair(self, reference_layer: FusedLayer, candidate_layer: FusedLayer) -> None:
        self.found[candidate_layer.order] = reference_layer.order
        self.taken.add(reference_layer.order)
        if candidate_layer.kind not in SHAPING:
            for a, b in zip(reference_layer.outputs, candidate_layer.outputs, strict=False):
                self.tensors[self.candidate.root(b)] = self.reference.root(a)

    def _by_weights(self) -> None:
        """FusedModel whose weights agree much better with each other than with any other step's."""
        left = [layer for layer in self.reference.fused if layer.order not in self.taken]
        right = [layer for layer in self.candidate.fused if layer.order not in self.found]
        best: dict[int, tuple[float, float, int]] = {}
        scores = {
            (reference_layer.order, candidate_layer.order): self._likeness(reference_layer, candidate_layer)
            for candidate_layer in right
            for reference_layer in left
            if reference_layer.kind == candidate_layer.kind
        }
        for (a, b), score in scores.items():
            first, second, at = best.get(b, (0.0, 0.0, -1))
            if score > first:
                best[b] = (score, first, a)
            elif score > second:
                best[b] = (first, score, at)
        claims = Counter(a for score, _, a in best.values() if score >= SAME_WEIGHTS)
        for b, (score, second, a) in best.items():
            if score >= SAME_WEIGHTS and score - second >= SAME_WEIGHTS_MARGIN and claims[a] == 1:
                self._pair(self.reference.fused[a], self.candidate.fused[b])

    def _spread(self, *, guess: bool = False, changed: bool = False) -> None:
        """Pairs steps that read the same values, and steps whose values the same steps read, until nothing is left.

        Of several that do so, those with other weights wait until `guess`: the rest may leave a single one for them.
        With `changed` another op may be in a layer's place.
        """
        more = True
        while more:
            more = False
            for candidate_layer in self.candidate.fused:
                if (
                    candidate_layer.order not in self.found
                    and (reference_layer := self._forwards(candidate_layer, guess, changed)) is not None
                ):
                    self._pair(reference_layer, candidate_layer)
                    more = True
            more |= self._backwards()

    def _forwards(self, candidate_layer: FusedLayer, guess: bool, changed: bool) -> FusedLayer | None:
        wanted = [self.tensors.get(index, -1) for index in candidate_layer.inputs]
        if not wanted or -1 in wanted:
            return None
        readers = {
            layer.order: layer
            for index in wanted
            for layer in self._readers(index)
            if layer.order not in self.taken
            and sorted(layer.inputs) == sorted(wanted)
            and self._fits(layer, candidate_layer)
        }
        same = [layer for layer in readers.values() if layer.kind == candidate_layer.kind]
        if same:
            unsure = not guess and len(same) + len(self._rivals(candidate_layer)) > 1
            return self._same_weights(same, candidate_layer) if unsure else self._closest(same, candidate_layer)
        others = [layer for layer in readers.values() if self._stands_for(layer, candidate_layer)]
        return others[0] if changed and len(others) == 1 else None

    def _rivals(self, candidate_layer: FusedLayer) -> list[FusedLayer]:
        """Other steps of the candidate that do the same with the same values and are in no pair."""
        return [
            layer
            for layer in self._readers_of(self.candidate, candidate_layer.inputs[0])
            if layer.order not in {*self.found, candidate_layer.order}
            and layer.kind == candidate_layer.kind
            and sorted(layer.inputs) == sorted(candidate_layer.inputs)
            and self._shape(self.candidate, layer) == self._shape(self.candidate, candidate_layer)
        ]

    def _same_weights(self, fused_layers: Sequence[FusedLayer], candidate_layer: FusedLayer) -> FusedLayer | None:
        """The one whose weights are the same, where the others' are not, and no other step has the same claim."""
        scores = sorted(
            ((self._likeness(layer, candidate_layer), -layer.order, layer) for layer in fused_layers), reverse=True
        )
        first, _, best = scores[0]
        claims = [scores[1][0]] if len(scores) > 1 else []
        claims += [self._likeness(best, rival) for rival in self._rivals(candidate_layer)]
        return best if first >= max(SAME_WEIGHTS, max(claims, default=0.0) + SAME_WEIGHTS_MARGIN) else None

    def _closest(self, fused_layers: Sequence[FusedLayer], candidate_layer: FusedLayer) -> FusedLayer | None:
        """The most similar of several layers; the first if they do not differ."""
        if len(fused_layers) == 1:
            return fused_layers[0]
        best = max(fused_layers, key=lambda layer: self._likeness(layer, candidate_layer))
        tied = any(
            abs(self._likeness(best, one) - self._likeness(best, candidate_layer)) < SAME_WEIGHTS_MARGIN
            for one in self._rivals(candidate_layer)
        )
        if tied and len(fused_layers) == len(self._rivals(candidate_layer)) + 1:
            # Two with one layer's weights: the order in which siblings are written decides.
            place = sorted([candidate_layer.order, *(one.order for one in self._rivals(candidate_layer))]).index(
                candidate_layer.order
            )
            return sorted(fused_layers, key=lambda layer: layer.order)[place]
        names = self._names(self.candidate, candidate_layer)

        def score(layer: FusedLayer) -> tuple[float, bool, bool, bool]:
            return (
                round(self._likeness(layer, candidate_layer), 2),
                self._shape(self.reference, layer) == self._shape(self.candidate, candidate_layer),
                bool(names & self._names(self.reference, layer)),
                layer.activation == candidate_layer.activation,
            )

        return max(fused_layers, key=lambda layer: (*score(layer), -layer.order))

    def _stands_for(self, reference_layer: FusedLayer, candidate_layer: FusedLayer) -> bool:
        """Whether another op is in this place: what reads the two is of the same kinds, shaping aside."""
        kinds = [
            sorted(
                layer.kind
                for tensor in one.outputs
                for layer in self._readers_of(side, tensor)
                if layer.kind not in SHAPING
            )
            for side, one in ((self.reference, reference_layer), (self.candidate, candidate_layer))
        ]
        ends = [
            any(side.root(index) in one.outputs for index in side.facts.main.output_indices)
            for side, one in ((self.reference, reference_layer), (self.candidate, candidate_layer))
        ]
        return kinds[0] == kinds[1] and ends[0] == ends[1]

    def _backwards(self) -> bool:
        more = False
        for b, a in list(self.found.items()):
            reference_layer, candidate_layer = self.reference.fused[a], self.candidate.fused[b]
            for one, other in zip(reference_layer.inputs, candidate_layer.inputs, strict=False):
                maker, twin = self._maker(self.reference, one), self._maker(self.candidate, other)
                if maker is None or twin is None or maker.order in self.taken or twin.order in self.found:
                    continue
                if maker.kind == twin.kind and self._fits(maker, twin):
                    self._pair(maker, twin)
                    more = True
        return more

    def _by_name(self) -> None:
        """Pairs what shares a name, whole or without a quantizer's suffix, that is unique on both sides."""
        left = _unique(
            {s.order: self._names(self.reference, s) for s in self.reference.fused if s.order not in self.taken}
        )
        right = _unique(
            {s.order: self._names(self.candidate, s) for s in self.candidate.fused if s.order not in self.found}
        )
        for key, b in right.items():
            a = left.get(key)
            if a is None or b in self.found or a in self.taken:
                continue
            reference_layer, candidate_layer = self.reference.fused[a], self.candidate.fused[b]
            if reference_layer.kind == candidate_layer.kind and self._fits(reference_layer, candidate_layer):
                self._pair(reference_layer, candidate_layer)

    def _by_order(self) -> None:
        """Aligns kinds and sizes inside each gap between steps that are matched in the same order."""
        edges = [(-1, -1), *_rising(self.found), (len(self.reference.fused), len(self.candidate.fused))]
        for (a_low, b_low), (a_high, b_high) in pairwise(edges):
            left = [s for s in self.reference.fused[a_low + 1 : a_high] if s.order not in self.taken]
            right = [s for s in self.candidate.fused[b_low + 1 : b_high] if s.order not in self.found]
            kinds = [self._kind(self.reference, s) for s in left], [self._kind(self.candidate, s) for s in right]
            for block in SequenceMatcher(None, *kinds, autojunk=False).get_matching_blocks():
                for layer in range(block.size):
                    self._pair(left[block.a + layer], right[block.b + layer])

    def _fits(self, reference_layer: FusedLayer, candidate_layer: FusedLayer) -> bool:
        """Whether the two may be one layer: their outputs are of one size."""
        return len(reference_layer.outputs) == len(candidate_layer.outputs) and all(
            _size(self.reference.facts.tensors[a]) == _size(self.candidate.facts.tensors[b])
            for a, b in zip(reference_layer.outputs, candidate_layer.outputs, strict=True)
        )

    def _likeness(self, reference_layer: FusedLayer, candidate_layer: FusedLayer) -> float:
        return self.prints[0].likeness(reference_layer, self.prints[1], candidate_layer)

    def _readers(self, root: int) -> list[FusedLayer]:
        return self._readers_of(self.reference, root)

    @staticmethod
    def _readers_of(side: FusedModel, tensor: int) -> list[FusedLayer]:
        return side.reading(side.root(tensor))

    @staticmethod
    def _maker(side: FusedModel, tensor: int) -> FusedLayer | None:
        op = side.makers.get(tensor)
        return None if op is None else side.by_op.get(op.index)

    @staticmethod
    def _names(side: FusedModel, layer: FusedLayer) -> set[Hashable]:
        return {normalized(side.facts.tensors[index].name) for index in layer.outputs}

    @staticmethod
    def _shape(side: FusedModel, layer: FusedLayer) -> tuple[int, ...]:
        return side.facts.tensors[layer.outputs[0]].shape

    def _kind(self, side: FusedModel, layer: FusedLayer) -> tuple[str, int]:
        return layer.kind, _size(side.facts.tensors[layer.outputs[0]])


def _pairs(
    reference: FusedModel,
    candidate: FusedModel,
    fused_layers: Sequence[tuple[FusedLayer, FusedLayer]],
    written_out: frozenset[int],
) -> list[Pair]:
    """The tensors of matched layers: their outputs, and those inside if both are written the same way."""
    pairs = []
    for reference_layer, candidate_layer in fused_layers:
        for a, b in dict.fromkeys(
            _shown(reference, reference_layer, candidate, candidate_layer, candidate_layer.order in written_out)
        ):
            if a in reference.layers and b in candidate.layers:
                pairs.append(with_layout(Pair(node(reference, a), node(candidate, b))))
    return [pair for pair in pairs if pair is not None]


def _shown(
    reference: FusedModel,
    reference_layer: FusedLayer,
    candidate: FusedModel,
    candidate_layer: FusedLayer,
    written_out: bool,
) -> list[tuple[int, int]]:
    """The tensors of a step that hold the same in both models."""
    work = [
        (reference.facts.ops[reference_layer.work].outputs[0], candidate.facts.ops[candidate_layer.work].outputs[0])
    ]
    ends = list(zip(reference_layer.outputs, candidate_layer.outputs, strict=False))
    if written_out:
        return work
    fused = [
        side.facts.ops[layer.work].fused_activation
        for side, layer in ((reference, reference_layer), (candidate, candidate_layer))
    ]
    if fused[0] != fused[1]:
        return ends
    names = [
        [side.facts.ops[op].name for op in layer.members]
        for side, layer in ((reference, reference_layer), (candidate, candidate_layer))
    ]
    # One op of them may have become another.
    if len(names[0]) == len(names[1]) and sum(a != b for a, b in zip(*names, strict=True)) <= 1:
        inner = zip(reference_layer.members[:-1], candidate_layer.members[:-1], strict=True)
        return [*((reference.facts.ops[a].outputs[0], candidate.facts.ops[b].outputs[0]) for a, b in inner), *ends]
    return [*work, *ends] if _is_bare(reference_layer) and _is_bare(candidate_layer) else ends


def _is_bare(layer: FusedLayer) -> bool:
    """Whether what the op of a step computes can be seen before another op applies the activation."""
    return layer.activation_op >= 0 and not layer.affine


def _size(tensor: TensorFacts) -> int:
    return math.prod(size for size in tensor.shape if size > 0)


def _unique(keys: Mapping[int, set[Hashable]]) -> dict[Hashable, int]:
    count = Counter(key for own in keys.values() for key in own)
    return {key: order for order, own in keys.items() for key in own if count[key] == 1}


def normalized(name: str) -> Hashable:
    """A tensor's name without a quantizer's suffix; TFLiteConverter joins names with `;` in varying order.

    Args:
        name: of a tensor.

    Returns:
        Equal for names that mean the same.
    """
    return frozenset(_SUFFIX.sub("", part) for part in name.split(";") if part)


def _rising(found: Mapping[int, int]) -> list[tuple[int, int]]:
    """Matched (reference, candidate) orders that rise on both sides."""
    anchors: list[tuple[int, int]] = []
    for b, a in sorted(found.items()):
        if not anchors or a > anchors[-1][0]:
            anchors.append((a, b))
    return anchors
