"""Ops of matched steps: kind, activation, attributes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from windtunnel.diagnosis.graph.clipping_ops import BOUNDS, Clip, same
from windtunnel.diagnosis.graph.fused_layers import ACTIVATIONS, SHAPING, Step, Steps
from windtunnel.diagnosis.numerics.isolated_sums import representable
from windtunnel.diagnosis.static.effective_weights import finished_early, written_alike
from windtunnel.diagnosis.static.suspect import Patch, Suspect
from windtunnel.tflite.edit import Editor

# Their inputs may come in any order.
_COMMUTATIVE = frozenset(
    {"ADD", "MUL", "MAXIMUM", "MINIMUM", "ADD_N", "EQUAL", "NOT_EQUAL", "LOGICAL_AND", "LOGICAL_OR"}
)


class OpComparer:
    """Compares what the ops of matched steps compute.

    `reordered` are candidate's tensors whose dimensions lie in another order: attributes that name dimensions
    differ there by right. `seen` are the reference's least and largest values by the candidate's tensor index;
    `same` the reference's values by the candidate's, as steps know them. `graph` is which of its graphs they are of.
    """

    def __init__(
        self,
        ours: Steps,
        theirs: Steps,
        reordered: frozenset[int],
        seen: Mapping[int, tuple[float, float]],
        same: Mapping[int, int],
        graph: int = 0,
    ) -> None:
        self._ours, self._theirs = ours, theirs
        self._graph = graph
        self._seen, self._same = seen, same
        self._reordered = reordered
        self.compared = 0

    def compare(self, own: Step, mine: Step, *, up_to_activation: bool = False) -> list[Suspect]:
        """The suspects of one matched step, of one that is written out without its activation."""
        self.compared += 1
        if {own.kind, mine.kind} <= SHAPING - {"TRANSPOSE"}:
            return []
        if own.kind != mine.kind:
            names = self._ours.facts.ops[own.work].name, self._theirs.facts.ops[mine.work].name
            return [self._suspect(own, mine, mine.work, {"op": {"reference": names[0], "candidate": names[1]}}, False)]
        wiring = *self._wiring(own, mine), *self._placing(own, mine)
        found = [*self._attributes(own, mine), *wiring, *self._affine(own, mine)]
        if finished_early(self._ours, own, self._theirs, mine):
            evidence = {"activation": {"reference": "NONE", "candidate": mine.activation}}
            suspect = self._suspect(own, mine, self._activates(mine), evidence, True)
            return [*found, replace(suspect, patch=self._without_activation(mine))]
        if not up_to_activation and own.activation != mine.activation and not self._same_range(own, mine):
            found.append(self._activation(own, mine))
        return found

    def _activation(self, own: Step, mine: Step) -> Suspect:
        """Another activation, at the op that has another bound where there is one."""
        evidence: dict[str, Any] = {"activation": {"reference": own.activation, "candidate": mine.activation}}
        found = _other_bound(own, mine)
        if found is None:
            return self._suspect(own, mine, self._activates(mine), evidence, True)
        clip, bound, wanted = found
        evidence |= {"bound": {"reference": wanted, "candidate": bound}}
        suspect = self._suspect(own, mine, clip.op_index, evidence, True)
        return replace(suspect, patch=self._bounded(clip, wanted) or suspect.patch)

    def _bounded(self, clip: Clip, bound: float) -> Patch | None:
        """Gives an op another bound; other ops may read the constant that it has."""
        op = self._theirs.facts.ops[clip.op_index]
        if clip.constant is None or clip.constant.read.quantization is not None or not math.isfinite(bound):
            return None
        values = np.full(clip.constant.read.shape, bound)

        def patch(editor: Editor) -> None:
            added = editor.add_constant("bound/reference", values, "float32")
            inputs = [added if place == clip.place else index for place, index in enumerate(op.inputs)]
            editor.set_inputs(op.index, inputs)

        return patch

    def _activates(self, mine: Step) -> int:
        """The op with a step's activation, or the last that could have it."""
        if mine.activation_op >= 0:
            return mine.activation_op
        ops = self._theirs.facts.ops
        fusing = [index for index in mine.members if "fused_activation_function" in ops[index].options]
        return fusing[-1] if fusing else mine.members[-1]

    def _attributes(self, own: Step, mine: Step) -> Iterator[Suspect]:
        if mine.kind in SHAPING or any(index in self._reordered for index in (*mine.inputs, *mine.outputs)):
            return
        for name in sorted({*own.attributes, *mine.attributes}):
            a, b = own.attributes.get(name), mine.attributes.get(name)
            if not _same(a, b, self._rank(mine)):
                evidence = {"attribute": name, "reference": _plain(a), "candidate": _plain(b)}
                yield self._suspect(own, mine, mine.work, evidence, True)

    def _affine(self, own: Step, mine: Step) -> Iterator[Suspect]:
        """Another op with the same constant after the one that does the work."""
        if not written_alike(self._ours, own, self._theirs, mine):
            return
        for a, b in zip(own.affine, mine.affine, strict=True):
            if a.op != b.op:
                evidence = {"op": {"reference": a.op, "candidate": b.op}}
                yield self._suspect(own, mine, b.op_index, evidence, True)

    def _wiring(self, own: Step, mine: Step) -> Iterator[Suspect]:
        """Inputs in another order, another layer's output in their place, or an op that is left out before them."""
        read = [self._same.get(index, -1) for index in mine.inputs]
        if -1 in read or len(read) != len(own.inputs):
            return
        known = set(self._same.values())
        if not known.issuperset(own.inputs):
            yield from self._left_out(read, own, mine, known)
            return
        any_order = mine.kind in _COMMUTATIVE
        if (sorted(read) == sorted(own.inputs)) if any_order else (read == list(own.inputs)):
            return
        names = [[self._ours.facts.tensors[index].name for index in indices] for indices in (own.inputs, read)]
        evidence = {"inputs": {"reference": names[0], "candidate": names[1]}}
        reordered = sorted(read) == sorted(own.inputs)
        yield replace(self._suspect(own, mine, mine.work, evidence, reordered), patch=self._rewired(own, mine))

    def _placing(self, own: Step, mine: Step) -> Iterator[Suspect]:
        """A constant before what is computed, and behind it in the reference."""
        ops = self._ours.facts.ops[own.work], self._theirs.facts.ops[mine.work]
        places = [[place for place, _ in step.constants] for step in (own, mine)]
        same = len(ops[0].inputs) == len(ops[1].inputs) and len(places[0]) == len(places[1])
        if ops[0].name != ops[1].name or mine.kind in _COMMUTATIVE or not same or places[0] == places[1]:
            return
        facts = self._ours.facts, self._theirs.facts
        names = [[side.tensors[index].name for index in op.inputs] for side, op in zip(facts, ops, strict=True)]
        evidence = {"inputs": {"reference": names[0], "candidate": names[1]}}
        constants = [index for place, index in enumerate(ops[1].inputs) if place in places[1]]
        rest = [index for place, index in enumerate(ops[1].inputs) if place not in places[1]]
        inputs = [(constants if place in places[0] else rest).pop(0) for place in range(len(ops[1].inputs))]

        def patch(editor: Editor) -> None:
            editor.set_inputs(mine.work, inputs)

        yield replace(self._suspect(own, mine, mine.work, evidence, True), patch=patch)

    def _left_out(self, read: list[int], own: Step, mine: Step, known: set[int]) -> Iterator[Suspect]:
        """Ops of the reference that the candidate skips: it reads what they read where their result is read."""
        for wanted, got in zip(own.inputs, read, strict=True):
            maker = self._ours.makers.get(wanted)
            step = None if maker is None else self._ours.by_op.get(maker.index)
            if wanted not in known and step is not None and got in step.inputs and step.kind not in SHAPING:
                missing = self._ours.facts.ops[step.work]
                evidence = {"missing": {"op": missing.name, "layer": self._ours.facts.tensors[wanted].name}}
                fix = {"action": "convert the model again", "op": missing.name}
                yield replace(self._suspect(own, mine, mine.work, evidence, False), patch=None, fix=fix)

    def _rewired(self, own: Step, mine: Step) -> Patch | None:
        """Lets the op read what the reference's reads, where these tensors take each other's place."""
        op, tensors = self._theirs.facts.ops[mine.work], self._theirs.facts.tensors
        places = [place for place, index in enumerate(op.inputs) if index >= 0 and index not in self._fixed]
        twins = {reference: index for index, reference in self._same.items()}
        # What the op reads itself stands before QUANTIZE and shaping ops, if there are any.
        near = {root: op.inputs[place] for root, place in zip(mine.inputs, places, strict=False)}
        inputs = list(op.inputs)
        for place, wanted in zip(places, own.inputs, strict=False):
            twin = twins.get(wanted, -1)
            inputs[place] = near.get(twin, twin)
            one, other = tensors[op.inputs[place]], tensors[inputs[place]]
            if twin < 0 or (one.dtype, one.quantization is None) != (other.dtype, other.quantization is None):
                return None
        return (lambda editor: editor.set_inputs(op.index, inputs)) if len(places) == len(own.inputs) else None

    @property
    def _fixed(self) -> frozenset[int]:
        return frozenset(self._theirs.facts.main.fixed)

    def _same_range(self, own: Step, mine: Step) -> bool:
        """Whether two activations let the same values through: a quantised tensor has bounds of its own."""
        bounds = [step.bounds for step in (own, mine)]
        if bounds[0] is None or bounds[1] is None:
            return False
        if same(bounds[0], bounds[1]):
            return True
        tensor = self._theirs.facts.tensors[mine.outputs[0]]
        if tensor.quantization is None or not tensor.dtype.startswith("int"):
            return False
        low, high = representable(tensor.quantization, tensor.dtype)
        step = tensor.quantization.scales[0]
        bound = bounds[1]
        seen = self._seen.get(tensor.index, bound)
        if seen[0] < bound[0] - step or seen[1] > bound[1] + step:
            return False
        one, other = ((max(low, pair[0]), min(high, pair[1])) for pair in bounds if pair is not None)
        return abs(one[0] - other[0]) <= step and abs(one[1] - other[1]) <= step

    def _rank(self, step: Step) -> int:
        """The rank of what an op's axis counts in: its result, or what it takes apart."""
        op = self._theirs.facts.ops[step.work]
        tensor = op.inputs[0] if op.name in ("UNPACK", "GATHER", "ARG_MAX", "ARG_MIN") else op.outputs[0]
        return max(1, len(self._theirs.facts.tensors[tensor].shape))

    def _suspect(self, own: Step, mine: Step, op_index: int, evidence: dict[str, Any], plain: bool) -> Suspect:
        op = self._theirs.facts.ops[op_index]
        tensor = self._theirs.facts.tensors[op.outputs[0]]
        fix = {"action": "convert the op again", "op": self._ours.facts.ops[own.work].name}
        return Suspect(
            "conversion.op", tensor.name, op.index, tensor.index, evidence, fix, plain, self._patch(own, mine)
        )

    def _patch(self, own: Step, mine: Step) -> Patch | None:
        """The reference's op in the candidate's place, where both steps are written with the same number of ops."""
        if len(own.members) != len(mine.members):
            return self._activation_patch(own, mine)
        reference, graph = self._ours.facts.path, self._graph

        def patch(editor: Editor) -> None:
            source = Editor(reference) if not graph else Editor(reference).inside(graph)
            for a, b in zip(own.members, mine.members, strict=True):
                editor.take_op(b, source, a)

        return patch

    def _without_activation(self, mine: Step) -> Patch | None:
        op = self._theirs.facts.ops[self._activates(mine)]
        if "fused_activation_function" not in op.options or op.name in ACTIVATIONS:
            return None
        return lambda editor: editor.set_options(op.index, fused_activation_function="NONE")

    def _activation_patch(self, own: Step, mine: Step) -> Patch | None:
        op = self._theirs.facts.ops[self._activates(mine)]
        if own.kind != mine.kind or op.name in ACTIVATIONS or "fused_activation_function" not in op.options:
            return None
        if own.activation not in BOUNDS or own.activation == mine.activation or mine.clips:
            # No op can fuse it, it is not what differs, or another op applies it.
            return None
        return lambda editor: editor.set_options(op.index, fused_activation_function=own.activation)


def _other_bound(own: Step, mine: Step) -> tuple[Clip, float, float] | None:
    """The clip of the candidate's step that sets another bound than the reference's, its bound and the reference's."""
    if own.bounds is None or mine.bounds is None:
        return None
    for end in (1, 0):
        if own.bounds[end] != mine.bounds[end]:
            for clip in mine.clips:
                if clip.bounds[end] == mine.bounds[end]:
                    return clip, mine.bounds[end], own.bounds[end]
    return None


def _same(a: Any, b: Any, rank: int) -> bool:
    if isinstance(a, float) or isinstance(b, float):
        return isinstance(a, (int, float)) and isinstance(b, (int, float)) and math.isclose(a, b, rel_tol=1e-6)
    if isinstance(a, int) and isinstance(b, int) and not isinstance(a, bool) and a != b:
        # Axes count from either end.
        return min(a, b) < 0 and a % rank == b % rank
    return bool(a == b) or (not a and not b)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value[:32].hex()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
