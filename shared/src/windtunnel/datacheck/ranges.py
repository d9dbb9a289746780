"""Which values a model's input is made for, by what the model itself says; and whether samples are such values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.datacheck.metadata import input_metadata
from windtunnel.errors import WindtunnelError
from windtunnel.tflite.facts import ModelFacts, OpFacts, TensorFacts
from windtunnel.tflite.op_kinds import AFFINE, RESIZING, RESTATING, SHAPING

# Ops through which raw values reach the first arithmetic. A QUANTIZE ends the search: its scale states the range.
_UNCHANGED: Final = (RESTATING | SHAPING | RESIZING) - {"QUANTIZE"}
# Values outside by half of the range are not outliers.
_OUTSIDE: Final = 0.5
# Values that fill less than this share of the range are of another unit.
_TINY: Final = 0.05
_BYTE: Final = 255.0


@dataclass(frozen=True, slots=True)
class ValueRange:
    """Values from `low` to `high`."""

    low: float
    high: float

    @property
    def span(self) -> float:
        """Highest minus lowest value."""
        return self.high - self.low

    def __str__(self) -> str:
        return f"{self.low:.4g} to {self.high:.4g}"


@dataclass(frozen=True, slots=True)
class Expected:
    """Values that an input is made for. `source` says how that is known, in words."""

    values: ValueRange
    source: str


def expected_range(model: ModelFacts, tensor: TensorFacts) -> Expected | None:
    """What the model says of the values of an input.

    Three things are looked at, in this order: the normalization in its metadata; the scale and zero point of a
    quantized input; a leading rescaling or normalization in the graph. If a QUANTIZE op follows the input, that op's
    range comes from calibration and counts as the input's.

    Args:
        model: the facts of its file.
        tensor: one of its inputs.

    Returns:
        None: the model says nothing.
    """
    position = model.main.input_indices.index(tensor.index)
    return _by_metadata(model, position) or _by_quantization(model, tensor) or _by_graph(model, tensor)


def mismatch(found: ValueRange, expected: ValueRange) -> str:
    """Says why values are not those that an input is made for.

    Three things show it. They exceed its range by more than half of it. They fill less than 5 % of it. Or the range is
    around 0, and they fill only one half of it.

    Args:
        found: range of the values.
        expected: range that the input is made for.

    Returns:
        A verb phrase for a message; empty if the values may be right.
    """
    beyond = max(expected.low - found.low, found.high - expected.high)
    if beyond > _OUTSIDE * expected.span:
        return "reach far beyond"
    if found.span < _TINY * expected.span:
        return "fill only a small part of"
    one_sided = expected.low < 0.0 < expected.high and found.low >= 0.0 and found.high > _OUTSIDE * expected.high
    if one_sided and -expected.low > _OUTSIDE * expected.high:
        return "leave out the negative half of"
    return ""


def _by_metadata(model: ModelFacts, position: int) -> Expected | None:
    inputs = input_metadata(model)
    if position >= len(inputs):
        return None
    said = inputs[position]
    if said.mean and said.std and all(said.std) and _fits_channels(said.mean, said.std):
        means, stds = np.broadcast_arrays(said.mean, said.std)
        ends = [float((value - m) / s) for m, s in zip(means, stds, strict=True) for value in (0.0, _BYTE)]
        mean, std = (", ".join(f"{one:.4g}" for one in values) for values in (said.mean, said.std))
        return Expected(ValueRange(min(ends), max(ends)), f"the model's metadata (mean {mean}, std {std})")
    if said.low is not None and said.high is not None and said.high > said.low:
        return Expected(ValueRange(said.low, said.high), "the model's metadata (minimum and maximum)")
    return None


def _fits_channels(mean: Sequence[float], std: Sequence[float]) -> bool:
    """Whether mean and deviation belong to the same channels: as many of both, or one for all."""
    return len(mean) == len(std) or 1 in (len(mean), len(std))


def _by_quantization(model: ModelFacts, tensor: TensorFacts) -> Expected | None:
    readers = _readers(model, tensor.index)
    if tensor.quantization is None and len(readers) == 1 and readers[0].name == "QUANTIZE":
        tensor = model.tensors[readers[0].outputs[0]]
    quantization = tensor.quantization
    if quantization is None or len(quantization.scales) != 1 or np.dtype(tensor.dtype).kind not in "iu":
        return None
    limits = np.iinfo(tensor.dtype)
    scale, zero = quantization.scales[0], quantization.zero_points[0]
    if scale == 1.0 and zero in (0, int(limits.min)):
        # What is fed as it is stored has no range of its own.
        return None
    ends = sorted((float(limits.min - zero) * scale, float(limits.max - zero) * scale))
    return Expected(ValueRange(*ends), f"the quantization of the input (scale {scale:.4g}, zero point {zero})")


def _by_graph(model: ModelFacts, tensor: TensorFacts) -> Expected | None:
    """By y = scale * x + offset at the start of the graph: raw values have the mean -offset/scale."""
    scale: NDArray[Any] = np.ones(())
    offset: NDArray[Any] = np.zeros(())
    names: list[str] = []
    index = tensor.index
    for _ in range(len(model.ops)):
        readers = _readers(model, index)
        if len(readers) != 1 or not readers[0].outputs:
            break
        op = readers[0]
        if op.name in AFFINE:
            step = _affine(model, op, index)
            if step is None:
                break
            scale, offset = scale * step[0], offset * step[0] + step[1]
            names.append(op.name)
        elif op.name not in _UNCHANGED:
            break
        index = op.outputs[0]
    if not names or not np.all(np.isfinite(scale)) or not np.all(scale):
        return None
    values = _raw_values(float(np.mean(-offset / scale)), float(np.mean(1.0 / np.abs(scale))))
    return None if values is None else Expected(values, f"the graph, which begins with {' and '.join(names)}")


def _raw_values(mean: float, spread: float) -> ValueRange | None:
    """Raw values that a leading (x - mean) / spread is made for; None if that is not a usual one."""
    if mean == 0.0:
        return ValueRange(0.0, spread) if spread > 10.0 else None
    if 5.0 < mean < 250.0:
        return ValueRange(0.0, _BYTE)
    if 0.05 < mean < 0.95 and spread < 1.5:
        return ValueRange(0.0, 1.0)
    return None


def _affine(model: ModelFacts, op: OpFacts, given: int) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """(scale, offset) of an elementwise op with a constant; None where it is none."""
    others = [index for index in op.inputs if index != given]
    if len(op.inputs) != 2 or len(others) != 1 or not model.tensors[others[0]].is_constant:
        return None
    if op.fused_activation != "NONE":
        return None
    try:
        constant = np.asarray(model.constant(model.tensors[others[0]]), np.float64)
    except WindtunnelError:
        return None
    one: NDArray[Any] = np.ones(())
    none: NDArray[Any] = np.zeros(())
    first = op.inputs[0] == given
    if op.name == "MUL":
        return constant, none
    if op.name == "ADD":
        return one, constant
    if op.name == "SUB":
        return (one, -constant) if first else (-one, constant)
    return (1.0 / constant, none) if first and np.all(constant) else None


def _readers(model: ModelFacts, index: int) -> list[OpFacts]:
    return [op for op in model.ops if index in op.inputs and op.name != "SHAPE"]
