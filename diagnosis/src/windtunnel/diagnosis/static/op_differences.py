"""Ops of matched steps: kind, activation, attributes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.kinds.ops import (
    ActivationDiffers,
    AttributeDiffers,
    InputsDiffer,
    OpDiffers,
    OpMissing,
    OpOfReference,
)
from windtunnel.diagnosis.findings.kinds.phrases import BothSides
from windtunnel.diagnosis.graph.clipping_ops import BOUNDS, Clip, same
from windtunnel.diagnosis.graph.fused_layers import ACTIVATIONS, FusedLayer, FusedModel
from windtunnel.diagnosis.numerics.isolated_sums import representable
from windtunnel.diagnosis.static.effective_weights import finished_early, same_constants
from windtunnel.diagnosis.static.patches import put_constant
from windtunnel.diagnosis.static.suspect import Patch, Suspect
from windtunnel.diagnosis.thresholds.static_thresholds import SAME_ATTRIBUTE
from windtunnel.tflite.edit import Editor
from windtunnel.tflite.op_kinds import SHAPING

# Their inputs may come in any order.
_COMMUTATIVE = frozenset(
    {"ADD", "MUL", "MAXIMUM", "MINIMUM", "ADD_N", "EQUAL", "NOT_EQUAL", "LOGICAL_AND", "LOGICAL_OR"}
)


class OpComparer:
    """Compares what the ops of matched layers compute.

    Args:
        reference: the reference model.
        candidate: the candidate model.
        reordered: the candidate's tensors whose dimensions are in another order: attributes that name dimensions may
            differ there.
        seen: the reference's least and largest values, by the candidate's tensor index.
        same: the reference's tensors by the candidate's, for values that are the same.
        graph: index of the reference's graph.
    """

    def __init__(
        self,
        reference: FusedModel,
        candidate: FusedModel,
        reordered: frozenset[int],
        seen: Mapping[int, tuple[float, float]],
        same: Mapping[int, int],
        graph: int = 0,
    ) -> None:
        self._reference, self._candidate = reference, candidate
        self._graph = graph
        self._seen, self._same = seen, same
        self._reordered = reordered
        self.compared = 0

    def compare(
        self, reference_layer: FusedLayer, candidate_layer: FusedLayer, *, up_to_activation: bool = False
    ) -> list[Suspect]:
        """Compares one pair of matched layers.

        Args:
            reference_layer: of the reference.
            candidate_layer: of the candidate.
            up_to_activation: leave out the activation, which is written out on one side.

        Returns:
            The suspects.
        """
        self.compared += 1
        if {reference_layer.kind, candidate_layer.kind} <= SHAPING - {"TRANSPOSE"}:
            return []
        if reference_layer.kind != candidate_layer.kind:
            names = (
                self._reference.facts.ops[reference_layer.work].name,
                self._candidate.facts.ops[candidate_layer.work].name,
            )
            return [
                self._suspect(
                    reference_layer,
                    candidate_layer,
                    candidate_layer.work,
                    OpDiffers(op=BothSides(*names), converted=names[0]),
                    plain=False,
                )
            ]
        wiring = *self._wiring(reference_layer, candidate_layer), *self._placing(reference_layer, candidate_layer)
        found = [
            *self._attributes(reference_layer, candidate_layer),
            *wiring,
            *self._affine(reference_layer, candidate_layer),
        ]
        if finished_early(self._reference, reference_layer, self._candidate, candidate_layer):
            finding = ActivationDiffers(
                activation=BothSides("NONE", candidate_layer.activation), converted=self._kind(reference_layer)
            )
            suspect = self._suspect(reference_layer, candidate_layer, self._activates(candidate_layer), finding)
            return [*found, replace(suspect, patch=self._without_activation(candidate_layer))]
        if (
            not up_to_activation
            and reference_layer.activation != candidate_layer.activation
            and not self._same_range(reference_layer, candidate_layer)
        ):
            found.append(self._activation(reference_layer, candidate_layer))
        return found

    def _activation(self, reference_layer: FusedLayer, candidate_layer: FusedLayer) -> Suspect:
        """Another activation, at the op that has another bound, if there is one."""
        finding = ActivationDiffers(
            activation=BothSides(reference_layer.activation, candidate_layer.activation),
            converted=self._kind(reference_layer),
        )
        found = _other_bound(reference_layer, candidate_layer)
        if found is None:
            return self._suspect(reference_layer, candidate_layer, self._activates(candidate_layer), finding)
        clip, bound, wanted = found
        finding = replace(finding, bound=BothSides(wanted, bound))
        suspect = self._suspect(reference_layer, candidate_layer, clip.op_index, finding)
        return replace(suspect, patch=self._bounded(clip, wanted) or suspect.patch)

    def _bounded(self, clip: Clip, bound: float) -> Patch | None:
        """Gives an op another bound; other ops may read the constant that it has."""
        op = self._candidate.facts.ops[clip.op_index]
        if clip.constant is None or clip.constant.read.quantization is not None or not math.isfinite(bound):
            return None
        values = np.full(clip.constant.read.shape, bound)

        def patch(editor: Editor) -> None:
            added = editor.add_constant("bound/reference", values, "float32")
            inputs = [added if place == clip.place else index for place, index in enumerate(op.inputs)]
            editor.set_inputs(op.index, inputs)

        return patch

    def _activates(self, candidate_layer: FusedLayer) -> int:
        """The op with a step's activation, or the last that could have it."""
        if candidate_layer.activation_op >= 0:
            return candidate_layer.activation_op
        ops = self._candidate.facts.ops
        fusing = [index for index in candidate_layer.members if "fused_activation_function" in ops[index].options]
        return fusing[-1] if fusing else candidate_layer.members[-1]

    def _attributes(self, reference_layer: FusedLayer, candidate_layer: FusedLayer) -> Iterator[Suspect]:
        if candidate_layer.kind in SHAPING or any(
            index in self._reordered for index in (*candidate_layer.inputs, *candidate_layer.outputs)
        ):
            return
        one, other = reference_layer.attributes, candidate_layer.attributes
        rank = self._rank(candidate_layer)
        names = [name for name in sorted({*one, *other}) if not _same(one.get(name), other.get(name), rank)]
        op = self._candidate.facts.ops[candidate_layer.work]
        # The options of a custom op are few, and nothing but their names says what they are.
        for group in [names] if op.is_custom and len(names) > 1 else [[name] for name in names]:
            if group == ["pads"] and (padded := self._padded_with(reference_layer, candidate_layer)) is not None:
                yield padded
                continue
            values = [[_plain(side.get(name)) for name in group] for side in (one, other)]
            finding = AttributeDiffers(
                attribute=", ".join(group),
                reference=values[0][0] if len(group) == 1 else values[0],
                candidate=values[1][0] if len(group) == 1 else values[1],
                converted=self._kind(reference_layer),
            )
            yield self._suspect(reference_layer, candidate_layer, candidate_layer.work, finding)

    def _padded_with(self, reference_layer: FusedLayer, candidate_layer: FusedLayer) -> Suspect | None:
        """The op before a layer that pads it as the reference does, but not with zeros."""
        maker = self._candidate.makers.get(candidate_layer.inputs[0])
        padding = None if maker is None else self._candidate.padding_of(maker)
        if maker is None or padding is None or padding.value is None or padding.constant is None:
            return None
        if padding.pads != reference_layer.attributes["pads"] or not padding.value.any():
            return None
        finding = AttributeDiffers(
            attribute="padding value", reference=0.0, candidate=float(padding.value.ravel()[0]), converted=maker.name
        )
        patch = put_constant(padding.constant, np.zeros_like(padding.value))
        tensor = self._candidate.facts.tensors[maker.outputs[0]]
        return Suspect(finding, tensor.name, maker.index, tensor.index, plain=True, patch=patch)

    def _affine(self, reference_layer: FusedLayer, candidate_layer: FusedLayer) -> Iterator[Suspect]:
        """Another op with the same constant after the one that does the work."""
        if not same_constants(self._reference, reference_layer, self._candidate, candidate_layer):
            return
        for a, b in zip(reference_layer.affine, candidate_layer.affine, strict=True):
            if a.op != b.op:
                finding = OpDiffers(op=BothSides(a.op, b.op), converted=self._kind(reference_layer))
                yield self._suspect(reference_layer, candidate_layer, b.op_index, finding)

    def _wiring(self, reference_layer: FusedLayer, candidate_layer: FusedLayer) -> Iterator[Suspect]:
        """Inputs in another order, another layer's output in their place, or an op that is left out before them."""
        read = [self._same.get(index, -1) for index in candidate_layer.inputs]
        if -1 in read or len(read) != len(reference_layer.inputs):
            return
        known = set(self._same.values())
        if not known.issuperset(reference_layer.inputs):
            yield from self._left_out(read, reference_layer, candidate_layer, known)
            return
        any_order = candidate_layer.kind in _COMMUTATIVE
        if (sorted(read) == sorted(reference_layer.inputs)) if any_order else (read == list(reference_layer.inputs)):
            return
        names = [
            [self._reference.facts.tensors[index].name for index in indices]
            for indices in (reference_layer.inputs, read)
        ]
        finding = InputsDiffer(inputs=BothSides(*names), converted=self._kind(reference_layer))
        reordered = sorted(read) == sorted(reference_layer.inputs)
        yield replace(
            self._suspect(reference_layer, candidate_layer, candidate_layer.work, finding, plain=reordered),
            patch=self._rewired(reference_layer, candidate_layer),
        )

    def _placing(self, reference_layer: FusedLayer, candidate_layer: FusedLayer) -> Iterator[Suspect]:
        """A constant before what is computed, and behind it in the reference."""
        ops = self._reference.facts.ops[reference_layer.work], self._candidate.facts.ops[candidate_layer.work]
        places = [[place for place, _ in layer.constants] for layer in (reference_layer, candidate_layer)]
        same = len(ops[0].inputs) == len(ops[1].inputs) and len(places[0]) == len(places[1])
        if ops[0].name != ops[1].name or candidate_layer.kind in _COMMUTATIVE or not same or places[0] == places[1]:
            return
        facts = self._reference.facts, self._candidate.facts
        names = [[side.tensors[index].name for index in op.inputs] for side, op in zip(facts, ops, strict=True)]
        finding = InputsDiffer(inputs=BothSides(*names), converted=self._kind(reference_layer))
        constants = [index for place, index in enumerate(ops[1].inputs) if place in places[1]]
        rest = [index for place, index in enumerate(ops[1].inputs) if place not in places[1]]
        inputs = [(constants if place in places[0] else rest).pop(0) for place in range(len(ops[1].inputs))]

        def patch(editor: Editor) -> None:
            editor.set_inputs(candidate_layer.work, inputs)

        yield replace(self._suspect(reference_layer, candidate_layer, candidate_layer.work, finding), patch=patch)

    def _left_out(
        self, read: list[int], reference_layer: FusedLayer, candidate_layer: FusedLayer, known: set[int]
    ) -> Iterator[Suspect]:
        """Ops of the reference that the candidate skips: it reads what they read where their result is read."""
        for wanted, got in zip(reference_layer.inputs, read, strict=True):
            maker = self._reference.makers.get(wanted)
            layer = None if maker is None else self._reference.by_op.get(maker.index)
            if wanted not in known and layer is not None and got in layer.inputs and layer.kind not in SHAPING:
                missing = self._reference.facts.ops[layer.work]
                finding = OpMissing(missing=OpOfReference(missing.name, self._reference.facts.tensors[wanted].name))
                suspect = self._suspect(reference_layer, candidate_layer, candidate_layer.work, finding, plain=False)
                yield replace(suspect, patch=None)

    def _rewired(self, reference_layer: FusedLayer, candidate_layer: FusedLayer) -> Patch | None:
        """Lets the op read what the reference's reads, where these tensors take each other's place."""
        op, tensors = self._candidate.facts.ops[candidate_layer.work], self._candidate.facts.tensors
        places = [place for place, index in enumerate(op.inputs) if index >= 0 and index not in self._fixed]
        twins = {reference: index for index, reference in self._same.items()}
        # What the op reads itself stands before QUANTIZE and shaping ops, if there are any.
        near = {root: op.inputs[place] for root, place in zip(candidate_layer.inputs, places, strict=False)}
        inputs = list(op.inputs)
        for place, wanted in zip(places, reference_layer.inputs, strict=False):
            twin = twins.get(wanted, -1)
            inputs[place] = near.get(twin, twin)
            one, other = tensors[op.inputs[place]], tensors[inputs[place]]
            if twin < 0 or (one.dtype, one.quantization is None) != (other.dtype, other.quantization is None):
                return None
        return (
            (lambda editor: editor.set_inputs(op.index, inputs)) if len(places) == len(reference_layer.inputs) else None
        )

    @property
    def _fixed(self) -> frozenset[int]:
        return frozenset(self._candidate.facts.main.fixed)

    def _same_range(self, reference_layer: FusedLayer, candidate_layer: FusedLayer) -> bool:
        """Whether two activations let the same values through: a quantized tensor has bounds of its own."""
        bounds = [layer.bounds for layer in (reference_layer, candidate_layer)]
        if bounds[0] is None or bounds[1] is None:
            return False
        if same(bounds[0], bounds[1]):
            return True
        tensor = self._candidate.facts.tensors[candidate_layer.outputs[0]]
        if tensor.quantization is None or not tensor.dtype.startswith("int"):
            return False
        low, high = representable(tensor.quantization, tensor.dtype)
        layer = tensor.quantization.scales[0]
        bound = bounds[1]
        seen = self._seen.get(tensor.index, bound)
        if seen[0] < bound[0] - layer or seen[1] > bound[1] + layer:
            return False
        one, other = ((max(low, pair[0]), min(high, pair[1])) for pair in bounds if pair is not None)
        return abs(one[0] - other[0]) <= layer and abs(one[1] - other[1]) <= layer

    def _rank(self, layer: FusedLayer) -> int:
        """The rank of what an op's axis counts in: its result, or what it takes apart."""
        op = self._candidate.facts.ops[layer.work]
        tensor = op.inputs[0] if op.name in ("UNPACK", "GATHER", "ARG_MAX", "ARG_MIN") else op.outputs[0]
        return max(1, len(self._candidate.facts.tensors[tensor].shape))

    def _suspect(
        self,
        reference_layer: FusedLayer,
        candidate_layer: FusedLayer,
        op_index: int,
        finding: CauseFinding,
        *,
        plain: bool = True,
    ) -> Suspect:
        op = self._candidate.facts.ops[op_index]
        tensor = self._candidate.facts.tensors[op.outputs[0]]
        patch = self._patch(reference_layer, candidate_layer)
        return Suspect(finding, tensor.name, op.index, tensor.index, plain, patch)

    def _kind(self, reference_layer: FusedLayer) -> str:
        """The kind of op that a layer of the reference computes with."""
        return self._reference.facts.ops[reference_layer.work].name

    def _patch(self, reference_layer: FusedLayer, candidate_layer: FusedLayer) -> Patch | None:
        """The reference's op in the candidate's place, where both steps are written with the same number of ops."""
        if len(reference_layer.members) != len(candidate_layer.members):
            return self._activation_patch(reference_layer, candidate_layer)
        reference, graph = self._reference.facts.path, self._graph

        def patch(editor: Editor) -> None:
            source = Editor(reference) if not graph else Editor(reference).inside(graph)
            for a, b in zip(reference_layer.members, candidate_layer.members, strict=True):
                editor.take_op(b, source, a)

        return patch

    def _without_activation(self, candidate_layer: FusedLayer) -> Patch | None:
        op = self._candidate.facts.ops[self._activates(candidate_layer)]
        if "fused_activation_function" not in op.options or op.name in ACTIVATIONS:
            return None
        return lambda editor: editor.set_options(op.index, fused_activation_function="NONE")

    def _activation_patch(self, reference_layer: FusedLayer, candidate_layer: FusedLayer) -> Patch | None:
        op = self._candidate.facts.ops[self._activates(candidate_layer)]
        if (
            reference_layer.kind != candidate_layer.kind
            or op.name in ACTIVATIONS
            or "fused_activation_function" not in op.options
        ):
            return None
        if (
            reference_layer.activation not in BOUNDS
            or reference_layer.activation == candidate_layer.activation
            or candidate_layer.clips
        ):
            # No op can fuse it, it is not what differs, or another op applies it.
            return None
        return lambda editor: editor.set_options(op.index, fused_activation_function=reference_layer.activation)


def _other_bound(reference_layer: FusedLayer, candidate_layer: FusedLayer) -> tuple[Clip, float, float] | None:
    """The clip of the candidate's step that sets another bound than the reference's, its bound and the reference's."""
    if reference_layer.bounds is None or candidate_layer.bounds is None:
        return None
    for end in (1, 0):
        if reference_layer.bounds[end] != candidate_layer.bounds[end]:
            for clip in candidate_layer.clips:
                if clip.bounds[end] == candidate_layer.bounds[end]:
                    return clip, candidate_layer.bounds[end], reference_layer.bounds[end]
    return None


def _same(a: Any, b: Any, rank: int) -> bool:
    if isinstance(a, float) or isinstance(b, float):
        return (
            isinstance(a, (int, float)) and isinstance(b, (int, float)) and math.isclose(a, b, rel_tol=SAME_ATTRIBUTE)
        )
    if isinstance(a, int) and isinstance(b, int) and not isinstance(a, bool) and a != b:
        # Axes count from either end.
        return min(a, b) < 0 and a % rank == b % rank
    return bool(a == b) or (not a and not b)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value[:32].hex()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
