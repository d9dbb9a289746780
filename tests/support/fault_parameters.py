"""Faults in the quantization parameters of one tensor, made in the file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from support.fault_files import File
from support.fault_hits import PARAMETERS, Fault, Hit
from support.fault_weights import OUT_AXIS, bias_position, weighted

# The kernels require these outputs to have scales of their own.
_FIXED = ("SOFTMAX", "LOGISTIC", "TANH", "L2_NORMALIZATION", "LOG_SOFTMAX")


def activations(file: File) -> list[int]:
    """Integer tensors that a layer writes and whose scale is free, but for those bound to it."""
    found = []
    for _, op in file.layers():
        index = int(op.outputs[0])
        if file.dtype(index) in (np.int8, np.int16) and len(file.scales(index)) == 1 and _free(file, index):
            found.append(index)
    return found


def _free(file: File, index: int) -> bool:
    group = file.bound(index)
    makers = [file.maker(one) for one in group]
    fixed = any(op is not None and file.kind(op) in _FIXED for op in makers)
    return not fixed and not group & {int(one) for one in file.graph.inputs}


def _activation(file: File, draw: np.random.Generator, *, keep_bias: bool) -> Hit | None:
    """Another scale for an activation and those bound to it.

    Biases of its readers keep their real values (`keep_bias`) or their stored integers.
    """
    tensors = activations(file)
    if not tensors:
        return None
    group = file.bound(tensors[draw.integers(len(tensors))])
    factor = float(draw.choice([0.25, 0.5, 2.0, 4.0]))
    for one in group:
        file.set_scales(one, file.scales(one) * factor)
        for reader in file.readers(one):
            _scale_bias(file, reader, np.float64(factor), keep_bias)
    names = ", ".join(sorted(file.name(one) for one in group))
    return Hit((PARAMETERS,), _made(file, group), f"scale x{factor:g} of {names}")


def _made(file: File, group: set[int]) -> frozenset[int]:
    return frozenset(one for one in group if file.maker(one) is not None)


def _zero_point(file: File, draw: np.random.Generator) -> Hit | None:
    tensors = [one for one in activations(file) if file.dtype(one) == np.int8]
    if not tensors:
        return None
    group = file.bound(tensors[draw.integers(len(tensors))])
    shift = int(draw.choice([-40, -20, 20, 40]))
    for one in group:
        zero = file.zero_points(one)
        moved = zero + shift if np.all(np.abs(zero + shift) <= 127) else zero - shift
        file.set_scales(one, file.scales(one), moved)
    return Hit((PARAMETERS,), _made(file, group), f"zero point moved by {shift}")


def _scale_bias(file: File, op: Any, factor: Any, keep: bool) -> None:
    """The scale of a bias is the product of those of input and weights, always."""
    if file.kind(op) not in OUT_AXIS:
        return
    index = file.own_constant(op, bias_position(file, op))
    if index < 0 or not len(file.scales(index)):
        return
    file.set_scales(index, file.scales(index) * factor)
    if keep:
        file.set_array(index, np.round(file.array(index) / factor))


def _weights(file: File, draw: np.random.Generator, *, one_channel: bool) -> Hit | None:
    """Another scale for the weights of a layer, or for one channel of them."""
    ops = [op for op in weighted(file) if len(file.scales(file.constant_of(op, 1))) > int(one_channel)]
    if not ops:
        return None
    op = ops[draw.integers(len(ops))]
    index = file.own_constant(op, 1)
    scales = file.scales(index)
    factor = float(draw.choice([0.25, 0.5, 2.0, 4.0]))
    factors = np.full(len(scales), factor)
    if one_channel:
        factors = np.ones(len(scales))
        factors[draw.integers(len(scales))] = factor
    file.set_scales(index, scales * factors)
    bias = file.constant_of(op, bias_position(file, op))
    if bias >= 0 and len(file.scales(bias)) == len(factors):
        _scale_bias(file, op, factors, bool(draw.integers(2)))
    channels = "one channel" if one_channel else "all channels"
    output = int(op.outputs[0])
    return Hit((PARAMETERS,), frozenset({output}), f"weight scale x{factor:g} of {channels} of {file.name(output)}")


STATIC: Mapping[str, Fault] = {
    "scale": partial(_activation, keep_bias=True),
    "scale_with_bias": partial(_activation, keep_bias=False),
    "zero_point": _zero_point,
}
WEIGHTS_ONLY: Mapping[str, Fault] = {
    "weight_scale": partial(_weights, one_channel=False),
    "weight_scale_channel": partial(_weights, one_channel=True),
}
