"""Which layer of the reference a layer of the candidate is.

Names are the last thing asked: converters rename, and a name says nothing about what is computed. First come steps
whose weights are the same up to a factor per channel; from these and from the inputs the matching spreads along the
graph, forwards to readers of the same values and backwards to their makers; then equal names, then the order of what
is left between matched steps. Last, `settle` looks at the values of a few samples: it pairs what no rule did, and
finds the order of the dimensions where the two models lay them out differently (`execution.match_by_values`).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from itertools import pairwise

from windtunnel.diagnosis.feeding.paired_inputs import pair_inputs
from windtunnel.diagnosis.findings.comparison import Unmatched
from windtunnel.diagnosis.graph.fused_layers import SHAPING, Step, Steps
from windtunnel.diagnosis.graph.weight_fingerprint import Fingerprints
from windtunnel.tflite import ModelFacts, TensorFacts

_SUFFIX = re.compile(r"(_quantized|_dequant|_requant)+(_\d+)?$")
# Weights that agree this well belong to one layer; the runner-up must stay behind by the margin.
_SAME_WEIGHTS, _MARGIN = 0.98, 0.02


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

    pairs: tuple[Pair, ...]
    unmatched: tuple[Unmatched, ...]
    unmatched_reference: tuple[Unmatched, ...]
    steps: tuple[tuple[Step, Step], ...] = ()
    written_out: frozenset[int] = frozenset()
    ours: Steps | None = field(default=None, repr=False)
    theirs: Steps | None = field(default=None, repr=False)

    def set_aside(self, reference: Mapping[int, str], candidate: Mapping[int, str]) -> Matching:
        """Without the pairs of these tensors, which become unmatched for the reason given."""
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
        """With these layers of the candidate among those that have no partner."""
        return replace(self, unmatched=tuple(sorted((*self.unmatched, *left), key=lambda one: one.op_index)))

    @property
    def lacking(self) -> int:
        """How many steps of the reference that compute something are in no pair, by structure or by values."""
        assert self.ours is not None
        left = {
            self.ours.by_op[one.op_index].order for one in self.unmatched_reference if one.op_index in self.ours.by_op
        }
        paired = {step.order for step, _ in self.steps}
        return sum(self.ours.steps[order].kind not in SHAPING for order in left - paired)

    def same_values(self) -> dict[int, int]:
        """The reference's tensor by the candidate's: inputs of the models and outputs of steps, as steps read them."""
        ours, theirs = self.ours, self.theirs
        assert ours is not None and theirs is not None
        found = {mine.index: own.index for own, mine in pair_inputs(ours.facts, theirs.facts)}
        for own, mine in self.steps:
            if mine.order in self.written_out:
                found[theirs.facts.ops[mine.work].outputs[0]] = ours.facts.ops[own.work].outputs[0]
            elif mine.kind not in SHAPING:
                found |= {theirs.root(b): ours.root(a) for a, b in zip(own.outputs, mine.outputs, strict=False)}
        return found

    def same_outputs(self) -> dict[int, int]:
        """The reference's output by the candidate's, where each gives one value; others are left out."""
        same, ours, theirs = self.same_values(), self.ours, self.theirs
        assert ours is not None and theirs is not None
        roots: dict[int, list[int]] = {}
        for index in ours.facts.main.output_indices:
            roots.setdefault(ours.root(index), []).append(index)
        found = {}
        for index in theirs.facts.main.output_indices:
            values = roots.get(same.get(theirs.root(index), -1), [])
            if len(values) == 1:
                found[index] = values[0]
        return found


def match_layers(reference: ModelFacts, candidate: ModelFacts, *, names_first: bool = False) -> Matching:
    """Matches two models by structure; every layer is in a pair or named as unmatched with the reason.

    `names_first`: what has the same name is the same layer, whatever its weights. Raises InvalidInput where the models'
    inputs cannot be paired.
    """
    ours, theirs = Steps(reference), Steps(candidate)
    matcher = _Matcher(ours, theirs)
    found = matcher.match(names_first=names_first)
    steps = tuple((ours.steps[a], theirs.steps[b]) for b, a in sorted(found.items()))
    written_out = frozenset(
        mine.order
        for own, mine in steps
        if _is_written_out(own, theirs, mine, set(found)) or _is_written_out(mine, ours, own, set(found.values()))
    )
    return conclude(ours, theirs, steps, _pairs(ours, theirs, steps, written_out), written_out)


def _is_written_out(fused: Step, side: Steps, bare: Step, known: set[int]) -> bool:
    """Whether the activation op of one step may be several ops on the other side, none of which is in a pair."""
    if fused.activation_op < 0 or fused.affine or bare.activation != "NONE" or bare.affine:
        return False
    readers = [step for index in bare.outputs for step in side.reading(side.root(index)) if step.kind not in SHAPING]
    return bool(readers) and all(step.order not in known for step in readers)


def conclude(
    ours: Steps,
    theirs: Steps,
    steps: Sequence[tuple[Step, Step]],
    pairs: Sequence[Pair],
    written_out: frozenset[int] = frozenset(),
) -> Matching:
    """The matching that these pairs make."""
    ordered = sorted(pairs, key=lambda pair: (pair.candidate.op_index, pair.candidate.tensor.index))
    a = {pair.reference.tensor.index for pair in ordered}
    b = {pair.candidate.tensor.index for pair in ordered}
    partners = {step.order: other for other, step in steps}, {step.order: other for step, other in steps}
    return Matching(
        pairs=tuple(ordered),
        unmatched=_unmatched(theirs, ours, b, partners[0], "reference"),
        unmatched_reference=_unmatched(ours, theirs, a, partners[1], "candidate"),
        steps=tuple(steps),
        written_out=written_out,
        ours=ours,
        theirs=theirs,
    )


class _Matcher:
    """Pairs steps: `found` maps orders of the candidate's steps to those of the reference."""

    def __init__(self, ours: Steps, theirs: Steps) -> None:
        self.ours, self.theirs = ours, theirs
        self.found: dict[int, int] = {}
        self.taken: set[int] = set()
        self.tensors: dict[int, int] = {mine.index: own.index for own, mine in pair_inputs(ours.facts, theirs.facts)}
        self.prints = Fingerprints(ours), Fingerprints(theirs)

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

    def _pair(self, own: Step, mine: Step) -> None:
        self.found[mine.order] = own.order
        self.taken.add(own.order)
        if mine.kind not in SHAPING:
            for a, b in zip(own.outputs, mine.outputs, strict=False):
                self.tensors[self.theirs.root(b)] = self.ours.root(a)

    def _by_weights(self) -> None:
        """Steps whose weights agree much better with each other than with any other step's."""
        left = [step for step in self.ours.steps if step.order not in self.taken]
        right = [step for step in self.theirs.steps if step.order not in self.found]
        best: dict[int, tuple[float, float, int]] = {}
        scores = {
            (own.order, mine.order): self._likeness(own, mine)
            for mine in right
            for own in left
            if own.kind == mine.kind
        }
        for (a, b), score in scores.items():
            first, second, at = best.get(b, (0.0, 0.0, -1))
            if score > first:
                best[b] = (score, first, a)
            elif score > second:
                best[b] = (first, score, at)
        claims = Counter(a for score, _, a in best.values() if score >= _SAME_WEIGHTS)
        for b, (score, second, a) in best.items():
            if score >= _SAME_WEIGHTS and score - second >= _MARGIN and claims[a] == 1:
                self._pair(self.ours.steps[a], self.theirs.steps[b])

    def _spread(self, *, guess: bool = False, changed: bool = False) -> None:
        """Pairs steps that read the same values, and steps whose values the same steps read, until nothing is left.

        Of several that do so, those with other weights wait until `guess`: the rest may leave a single one for them.
        With `changed` another op may stand in a step's place.
        """
        more = True
        while more:
            more = False
            for mine in self.theirs.steps:
                if mine.order not in self.found and (own := self._forwards(mine, guess, changed)) is not None:
                    self._pair(own, mine)
                    more = True
            more |= self._backwards()

    def _forwards(self, mine: Step, guess: bool, changed: bool) -> Step | None:
        wanted = [self.tensors.get(index, -1) for index in mine.inputs]
        if not wanted or -1 in wanted:
            return None
        readers = {
            step.order: step
            for index in wanted
            for step in self._readers(index)
            if step.order not in self.taken and sorted(step.inputs) == sorted(wanted) and self._fits(step, mine)
        }
        alike = [step for step in readers.values() if step.kind == mine.kind]
        if alike:
            unsure = not guess and len(alike) + len(self._rivals(mine)) > 1
            return self._same_weights(alike, mine) if unsure else self._closest(alike, mine)
        others = [step for step in readers.values() if self._stands_for(step, mine)]
        return others[0] if changed and len(others) == 1 else None

    def _rivals(self, mine: Step) -> list[Step]:
        """Other steps of the candidate that do the same with the same values and are in no pair."""
        return [
            step
            for step in self._readers_of(self.theirs, mine.inputs[0])
            if step.order not in {*self.found, mine.order}
            and step.kind == mine.kind
            and sorted(step.inputs) == sorted(mine.inputs)
            and self._shape(self.theirs, step) == self._shape(self.theirs, mine)
        ]

    def _same_weights(self, steps: Sequence[Step], mine: Step) -> Step | None:
        """The one whose weights are the same, where the others' are not, and no other step has the same claim."""
        scores = sorted(((self._likeness(step, mine), -step.order, step) for step in steps), reverse=True)
        first, _, best = scores[0]
        claims = [scores[1][0]] if len(scores) > 1 else []
        claims += [self._likeness(best, rival) for rival in self._rivals(mine)]
        return best if first >= max(_SAME_WEIGHTS, max(claims, default=0.0) + _MARGIN) else None

    def _closest(self, steps: Sequence[Step], mine: Step) -> Step | None:
        """The most alike of several steps; the first where nothing tells them apart."""
        if len(steps) == 1:
            return steps[0]
        best = max(steps, key=lambda step: self._likeness(step, mine))
        tied = any(abs(self._likeness(best, one) - self._likeness(best, mine)) < _MARGIN for one in self._rivals(mine))
        if tied and len(steps) == len(self._rivals(mine)) + 1:
            # Two with one layer's weights: the order in which siblings are written tells more.
            place = sorted([mine.order, *(one.order for one in self._rivals(mine))]).index(mine.order)
            return sorted(steps, key=lambda step: step.order)[place]
        names = self._names(self.theirs, mine)

        def score(step: Step) -> tuple[float, bool, bool, bool]:
            return (
                round(self._likeness(step, mine), 2),
                self._shape(self.ours, step) == self._shape(self.theirs, mine),
                bool(names & self._names(self.ours, step)),
                step.activation == mine.activation,
            )

        return max(steps, key=lambda step: (*score(step), -step.order))

    def _stands_for(self, own: Step, mine: Step) -> bool:
        """Whether another op stands in this place: what reads the two is of the same kinds, shaping aside."""
        kinds = [
            sorted(
                step.kind
                for tensor in one.outputs
                for step in self._readers_of(side, tensor)
                if step.kind not in SHAPING
            )
            for side, one in ((self.ours, own), (self.theirs, mine))
        ]
        ends = [
            any(side.root(index) in one.outputs for index in side.facts.main.output_indices)
            for side, one in ((self.ours, own), (self.theirs, mine))
        ]
        return kinds[0] == kinds[1] and ends[0] == ends[1]

    def _backwards(self) -> bool:
        more = False
        for b, a in list(self.found.items()):
            own, mine = self.ours.steps[a], self.theirs.steps[b]
            for one, other in zip(own.inputs, mine.inputs, strict=False):
                maker, twin = self._maker(self.ours, one), self._maker(self.theirs, other)
                if maker is None or twin is None or maker.order in self.taken or twin.order in self.found:
                    continue
                if maker.kind == twin.kind and self._fits(maker, twin):
                    self._pair(maker, twin)
                    more = True
        return more

    def _by_name(self) -> None:
        """Pairs what shares a name, whole or without a quantiser's suffix, that is unique on both sides."""
        left = _unique({s.order: self._names(self.ours, s) for s in self.ours.steps if s.order not in self.taken})
        right = _unique({s.order: self._names(self.theirs, s) for s in self.theirs.steps if s.order not in self.found})
        for key, b in right.items():
            a = left.get(key)
            if a is None or b in self.found or a in self.taken:
                continue
            own, mine = self.ours.steps[a], self.theirs.steps[b]
            if own.kind == mine.kind and self._fits(own, mine):
                self._pair(own, mine)

    def _by_order(self) -> None:
        """Aligns kinds and sizes inside each gap between steps that are matched in the same order."""
        edges = [(-1, -1), *_rising(self.found), (len(self.ours.steps), len(self.theirs.steps))]
        for (a_low, b_low), (a_high, b_high) in pairwise(edges):
            left = [s for s in self.ours.steps[a_low + 1 : a_high] if s.order not in self.taken]
            right = [s for s in self.theirs.steps[b_low + 1 : b_high] if s.order not in self.found]
            kinds = [self._kind(self.ours, s) for s in left], [self._kind(self.theirs, s) for s in right]
            for block in SequenceMatcher(None, *kinds, autojunk=False).get_matching_blocks():
                for step in range(block.size):
                    self._pair(left[block.a + step], right[block.b + step])

    def _fits(self, own: Step, mine: Step) -> bool:
        """Whether the two may be one layer: their outputs are of one size."""
        return len(own.outputs) == len(mine.outputs) and all(
            _size(self.ours.facts.tensors[a]) == _size(self.theirs.facts.tensors[b])
            for a, b in zip(own.outputs, mine.outputs, strict=True)
        )

    def _likeness(self, own: Step, mine: Step) -> float:
        return self.prints[0].likeness(own, self.prints[1], mine)

    def _readers(self, root: int) -> list[Step]:
        return self._readers_of(self.ours, root)

    @staticmethod
    def _readers_of(side: Steps, tensor: int) -> list[Step]:
        return side.reading(side.root(tensor))

    @staticmethod
    def _maker(side: Steps, tensor: int) -> Step | None:
        op = side.makers.get(tensor)
        return None if op is None else side.by_op.get(op.index)

    @staticmethod
    def _names(side: Steps, step: Step) -> set[Hashable]:
        return {normalised(side.facts.tensors[index].name) for index in step.outputs}

    @staticmethod
    def _shape(side: Steps, step: Step) -> tuple[int, ...]:
        return side.facts.tensors[step.outputs[0]].shape

    def _kind(self, side: Steps, step: Step) -> tuple[str, int]:
        return step.kind, _size(side.facts.tensors[step.outputs[0]])


def _pairs(ours: Steps, theirs: Steps, steps: Sequence[tuple[Step, Step]], written_out: frozenset[int]) -> list[Pair]:
    """The tensors of matched steps: their outputs, and what lies inside where both are written alike."""
    pairs = []
    for own, mine in steps:
        for a, b in dict.fromkeys(_shown(ours, own, theirs, mine, mine.order in written_out)):
            if a in ours.layers and b in theirs.layers:
                pairs.append(_with_layout(Pair(node(ours, a), node(theirs, b))))
    return [pair for pair in pairs if pair is not None]


def _shown(ours: Steps, own: Step, theirs: Steps, mine: Step, written_out: bool) -> list[tuple[int, int]]:
    """The tensors of a step that hold the same in both models."""
    work = [(ours.facts.ops[own.work].outputs[0], theirs.facts.ops[mine.work].outputs[0])]
    ends = list(zip(own.outputs, mine.outputs, strict=False))
    if written_out:
        return work
    fused = [side.facts.ops[step.work].fused_activation for side, step in ((ours, own), (theirs, mine))]
    if fused[0] != fused[1]:
        return ends
    names = [[side.facts.ops[op].name for op in step.members] for side, step in ((ours, own), (theirs, mine))]
    # One op of them may have become another.
    if len(names[0]) == len(names[1]) and sum(a != b for a, b in zip(*names, strict=True)) <= 1:
        inner = zip(own.members[:-1], mine.members[:-1], strict=True)
        return [*((ours.facts.ops[a].outputs[0], theirs.facts.ops[b].outputs[0]) for a, b in inner), *ends]
    return [*work, *ends] if _is_bare(own) and _is_bare(mine) else ends


def _is_bare(step: Step) -> bool:
    """Whether what the op of a step computes can be seen before another op applies the activation."""
    return step.activation_op >= 0 and not step.affine


def node(side: Steps, tensor: int) -> Node:
    """The layer that a tensor is."""
    op, facts = side.layers[tensor]
    return Node(side.facts.ops[op].name, op, facts)


def _with_layout(pair: Pair) -> Pair | None:
    """The pair with the order of the candidate's dimensions; None where the sizes differ."""
    own, mine = pair.reference.tensor.shape, pair.candidate.tensor.shape
    if own == mine:
        return pair
    if math.prod(own) != math.prod(mine):
        return None
    return replace(pair, permutation=next(iter(permutations(own, mine)), None))


def permutations(own: Sequence[int], mine: Sequence[int]) -> list[tuple[int, ...]]:
    """Every order of dimensions that makes `own` the shape `mine`; channels last and first come first."""
    if sorted(own) != sorted(mine):
        return []
    found: list[tuple[int, ...]] = [()]
    for size in mine:
        found = [(*one, axis) for one in found for axis, width in enumerate(own) if width == size and axis not in one]
    usual = {(0, 3, 1, 2): 0, (0, 2, 3, 1): 1, tuple(range(len(own))): -1}
    return sorted(found, key=lambda one: usual.get(one, 2))


def _unmatched(
    side: Steps, other: Steps, paired: set[int], partners: Mapping[int, Step], name: str
) -> tuple[Unmatched, ...]:
    found = []
    for index, (op, tensor) in side.layers.items():
        if index not in paired:
            step = side.by_op.get(op)
            reason = _reason(side, other, step, index, partners, name)
            inside = step is not None and step.order in partners and index not in step.outputs
            found.append(Unmatched(tensor.name, side.facts.ops[op].name, op, reason, inside))
    return tuple(found)


def _reason(side: Steps, other: Steps, step: Step | None, tensor: int, partners: Mapping[int, Step], name: str) -> str:
    if step is not None and step.order in partners:
        partner = partners[step.order]
        shapes = [list(one.facts.tensors[s.outputs[0]].shape) for one, s in ((side, step), (other, partner))]
        if tensor in step.outputs and shapes[0] != shapes[1]:
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


def _size(tensor: TensorFacts) -> int:
    return math.prod(size for size in tensor.shape if size > 0)


def _unique(keys: Mapping[int, set[Hashable]]) -> dict[Hashable, int]:
    count = Counter(key for own in keys.values() for key in own)
    return {key: order for order, own in keys.items() for key in own if count[key] == 1}


def normalised(name: str) -> Hashable:
    """A tensor's name without a quantiser's suffix; TFLiteConverter joins names with `;` in varying order."""
    return frozenset(_SUFFIX.sub("", part) for part in name.split(";") if part)


def _rising(found: Mapping[int, int]) -> list[tuple[int, int]]:
    """Matched (reference, candidate) orders that rise on both sides."""
    anchors: list[tuple[int, int]] = []
    for b, a in sorted(found.items()):
        if not anchors or a > anchors[-1][0]:
            anchors.append((a, b))
    return anchors
