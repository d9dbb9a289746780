"""Faults in the weights of one layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.fault_files import File
from support.fault_hits import WEIGHTS, Fault, Hit, at

Change = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]
# Axis of the output and of the input channels in the weights.
OUT_AXIS = {"CONV_2D": 0, "TRANSPOSE_CONV": 0, "FULLY_CONNECTED": 0, "DEPTHWISE_CONV_2D": 3}
_IN_AXIS = {"CONV_2D": 3, "TRANSPOSE_CONV": 3, "FULLY_CONNECTED": 1, "DEPTHWISE_CONV_2D": 3}
# The bit patterns of floats.
_BITS: Mapping[Any, Any] = {np.dtype(np.float32): np.uint32, np.dtype(np.float16): np.uint16}


def weighted(file: File) -> list[Any]:
    """The layers that have weights of their own."""
    return [op for _, op in file.layers() if file.kind(op) in OUT_AXIS and file.constant_of(op, 1) >= 0]


def bias_position(file: File, op: Any) -> int:
    """Where an op of this kind has its bias among its inputs."""
    return 3 if file.kind(op) == "TRANSPOSE_CONV" else 2


def _pick(file: File, draw: np.random.Generator, fits: Callable[[Any], bool] = lambda op: True) -> Any:
    ops = [op for op in weighted(file) if fits(op)]
    return ops[draw.integers(len(ops))] if ops else None


def _values(change: Change, what: str) -> Fault:
    """A fault that changes the stored weights of one layer."""

    def fault(file: File, draw: np.random.Generator) -> Hit | None:
        op = _pick(file, draw)
        if op is None:
            return None
        index = file.own_constant(op, 1)
        before = file.array(index)
        after = change(before, draw)
        if np.array_equal(before, after):
            return None
        file.set_array(index, after)
        return at(file, op, WEIGHTS, what)

    return fault


def _noise(values: NDArray[Any], draw: np.random.Generator, *, share: float) -> NDArray[Any]:
    real = values.astype(np.float64)
    noisy = real + draw.normal(0, share * np.sqrt(np.mean(real**2)), real.shape)
    return _stored(noisy, values.dtype)


def _stored(real: NDArray[np.float64], dtype: Any) -> NDArray[Any]:
    if np.issubdtype(dtype, np.integer):
        return np.clip(np.round(real), -127, 127).astype(dtype)
    return real.astype(dtype)


def _negated(values: NDArray[Any], draw: np.random.Generator) -> NDArray[Any]:
    return _stored(-values.astype(np.float64), values.dtype)


def _bit(number: int, *, strong: bool = True) -> Change:
    """Flips bit `number`, counted from the top bit (0), of one weight that is not among the smallest."""

    def change(values: NDArray[Any], draw: np.random.Generator) -> NDArray[Any]:
        flat = values.reshape(-1).copy()
        size = np.abs(flat.astype(np.float64))
        chosen = draw.choice(np.flatnonzero(size >= np.quantile(size, 0.5 if strong else 0.0)))
        view = flat.view(_BITS.get(flat.dtype, np.uint8))
        view[chosen] ^= view.dtype.type(1 << (view.dtype.itemsize * 8 - 1 - number))
        return flat.reshape(values.shape)

    return change


def _channels(change: str) -> Fault:
    """Faults of whole channels: `permute_out` (weights alone), `permute_whole` (bias and scales too), ..."""

    def fault(file: File, draw: np.random.Generator) -> Hit | None:
        op = _pick(file, draw, lambda one: _width(file, one, change) > 1)
        if op is None:
            return None
        axis = (_IN_AXIS if change == "permute_in" else OUT_AXIS)[file.kind(op)]
        index = file.own_constant(op, 1)
        values = file.array(index)
        if change in ("negate", "zero"):
            place: list[Any] = [slice(None)] * values.ndim
            place[axis] = int(draw.integers(values.shape[axis]))
            values[tuple(place)] = _negated(values[tuple(place)], draw) if change == "negate" else 0
        else:
            order = _order(values.shape[axis], draw)
            values = np.take(values, order, axis)
            if change == "permute_whole":
                _permute_rest(file, op, order)
        file.set_array(index, values)
        return at(file, op, WEIGHTS, change)

    return fault


def _width(file: File, op: Any, change: str) -> int:
    axis = (_IN_AXIS if change == "permute_in" else OUT_AXIS)[file.kind(op)]
    return int(file.shape(file.constant_of(op, 1))[axis])


def _order(count: int, draw: np.random.Generator) -> NDArray[np.int64]:
    order = draw.permutation(count)
    return np.roll(order, 1) if np.array_equal(order, np.arange(count)) else order


def _permute_rest(file: File, op: Any, order: NDArray[np.int64]) -> None:
    """The bias and the scales per channel go along."""
    bias = file.own_constant(op, bias_position(file, op))
    if bias >= 0 and file.shape(bias) == order.shape:
        file.set_array(bias, file.array(bias)[order])
    for index in (file.constant_of(op, 1), bias):
        if index >= 0 and file.scales(index).shape == order.shape:
            file.set_scales(index, file.scales(index)[order])


def _bias(file: File, draw: np.random.Generator, *, what: str, change: Change | None) -> Hit | None:
    """Changes the bias of one layer, or takes it away where `change` is None."""

    def has_bias(op: Any) -> bool:
        index = file.constant_of(op, bias_position(file, op))
        return index >= 0 and bool(np.any(file.array(index)))

    op = _pick(file, draw, has_bias)
    if op is None:
        return None
    place = bias_position(file, op)
    if change is None:
        op.inputs = [-1 if number == place else int(one) for number, one in enumerate(op.inputs)]
    else:
        index = file.own_constant(op, place)
        file.set_array(index, change(file.array(index), draw))
    return at(file, op, WEIGHTS, what)


def _zeros(values: NDArray[Any], draw: np.random.Generator) -> NDArray[Any]:
    return np.zeros_like(values)


def _times(values: NDArray[Any], draw: np.random.Generator, *, factor: float) -> NDArray[Any]:
    real = values.astype(np.float64) * factor
    return np.round(real).astype(values.dtype) if np.issubdtype(values.dtype, np.integer) else real.astype(values.dtype)


def _other_constant(file: File, draw: np.random.Generator) -> Hit | None:
    """Noise on a constant factor or summand, such as those of a layer normalization or of an embedding."""
    found = []
    for _, op in file.layers():
        for place in range(len(op.inputs)) if file.kind(op) in ("MUL", "ADD", "BATCH_MATMUL") else ():
            index = file.constant_of(op, place)
            if index >= 0 and np.prod(file.shape(index)) >= 4:
                found.append((op, place))
    if not found:
        return None
    op, place = found[draw.integers(len(found))]
    index = file.own_constant(op, place)
    file.set_array(index, _noise(file.array(index), draw, share=0.3))
    return at(file, op, WEIGHTS, "noise of 30 % on a constant")


BOTH: Mapping[str, Fault] = {
    "noise_5": _values(partial(_noise, share=0.05), "noise of 5 %"),
    "noise_20": _values(partial(_noise, share=0.2), "noise of 20 %"),
    "permute_out": _channels("permute_out"),
    "permute_whole": _channels("permute_whole"),
    "permute_in": _channels("permute_in"),
    "sign": _values(_negated, "sign of all weights"),
    "sign_channel": _channels("negate"),
    "zero_channel": _channels("zero"),
    "bias_zero": partial(_bias, what="bias zeroed", change=_zeros),
    "bias_dropped": partial(_bias, what="bias dropped", change=None),
    "bias_scaled": partial(_bias, what="bias x1.5", change=partial(_times, factor=1.5)),
    "constant": _other_constant,
}
FLOAT_BITS: Mapping[str, Fault] = {
    "bit_exponent_high": _values(_bit(1), "top bit of an exponent"),
    "bit_exponent": _values(_bit(5), "middle bit of an exponent"),
    "bit_sign": _values(_bit(0), "sign bit of a weight"),
}
HALF_BITS: Mapping[str, Fault] = {
    "bit_exponent_high": _values(_bit(1), "top bit of an exponent"),
    "bit_sign": _values(_bit(0), "sign bit of a weight"),
}
INTEGER_BITS: Mapping[str, Fault] = {
    "bit_7": _values(_bit(0), "bit 7 of a weight"),
    "bit_5": _values(_bit(2), "bit 5 of a weight"),
    "bit_0": _values(_bit(7), "bit 0 of a weight"),
}
