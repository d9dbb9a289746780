"""A model read as canonical fused layers.

Converters write the same layer in many ways. Batch normalization is folded into the weights or left as MUL and ADD. An
activation is fused or an op of its own, padding is PAD or SAME, a pooling over everything is MEAN. A fused layer is
one layer whichever way it is written: the op that does the work and the ops that only finish it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.graph.clipping_ops import BOUNDS, OPEN, Bounds, Clip, clip_of, named, then
from windtunnel.diagnosis.graph.constants import WEIGHTED, Constant, Constants
from windtunnel.diagnosis.graph.custom_options import custom_options
from windtunnel.tflite import ModelFacts, OpFacts, TensorFacts, layer_tensors
from windtunnel.tflite.op_kinds import AFFINE, QUANTIZING, SHAPING

ACTIVATIONS = frozenset(
    {"RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "TANH", "LOGISTIC", "LEAKY_RELU", "ELU", "GELU", "HARD_SWISH"}
)
CONSTANT_FIRST = ", constant first"
# Ops with room for a fused activation.
_FUSING = frozenset(WEIGHTED) | AFFINE | {"AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D", "CONCATENATION"}


@dataclass(frozen=True, slots=True)
class Affine:
    """An op that adds to or scales every channel of a step: `op` is ADD, SUB, MUL or DIV by `constant`.

    SUB and DIV end in `CONSTANT_FIRST` where the constant is what is subtracted from or divided.
    """

    op_index: int
    op: str
    constant: Constant


@dataclass(frozen=True, slots=True)
class FusedLayer:
    """One layer: `work` is the op that computes it, `members` all ops of it in execution order.

    `inputs` are the tensors that it reads as other layers know them (through QUANTIZE, DEQUANTIZE and shaping ops).
    `outputs` are the tensors that its last member writes. `activation` is the one applied at the end, with its
    attributes. `bounds` are the values that it lets through; None: it does more than cut values off. `clips` are the
    ops in addition to the work that cut them off.
    """

    order: int
    kind: str
    work: int
    members: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    activation: str
    attributes: Mapping[str, Any]
    constants: tuple[tuple[int, Constant], ...] = ()
    affine: tuple[Affine, ...] = ()
    activation_op: int = -1
    bounds: Bounds | None = None
    clips: tuple[Clip, ...] = ()


@dataclass(frozen=True, slots=True)
class Dilation:
    """A convolution between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND: a dilated one, written for older runtimes.

    `before` and `after` are the ops that only move values on the way in and out. `source` and `outputs` are what goes
    in and comes out. `spread` is the dilation, `pads` the zeros before and after, both of rows and columns.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    source: int
    outputs: tuple[int, ...]
    spread: tuple[int, int]
    pads: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Padding:
    """What an op adds to images: rows and columns, before and after, and the value that these hold.

    `value` is None if it is not known; `constant` holds it, and is None for a PAD, which adds zeros.
    """

    pads: tuple[tuple[int, ...], ...]
    value: NDArray[np.float64] | None
    constant: Constant | None


@dataclass
class _Draft:
    work: OpFacts
    members: list[int]
    inputs: list[int]
    outputs: tuple[int, ...]
    affine: list[Affine] = field(default_factory=list)
    activation: str = "NONE"
    activation_op: int = -1
    clips: list[Clip] = field(default_factory=list)
    pads: tuple[tuple[int, ...], ...] | None = None
    dilation: Dilation | None = None

    @property
    def bounds(self) -> Bounds | None:
        """The values that its activation lets through; None where it does more than cut values off."""
        found = BOUNDS.get(self.work.fused_activation)
        if found is None or (self.activation_op >= 0 and not self.clips):
            return None
        for clip in self.clips:
            found = then(found, clip.bounds)
        return found


class FusedModel:
    """The steps of a model's main graph in execution order.

    Args:
        facts: of the model.
    """

    def __init__(self, facts: ModelFacts) -> None:
        self.facts = facts
        self.constants = Constants(facts)
        self.makers: dict[int, OpFacts] = {index: op for op in facts.ops for index in op.outputs if index >= 0}
        self.readers: dict[int, list[OpFacts]] = defaultdict(list)
        for op in facts.ops:
            for index in {*op.inputs} - {-1}:
                self.readers[index].append(op)
        found = ((op.index, self._dilation(op)) for op in facts.ops if op.name in _CONVOLVING)
        self._dilated = {index: one for index, one in found if one is not None}
        self._taken: set[int] = {index for one in self._dilated.values() for index in (*one.before, *one.after)}
        self.fused: tuple[FusedLayer, ...] = tuple(
            self._step(order, draft) for order, draft in enumerate(self._drafts())
        )
        self._reading: dict[int, list[FusedLayer]] = defaultdict(list)
        for layer in self.fused:
            for index in set(layer.inputs):
                self._reading[index].append(layer)
        self.by_op: dict[int, FusedLayer] = {op: layer for layer in self.fused for op in layer.members}
        self.layers: dict[int, tuple[int, TensorFacts]] = {
            tensor.index: (op, tensor) for op, tensor in layer_tensors(facts) if facts.ops[op].name not in QUANTIZING
        }

    def reading(self, root: int) -> list[FusedLayer]:
        """The layers that read a value, also through shaping ops, which are among them.

        Args:
            root: index of the tensor, see `root`.

        Returns:
            In execution order.
        """
        return self._reading[root]

    def root(self, tensor: int) -> int:
        """The tensor whose value another one restates or moves.

        Args:
            tensor: index.

        Returns:
            Index of the tensor before all QUANTIZE, DEQUANTIZE and shaping ops.
        """
        while (maker := self.makers.get(tensor)) is not None and maker.name in QUANTIZING | SHAPING:
            if maker.inputs[0] in self.facts.main.fixed:
                break
            tensor = maker.inputs[0]
        return tensor

    def stored(self, tensor: int) -> int:
        """The tensor that another one restates through QUANTIZE and DEQUANTIZE alone.

        Args:
            tensor: index.

        Returns:
            Index of the tensor before those ops.
        """
        while (maker := self.makers.get(tensor)) is not None and maker.name in QUANTIZING:
            tensor = maker.inputs[0]
        return tensor

    def _drafts(self) -> list[_Draft]:
        drafts = []
        for op in self.facts.ops:
            if op.index in self._taken or op.name in QUANTIZING or not self._is_live(op):
                continue
            if op.name in _PADDING and self._padded_by(op) is not None:
                # The convolution that reads it takes it.
                continue
            self._taken.add(op.index)
            draft = _Draft(op, [op.index], self._activations(op), op.outputs, activation=op.fused_activation)
            if (dilation := self._dilated.get(op.index)) is not None:
                draft.dilation, draft.pads, draft.inputs[0] = dilation, dilation.pads, dilation.source
                draft.members[:0] = sorted(dilation.before)
            elif op.name in _PADDED:
                self._take_padding(draft)
            if (clip := clip_of(op, self.constants)) is not None:
                draft.clips.append(clip)
                draft.activation, draft.activation_op = named(clip.bounds), op.index
            if clip is not None or (op.name in _FUSING and draft.activation in BOUNDS):
                self._take_tail(draft)
            self._close(draft)
            drafts.append(draft)
        return sorted(drafts, key=lambda draft: draft.work.index)

    def _is_live(self, op: OpFacts) -> bool:
        return any(index >= 0 and index not in self.facts.main.fixed for index in op.outputs)

    def _activations(self, op: OpFacts) -> list[int]:
        fixed = self.facts.main.fixed
        return [index for index in op.inputs if index >= 0 and index not in fixed]

    def _dilation(self, op: OpFacts) -> Dilation | None:
        """How a convolution is dilated by means of the batch dimension; None if it is not."""
        before, first = self._moved_from(op.inputs[0])
        after, last = self._moved_to(op.outputs[0])
        if first is None or last is None or (first.name, last.name) != ("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"):
            return None
        if op.options.get("padding") != "VALID" or len(self.readers[first.outputs[0]]) != 1:
            return None
        found = [
            self.constants.find(index)
            for index in (first.inputs[1], last.inputs[1], *first.inputs[2:], *last.inputs[2:])
        ]
        known = [None if one is None else self.constants.stored(one) for one in found]
        if len(known) != 4 or any(one is None for one in known):
            return None
        block, other, pads, crops = (np.asarray(one) for one in known)
        if not np.array_equal(block, other) or block.size > 2:
            return None
        missing = 2 - block.size
        zeros = np.zeros((missing, 2), dtype=np.int64)
        sizes = np.concatenate([zeros, pads.reshape(-1, 2) - crops.reshape(-1, 2)])
        spread = (*(1,) * missing, *(int(size) for size in block.ravel()))
        source, padding = first.inputs[0], list[int]()
        maker = self.makers.get(self.stored(source))
        # Only the step may read what is padded for it.
        if maker is not None and self._reader_of_padded(maker) is first and (added := self._zeros_of(maker)):
            sizes = sizes + np.asarray(added)
            source, padding = maker.inputs[0], [maker.index]
        return Dilation(
            before=(*padding, first.index, *before),
            after=(*after, last.index),
            source=source,
            outputs=last.outputs,
            spread=(spread[0], spread[1]),
            pads=tuple(tuple(int(size) for size in pair) for pair in sizes),
        )

    def _moved_from(self, tensor: int) -> tuple[list[int], OpFacts | None]:
        """The ops that only move the values on their way to this tensor, and the one that made them."""
        passed = []
        while (maker := self.makers.get(tensor)) is not None and maker.name in QUANTIZING | SHAPING:
            passed += [maker.index] if maker.name in SHAPING else []
            tensor = maker.inputs[0]
        return passed, maker

    def _moved_to(self, tensor: int) -> tuple[list[int], OpFacts | None]:
        """The ops that only move the values on their way from this tensor to the first op that does more.

        What a step's tail may hold (an activation, sums and products with constants) is passed, and not listed.
        """
        passed = []
        while (reader := self._only_reader(tensor)) is not None and self._may_pass(reader):
            passed += [reader.index] if reader.name in SHAPING else []
            tensor = reader.outputs[0]
        return passed, reader

    def _may_pass(self, op: OpFacts) -> bool:
        constant = op.name in AFFINE and any(self.constants.find(index) is not None for index in op.inputs)
        return op.name in QUANTIZING | SHAPING | ACTIVATIONS or constant

    def _close(self, draft: _Draft) -> None:
        """Lets a dilated step end where its values are back in place."""
        left = [] if draft.dilation is None else [op for op in draft.dilation.after if op not in draft.members]
        if draft.dilation is not None and left:
            draft.members += left
            draft.outputs = self.facts.ops[left[-1]].outputs

    def _take_padding(self, draft: _Draft) -> None:
        """Zeros that an op adds, which only this convolution reads, are its padding."""
        maker = self.makers.get(self.stored(draft.inputs[0])) if draft.inputs else None
        if maker is None or (pads := self._padded_by(maker)) is None:
            return
        draft.pads = pads
        draft.inputs[0] = maker.inputs[0]
        draft.members.insert(0, maker.index)
        self._taken.add(maker.index)

    def _padded_by(self, pad: OpFacts) -> tuple[tuple[int, ...], ...] | None:
        """Rows and columns of zeros that an op adds for a convolution, before and after; None if it is more."""
        reader = self._reader_of_padded(pad)
        if reader is None or reader.name not in _CONVOLVING or reader.options.get("padding") != "VALID":
            return None
        return self._zeros_of(pad) if self.stored(reader.inputs[0]) == pad.outputs[0] else None

    def _reader_of_padded(self, pad: OpFacts) -> OpFacts | None:
        """The only op that reads what an op adds to, as it is or quantized again; None if there are others."""
        reader = self._only_reader(pad.outputs[0])
        while reader is not None and reader.name in QUANTIZING:
            reader = self._only_reader(reader.outputs[0])
        return reader

    def _zeros_of(self, pad: OpFacts) -> tuple[tuple[int, ...], ...] | None:
        """Rows and columns of zeros that an op adds to images, before and after; None if it adds anything else."""
        padding = self.padding_of(pad)
        return None if padding is None or padding.value is None or padding.value.any() else padding.pads

    def padding_of(self, pad: OpFacts) -> Padding | None:
        """What a PAD or PADV2 adds to images.

        Args:
            pad: any op.

        Returns:
            None if it is another op, or pads the batch or the channels.
        """
        if pad.name not in _PADDING:
            return None
        found = [self.constants.find(index) for index in pad.inputs[1:]]
        known = [None if one is None else self.constants.real(one) for one in found]
        values = known[0]
        if values is None or values.shape != (4, 2) or values[[0, 3]].any():
            return None
        pads = tuple(tuple(int(size) for size in pair) for pair in values[1:3])
        return Padding(pads, known[1], found[1]) if len(found) > 1 else Padding(pads, np.zeros(()), None)

    def _take_tail(self, draft: _Draft) -> None:
        """Follows the step's value through per-channel MUL and ADD to an activation, as long as it is read once."""
        at, passed = draft.outputs[0], list[int]()
        # Counted from the end: -1 where channels are last.
        place = -1 if draft.work.name in WEIGHTED else None
        own = () if draft.dilation is None else draft.dilation.after
        while (reader := self._only_reader(at)) is not None and (
            reader.index not in self._taken or reader.index in own
        ):
            if reader.name in QUANTIZING | SHAPING or reader.index in own:
                if reader.name not in QUANTIZING:
                    passed.append(reader.index)
                    place = self._channels_after(reader, place, self._channels(draft))
                at = reader.outputs[0]
                continue
            clip = clip_of(reader, self.constants)
            # Behind an activation only what cuts values off once more is part of it.
            affine = self._affine(draft, reader) if place == -1 and draft.activation == "NONE" else None
            if clip is not None:
                draft.clips.append(clip)
            elif affine is not None:
                draft.affine.append(affine)
            elif reader.name not in ACTIVATIONS or draft.activation != "NONE":
                return
            self._taken |= {*passed, reader.index}
            draft.members += [*passed, reader.index]
            passed = []
            draft.outputs, at = reader.outputs, reader.outputs[0]
            if clip is not None:
                draft.activation, draft.activation_op = named(draft.bounds or OPEN), reader.index
                continue
            draft.activation = _activation(reader)
            if draft.activation != "NONE":
                draft.activation_op = reader.index
                return

    def _channels_after(self, op: OpFacts, place: int | None, channels: int) -> int | None:
        """Where a shaping op puts the channels; None if they are no longer the last dimension."""
        if place is None:
            return None
        if op.name == "TRANSPOSE":
            found = self.constants.find(op.inputs[1])
            order = None if found is None else self.constants.stored(found)
            return None if order is None else [int(one) - order.size for one in order].index(place) - order.size
        size = 1
        for extent in reversed(self.facts.tensors[op.outputs[0]].shape):
            size *= extent
            if size == channels:
                return -1 if place == -1 else None
        return None

    def _affine(self, draft: _Draft, op: OpFacts) -> Affine | None:
        if op.name not in AFFINE or len(op.inputs) != 2:
            return None
        found = [self.constants.find(index) for index in op.inputs]
        constant, name = found[1] or found[0], op.name
        if constant is None:
            return None
        if found[1] is None and op.name in ("SUB", "DIV"):
            name = f"{op.name}{CONSTANT_FIRST}"
        size = math.prod(constant.stored.shape)
        widths = [width for width in constant.stored.shape if width != 1]
        shape = [width for width in self.facts.tensors[op.outputs[0]].shape if width != 1]
        per_channel = size == self._channels(draft) and shape[len(shape) - len(widths) :] == widths
        return Affine(op.index, name, constant) if size == 1 or per_channel else None

    def _channels(self, draft: _Draft) -> int:
        return next(iter(self.facts.tensors[draft.work.outputs[0]].shape[-1:]), 1)

    def _only_reader(self, tensor: int) -> OpFacts | None:
        readers = self.readers[tensor]
        return readers[0] if len(readers) == 1 and tensor not in self.facts.main.output_indices else None

    def _step(self, order: int, draft: _Draft) -> FusedLayer:
        op = draft.work
        constants = tuple(
            (position, constant)
            for position, index in enumerate(op.inputs)
            if (constant := self.constants.find(index)) is not None
        )
        kind, attributes = canonical(self.facts, op, self.constants, draft.pads, draft.dilation)
        return FusedLayer(
            order=order,
            kind=kind,
            work=op.index,
            members=tuple(sorted(draft.members)),
            inputs=tuple(self.root(index) for index in draft.inputs),
            outputs=draft.outputs,
            activation=draft.activation,
            attributes=attributes,
            constants=constants,
            affine=tuple(draft.affine),
            activation_op=draft.activation_op,
            bounds=draft.bounds,
            clips=tuple(draft.clips),
        )


_CONVOLVING = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})
_PADDED = _CONVOLVING | {"AVERAGE_POOL_2D", "MAX_POOL_2D"}
_PADDING = frozenset({"PAD", "PADV2"})
# Options that say how something is computed, not what.
_IMPLEMENTATION = frozenset(
    {
        "fused_activation_function",
        "pot_scale_int16",
        "weights_format",
        "quantized_bias_type",
        "asymmetric_quantize_inputs",
        "quant_spec",
        "keep_num_dims",
        "custom_options",
        "new_shape",
        "squeeze_dims",
        "keep_dims",
        "in_data_type",
        "out_data_type",
        "subgraph",
        "ker_id",
        # Numbers of other graphs: `subgraphs` compares these.
        "cond_subgraph_index",
        "body_subgraph_index",
        "then_subgraph_index",
        "else_subgraph_index",
        "init_subgraph_index",
    }
)


def canonical(
    facts: ModelFacts,
    op: OpFacts,
    constants: Constants,
    pads: Sequence[Sequence[int]] | None,
    dilation: Dilation | None = None,
) -> tuple[str, dict[str, Any]]:
    """What an op computes, the same for all ways to write it.

    Padding becomes the rows and columns added on each side. Strides and dilations of a 1x1 kernel over one pixel, which
    change nothing, are left out. An op that only cuts values off is a CLIP. An average over a whole image is
    GLOBAL_AVERAGE; a FULLY_CONNECTED and a 1x1 CONV_2D are both POINTWISE; a SELECT_V2 of equal shapes is a SELECT.

    Args:
        facts: of the model.
        op: any op of it.
        constants: of the model.
        pads: zeros that an earlier PAD adds, before and after for each dimension; None: there is no PAD.
        dilation: written by SPACE_TO_BATCH_ND; None: not.

    Returns:
        A kind and its attributes.
    """
    attributes = {name: value for name, value in op.options.items() if name not in _IMPLEMENTATION}
    if op.name in _PADDED:
        window = _window(facts, op)
        if op.name == "AVERAGE_POOL_2D" and _covers(facts, op, window) and pads is None:
            return "GLOBAL_AVERAGE", {}
        attributes = _windowed(facts, op, window, pads)
        if dilation is not None:
            attributes["dilation"] = dilation.spread
        pointwise = window == (1, 1) and attributes["stride"] == (1, 1) and not any(map(any, attributes["pads"]))
        if op.name == "CONV_2D" and pointwise:
            return "POINTWISE", {}
    if op.name == "FULLY_CONNECTED":
        return "POINTWISE", {}
    if op.name == "MEAN" and _over_image(facts, op, constants):
        return "GLOBAL_AVERAGE", {}
    if op.name == "SELECT_V2" and len({facts.tensors[index].shape for index in op.inputs}) == 1:
        # What it has beyond SELECT is broadcasting.
        return "SELECT", attributes
    if clip_of(op, constants) is not None:
        return "CLIP", {}
    if op.is_custom:
        attributes |= custom_options(op)
    return op.name, attributes


def _activation(op: OpFacts) -> str:
    """An activation op with its attributes, or the activation fused into another op."""
    if op.name not in ACTIVATIONS:
        return op.fused_activation
    attributes = {name: value for name, value in op.options.items() if name not in _IMPLEMENTATION}
    said = ", ".join(f"{name}={value:.6g}" for name, value in sorted(attributes.items()))
    return f"{op.name}({said})" if said else op.name


def is_rectified(op: OpFacts) -> bool:
    """Whether an op lets no value below 0 through.

    Args:
        op: any op.

    Returns:
        True for RELU and RELU6, also fused.
    """
    return op.name in ("RELU", "RELU6") or op.fused_activation in ("RELU", "RELU6")


def activation_bounds(op: OpFacts) -> tuple[float, float]:
    """The real values between which an op's activation keeps its float output.

    Args:
        op: any op.

    Returns:
        (low, high); infinite if nothing bounds them.
    """
    return BOUNDS.get(op.name) or BOUNDS.get(op.fused_activation, OPEN)


def _window(facts: ModelFacts, op: OpFacts) -> tuple[int, int]:
    if op.name in WEIGHTED:
        shape = facts.tensors[op.inputs[1]].shape
        return (shape[1], shape[2]) if len(shape) == 4 else (1, 1)
    return int(op.options.get("filter_height", 1)), int(op.options.get("filter_width", 1))


def _covers(facts: ModelFacts, op: OpFacts, window: tuple[int, int]) -> bool:
    shape = facts.tensors[op.inputs[0]].shape
    return len(shape) == 4 and tuple(shape[1:3]) == window and facts.tensors[op.outputs[0]].shape[1:3] == (1, 1)


def _over_image(facts: ModelFacts, op: OpFacts, constants: Constants) -> bool:
    axes = constants.find(op.inputs[1]) if len(op.inputs) > 1 else None
    values = None if axes is None else constants.stored(axes)
    rank = len(facts.tensors[op.inputs[0]].shape)
    return values is not None and rank == 4 and {int(axis) % rank for axis in np.ravel(values)} == {1, 2}


def _windowed(
    facts: ModelFacts, op: OpFacts, window: tuple[int, int], pads: Sequence[Sequence[int]] | None
) -> dict[str, Any]:
    options = op.options
    stride = int(options.get("stride_h", 1)), int(options.get("stride_w", 1))
    dilation = int(options.get("dilation_hfactor", 1) or 1), int(options.get("dilation_wfactor", 1) or 1)
    sizes = facts.tensors[op.inputs[0]].shape[1:3]
    padding = pads
    if padding is None:
        same = options.get("padding") == "SAME"
        padding = [
            _same(size, edge, layer, spread) if same else (0, 0)
            for size, edge, layer, spread in zip(sizes, window, stride, dilation, strict=False)
        ]
    single = tuple(facts.tensors[op.outputs[0]].shape[1:3]) == (1, 1)
    found: dict[str, Any] = {
        "window": window,
        # With one position there is nothing to step to.
        "stride": (1, 1) if single else stride,
        "dilation": dilation if window != (1, 1) else (1, 1),
        "pads": tuple(tuple(pair) for pair in padding),
    }
    if op.name == "DEPTHWISE_CONV_2D":
        # The option may be left at 0; the shapes decide.
        found["multiplier"] = facts.tensors[op.outputs[0]].shape[-1] // max(1, facts.tensors[op.inputs[0]].shape[-1])
    return found


def _same(size: int, window: int, stride: int, dilation: int) -> tuple[int, int]:
    """Zeros before and after one dimension under SAME padding (TensorFlow's rule)."""
    if size <= 0:
        return (-1, -1)
    reach = (window - 1) * dilation + 1
    total = max((math.ceil(size / stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2
