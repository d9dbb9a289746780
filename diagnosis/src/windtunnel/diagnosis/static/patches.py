"""Changes that fix a candidate: what a suspect says is wrong, corrected in the file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.graph.constants import WEIGHTED, Constant
from windtunnel.diagnosis.graph.fused_layers import FusedModel
from windtunnel.diagnosis.static.suspect import Patch
from windtunnel.tflite import OpFacts, Quantization, quantize
from windtunnel.tflite.dtypes import integer_limits
from windtunnel.tflite.edit import Editor

Array = NDArray[np.float64]


def put_weights(side: FusedModel, op: OpFacts, constant: Constant, table: Array) -> Patch | None:
    """Sets the weights to other real values, in the candidate's own type.

    Quantized weights get scales that can represent the table. The bias, whose scale is input scale times weight scale,
    gets the integers that mean the same as before under the new scale.

    Args:
        side: the candidate model.
        op: the weighted op.
        constant: its weights.
        table: (channels, per channel), real.

    Returns:
        None: the file cannot store it.
    """
    values = _unrolled(table, constant.stored.shape, WEIGHTED[op.name][2])
    if values is None:
        return None
    if constant.quantization is None:
        return lambda editor: editor.set_constant(constant.stored.index, values)
    scales = _scales_for(table, constant)
    return _with_scales(side, op, constant, values, scales)


def put_weight_scales(side: FusedModel, op: OpFacts, table: Array) -> Patch | None:
    """Calibrates quantized weights again.

    Args:
        side: the candidate model.
        op: the weighted op.
        table: (channels, per channel), real.

    Returns:
        None: the weights are not a constant, or the file cannot store them.
    """
    constant = side.constants.find(op.inputs[WEIGHTED[op.name][0]])
    return None if constant is None else put_weights(side, op, constant, table)


def put_per_channel(side: FusedModel, op: OpFacts, table: Array) -> Patch | None:
    """Quantizes the weights again with one scale per output channel.

    Args:
        side: the candidate model.
        op: the weighted op.
        table: (channels, per channel), real.

    Returns:
        None: the weights are not quantized, or the file cannot store them.
    """
    place, _, axis = WEIGHTED[op.name]
    constant = side.constants.find(op.inputs[place])
    if constant is None or constant.quantization is None:
        return None
    values = _unrolled(table, constant.stored.shape, axis)
    limit = integer_limits(constant.stored.dtype)[1]
    largest = np.abs(table).max(axis=1)
    scales = Quantization(
        tuple(float(size) / limit if size > 0 else 1.0 for size in largest), (0,) * len(largest), axis
    )
    return None if values is None else _with_scales(side, op, constant, values, scales)


def put_bias(side: FusedModel, op: OpFacts, values: Array) -> Patch | None:
    """Sets the bias; one that is left out is added.

    Args:
        side: the candidate model.
        op: the weighted op.
        values: (channels,), real.

    Returns:
        None: the file cannot store it.
    """
    place = WEIGHTED[op.name][1]
    index = op.inputs[place] if place < len(op.inputs) else -1
    constant = side.constants.find(index)
    scales = bias_scales(side, op)
    if constant is None and index >= 0:
        return None
    kind = _bias_kind(side, op) if constant is None else constant.stored.dtype
    stored = np.rint(values / scales).astype(np.int64) if kind.startswith("int") and scales is not None else values
    if kind.startswith("int") and scales is None:
        return None
    quantization = None if scales is None else Quantization(tuple(scales), (0,) * len(scales), 0)

    def patch(editor: Editor) -> None:
        if constant is not None and constant.stored.shape == stored.shape:
            editor.set_constant(constant.stored.index, stored)
            return
        added = editor.add_constant("bias/fixed", stored, kind, quantization)
        inputs = [*op.inputs[:place], *[-1] * (place - len(op.inputs)), added]
        editor.set_inputs(op.index, inputs)

    return patch


def put_constant(constant: Constant, values: Array, *, new_scale: bool = True) -> Patch | None:
    """Sets a constant to other real values of its own size.

    Another tensor may share the scale: what a GATHER picks from a table has the table's.

    Args:
        constant: of the candidate.
        values: real.
        new_scale: choose a scale that can represent them; False: only if the constant's own cannot.

    Returns:
        None: the file cannot store it.
    """
    shaped = values.reshape(constant.stored.shape)
    quantization = constant.quantization
    if quantization is None:
        kind = constant.stored.dtype
        stored = shaped.astype(np.int64) if kind.startswith("int") else shaped
        return lambda editor: editor.set_constant(constant.stored.index, stored)
    if len(quantization.scales) != 1 or constant.stored.dtype == "int32":
        return None
    fitted = _fitted(shaped, constant.stored.dtype, quantization)
    if not new_scale and _holds(quantization, constant.stored.dtype, fitted):
        fitted = quantization
    stored = quantize(shaped, fitted, constant.stored.dtype)

    def patch(editor: Editor) -> None:
        editor.set_constant(constant.stored.index, stored)
        editor.set_quantization(constant.stored.index, fitted)

    return patch


def _fitted(values: Array, dtype: str, old: Quantization) -> Quantization:
    """One scale and zero point that hold all values and 0."""
    least, most = integer_limits(dtype)
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    if dtype == "int16":
        # Kernels take 16 bits around 0 only.
        return Quantization((max(-low, high) / most or old.scales[0],), (0,), old.axis)
    scale = (high - low) / (most - least) or old.scales[0]
    return Quantization((scale,), (round(least - low / scale),), old.axis)


def _holds(one: Quantization, dtype: str, other: Quantization) -> bool:
    """Whether one scale and zero point hold, to a step, what another does."""
    least, most = integer_limits(dtype)
    (low, high), (other_low, other_high) = (
        (each.scales[0] * (least - each.zero_points[0]), each.scales[0] * (most - each.zero_points[0]))
        for each in (one, other)
    )
    layer = max(one.scales[0], other.scales[0])
    return low <= other_low + layer and high >= other_high - layer


def put_activation(side: FusedModel, tensors: frozenset[int], quantization: Quantization) -> Patch:
    """Gives tensors another scale and zero point, and keeps the meaning of the biases that depend on them.

    Args:
        side: the candidate model.
        tensors: indices.
        quantization: the new one.

    Returns:
        The patch.
    """
    facts = side.facts

    def patch(editor: Editor) -> None:
        for index in tensors:
            editor.set_quantization(index, quantization)
        for op in facts.ops:
            if op.name in WEIGHTED and op.inputs[input_place(op)] in tensors:
                _rescale_bias(side, editor, op, quantization.scales[0])

    return patch


def bias_scales(side: FusedModel, op: OpFacts, *, input_scale: float | None = None) -> Array | None:
    """Input scale times weight scales: what the kernel takes a bias integer to mean.

    Args:
        side: the model.
        op: the weighted op.
        input_scale: of the input; None: as in the file.

    Returns:
        (channels,); None for an op that does not compute in integers.
    """
    source = side.facts.tensors[op.inputs[input_place(op)]]
    constant = side.constants.find(op.inputs[WEIGHTED[op.name][0]])
    channels = side.facts.tensors[op.outputs[0]].shape[-1]
    if source.quantization is None or constant is None or constant.quantization is None:
        return None
    weights = np.asarray(constant.quantization.scales, dtype=np.float64)
    scale = source.quantization.scales[0] if input_scale is None else input_scale
    return np.broadcast_to(scale * weights, (channels,)).copy()


def input_place(op: OpFacts) -> int:
    """Which operand of a weighted op has the values that it works on.

    Args:
        op: the weighted op.

    Returns:
        Position among its inputs.
    """
    return 2 if op.name == "TRANSPOSE_CONV" else 0


def _bias_kind(side: FusedModel, op: OpFacts) -> str:
    kind = side.facts.tensors[op.inputs[input_place(op)]].dtype
    return {"int8": "int32", "uint8": "int32", "int16": "int64"}.get(kind, "float32")


def _rescale_bias(side: FusedModel, editor: Editor, op: OpFacts, input_scale: float) -> None:
    place = WEIGHTED[op.name][1]
    constant = side.constants.find(op.inputs[place]) if place < len(op.inputs) else None
    scales = bias_scales(side, op, input_scale=input_scale)
    if constant is None or scales is None or constant.quantization is None:
        return
    real = side.constants.real(constant)
    if real is not None:
        _set_bias(editor, constant, real.reshape(-1), scales)


def _set_bias(editor: Editor, constant: Constant, real: Array, scales: Array) -> None:
    stored = np.clip(np.rint(real / scales), *integer_limits(constant.stored.dtype)).astype(np.int64)
    editor.set_constant(constant.stored.index, stored.reshape(constant.stored.shape))
    editor.set_quantization(constant.stored.index, Quantization(tuple(scales), (0,) * len(scales), 0))


def _with_scales(side: FusedModel, op: OpFacts, constant: Constant, values: Array, scales: Quantization) -> Patch:
    bias_place = WEIGHTED[op.name][1]
    bias = side.constants.find(op.inputs[bias_place]) if bias_place < len(op.inputs) else None
    limit = integer_limits(constant.stored.dtype)[1]
    shape = [1] * values.ndim
    shape[scales.axis] = -1
    spread = np.asarray(scales.scales).reshape(shape) if len(scales.scales) > 1 else np.asarray(scales.scales[0])
    stored = np.clip(np.rint(values / spread), -limit, limit).astype(np.int64)
    real = None if bias is None or bias.quantization is None else side.constants.real(bias)
    source = side.facts.tensors[op.inputs[input_place(op)]]

    def patch(editor: Editor) -> None:
        editor.set_constant(constant.stored.index, stored)
        editor.set_quantization(constant.stored.index, scales)
        if bias is not None and real is not None and source.quantization is not None:
            channels = side.facts.tensors[op.outputs[0]].shape[-1]
            given = np.broadcast_to(np.asarray(scales.scales) * source.quantization.scales[0], (channels,))
            _set_bias(editor, bias, real.reshape(-1), given)

    return patch


def _scales_for(table: Array, constant: Constant) -> Quantization:
    """The constant's scales, computed again from the table with the same granularity."""
    old = constant.quantization
    assert old is not None
    limit = integer_limits(constant.stored.dtype)[1]
    largest = np.abs(table).max(axis=1) if len(old.scales) > 1 else np.abs(table).max(keepdims=True).reshape(-1)
    scales = tuple(
        float(size) / limit if size > 0 else float(fallback) for size, fallback in zip(largest, old.scales, strict=True)
    )
    return Quantization(scales, (0,) * len(scales), old.axis)


def _unrolled(table: Array, shape: tuple[int, ...], axis: int) -> Array | None:
    """A (channels, per channel) table back in the shape of the weights."""
    if table.size != int(np.prod(shape)) or len(table) != shape[axis]:
        return None
    rest = [size for place, size in enumerate(shape) if place != axis]
    return np.moveaxis(table.reshape(shape[axis], *rest), 0, axis)
