"""Faults in one op: its kind, its fused activation, its attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from support.fault_files import File
from support.fault_hits import OP, Fault, Hit, at

_ACTIVATIONS = schema.ActivationFunctionType
_SAME, _VALID = schema.Padding.SAME, schema.Padding.VALID


def _one(what: str, fits: Callable[[File, Any], bool], change: Callable[[File, Any], None]) -> Fault:
    """A fault that changes one op of those that fit."""

    def fault(file: File, draw: np.random.Generator) -> Hit | None:
        ops = [op for _, op in file.layers() if fits(file, op)]
        if not ops:
            return None
        op = ops[draw.integers(len(ops))]
        change(file, op)
        return at(file, op, OP, what)

    return fault


def _fused(op: Any) -> int:
    return int(getattr(op.builtinOptions, "fusedActivationFunction", _ACTIVATIONS.NONE) or 0)


def _activation(before: str, after: str) -> Fault:
    """One activation for another, fused or as an op of its own."""

    def fits(file: File, op: Any) -> bool:
        fused = _fused(op) == getattr(_ACTIVATIONS, before)
        return fused or (file.kind(op) == before and after != "NONE")

    def change(file: File, op: Any) -> None:
        if file.kind(op) == before:
            file.set_kind(op, after, 2 if file.dtype(int(op.outputs[0])) == np.int8 else 1)
        else:
            op.builtinOptions.fusedActivationFunction = getattr(_ACTIVATIONS, after)

    return _one(f"{before} became {after}", fits, change)


def _kind(before: str, after: str, options: Callable[[], Any] | None = None) -> Fault:
    """One op for another of the same inputs and options."""

    def change(file: File, op: Any) -> None:
        version = file.model.operatorCodes[op.opcodeIndex].version
        file.set_kind(op, after, min(version, 2))
        if options is not None:
            new = options()
            new.fusedActivationFunction = _fused(op)
            op.builtinOptionsType = getattr(schema.BuiltinOptions, type(new).__name__.removesuffix("T"))
            op.builtinOptions = new

    def fits(file: File, op: Any) -> bool:
        return file.kind(op) == before and (options is None or all(not file.is_constant(int(one)) for one in op.inputs))

    return _one(f"{before} became {after}", fits, change)


def _no_options(before: str, after: str) -> Fault:
    def change(file: File, op: Any) -> None:
        file.set_kind(op, after)
        op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.NONE, None

    return _one(f"{before} became {after}", lambda file, op: file.kind(op) == before, change)


def _attribute(kinds: tuple[str, ...], name: str, change: Callable[[Any], Any]) -> Fault:
    """Another value of an attribute."""

    def apply(file: File, op: Any) -> None:
        setattr(op.builtinOptions, name, change(getattr(op.builtinOptions, name)))

    return _one(f"{name} changed", lambda file, op: file.kind(op) in kinds, apply)


def _half_pixel(file: File, op: Any) -> None:
    op.builtinOptions.halfPixelCenters = not op.builtinOptions.halfPixelCenters
    op.builtinOptions.alignCorners = False


def _align_corners(file: File, op: Any) -> None:
    op.builtinOptions.alignCorners = not op.builtinOptions.alignCorners
    op.builtinOptions.halfPixelCenters = False


def _resizes(file: File, op: Any) -> bool:
    return file.kind(op) in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")


def _undilated(file: File, op: Any) -> bool:
    """A convolution that keeps its shape whatever its dilation is."""
    if file.kind(op) not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return False
    options, (_, height, width, _) = op.builtinOptions, file.shape(file.constant_of(op, 1))
    same = options.padding == _SAME and options.strideW == options.strideH == 1
    return bool(same and options.dilationWFactor == options.dilationHFactor == 1 and max(height, width) > 1)


def _dilate(file: File, op: Any) -> None:
    _, height, width, _ = file.shape(file.constant_of(op, 1))
    op.builtinOptions.dilationHFactor = 2 if height > 1 else 1
    op.builtinOptions.dilationWFactor = 2 if width > 1 else 1


def pads(file: File, op: Any) -> list[tuple[int, int]]:
    """What SAME padding adds before and after height and width."""
    options = op.builtinOptions
    found = []
    for axis, stride, dilation in (
        (1, options.strideH, options.dilationHFactor),
        (2, options.strideW, options.dilationWFactor),
    ):
        size, kernel = file.shape(int(op.inputs[0]))[axis], file.shape(file.constant_of(op, 1))[axis]
        total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        found.append((total // 2, total - total // 2))
    return found


def padded(file: File, op: Any, amounts: list[tuple[int, int]]) -> int:
    """Puts a PAD before a SAME convolution, which becomes VALID; returns the PAD's output."""
    source = int(op.inputs[0])
    shape = list(file.shape(source))
    for axis, (low, high) in zip((1, 2), amounts, strict=True):
        shape[axis] += low + high
    target = file.add_tensor(f"{file.name(source)}/padded", shape, source)
    widths = file.add_constant(f"{file.name(source)}/paddings", np.array([(0, 0), *amounts, (0, 0)], np.int32))
    version = 2 if file.dtype(source) == np.int8 else 1
    pad = file.new_op("PAD", [source, widths], [target], schema.PadOptionsT())
    file.set_kind(pad, "PAD", version)
    file.ops.insert(file.ops.index(op), pad)
    op.inputs = [target, *(int(one) for one in op.inputs[1:])]
    op.builtinOptions.padding = _VALID
    return target


def _other_side(file: File, draw: np.random.Generator) -> Hit | None:
    """The padding of a strided convolution on the other side, as frameworks that pad symmetrically have it."""

    def fits(op: Any) -> bool:
        if file.kind(op) not in ("CONV_2D", "DEPTHWISE_CONV_2D") or op.builtinOptions.padding != _SAME:
            return False
        return any(low != high for low, high in pads(file, op))

    ops = [op for _, op in file.layers() if fits(op)]
    if not ops:
        return None
    op = ops[draw.integers(len(ops))]
    target = padded(file, op, [(high, low) for low, high in pads(file, op)])
    return Hit((OP,), frozenset({target, int(op.outputs[0])}), f"padding on the other side before {file.kind(op)}")


def _swapped(kinds: tuple[str, ...]) -> Fault:
    def fits(file: File, op: Any) -> bool:
        given = [int(one) for one in op.inputs]
        distinct = len(given) >= 2 and given[0] != given[1]
        return file.kind(op) in kinds and distinct and file.shape(given[0]) == file.shape(given[1])

    def change(file: File, op: Any) -> None:
        first, second, *rest = (int(one) for one in op.inputs)
        op.inputs = [second, first, *rest]

    return _one("inputs swapped", fits, change)


BOTH: Mapping[str, Fault] = {
    "relu6_to_relu": _activation("RELU6", "RELU"),
    "relu_to_relu6": _activation("RELU", "RELU6"),
    "relu_dropped": _activation("RELU", "NONE"),
    "relu6_dropped": _activation("RELU6", "NONE"),
    "add_to_mul": _kind("ADD", "MUL", schema.MulOptionsT),
    "add_to_sub": _kind("ADD", "SUB", schema.SubOptionsT),
    "mul_to_add": _kind("MUL", "ADD", schema.AddOptionsT),
    "average_to_max": _kind("AVERAGE_POOL_2D", "MAX_POOL_2D"),
    "max_to_average": _kind("MAX_POOL_2D", "AVERAGE_POOL_2D"),
    "mean_to_max": _kind("MEAN", "REDUCE_MAX"),
    "dilation": _one("dilation changed", _undilated, _dilate),
    "padding_side": _other_side,
    "beta": _attribute(("SOFTMAX",), "beta", lambda beta: beta * 2),
    "alpha": _attribute(("LEAKY_RELU",), "alpha", lambda alpha: alpha / 10),
    "half_pixel": _one("half_pixel_centers changed", _resizes, _half_pixel),
    "align_corners": _one("align_corners changed", _resizes, _align_corners),
    "inputs_swapped": _swapped(("SUB", "DIV", "CONCATENATION")),
}
# These need other quantization parameters: only before quantization.
FLOAT_ONLY: Mapping[str, Fault] = {
    "logistic_to_tanh": _no_options("LOGISTIC", "TANH"),
    "tanh_to_logistic": _no_options("TANH", "LOGISTIC"),
    "swish_to_relu6": _no_options("HARD_SWISH", "RELU6"),
    "gelu_to_relu": _no_options("GELU", "RELU"),
}
