"""Seeded random samples for two models where none are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.pipeline import InputSpec, sample_inputs
from windtunnel.tflite import ModelFacts, TensorFacts, read_model


def write_synthetic_samples(reference: Path, candidate: Path, target: Path) -> int:
    """Writes samples for `reference` to the .npz file `target` and returns their number.

    Real numbers lie in [-1, 1), or in the range that a quantised model takes for that input: beyond it, it would
    clip what the other does not, and be blamed for it. Raises InvalidInput, NotFound, Unsupported.
    """
    models = read_model(reference), read_model(candidate)
    inputs = models[0].inputs
    specs = [InputSpec(tensor.name, tensor.shape_signature, _dtype(tensor)) for tensor in inputs]
    rows = list(sample_inputs(None, None, specs))
    arrays = {}
    for place, tensor in enumerate(inputs):
        values = np.stack([row[tensor.name] for row in rows])
        name = "x" if len(inputs) == 1 else f"x/{tensor.name}"
        arrays[name] = _into(values, _range_of(models, place))
    np.savez(target, allow_pickle=False, **arrays)
    return len(rows)


def _dtype(tensor: TensorFacts) -> str:
    return "float32" if tensor.quantization is not None else tensor.dtype


def _into(values: NDArray[Any], bounds: tuple[float, float] | None) -> NDArray[Any]:
    """Numbers in [-1, 1) stretched to `bounds`."""
    if bounds is None or values.dtype.kind != "f":
        return values
    low, high = bounds
    return np.clip(low + (values.astype(np.float64) + 1) / 2 * (high - low), low, high).astype(values.dtype)


def _range_of(models: tuple[ModelFacts, ModelFacts], place: int) -> tuple[float, float] | None:
    """What both models take at the input `place`; None where neither says."""
    found = [bounds for model in models if (bounds := _quantized_range(model, place)) is not None]
    if not found:
        return None
    low, high = max(low for low, _ in found), min(high for _, high in found)
    return (low, high) if low < high else found[0]


def _quantized_range(model: ModelFacts, place: int) -> tuple[float, float] | None:
    """The real numbers that a quantised input holds, also where a QUANTIZE op comes first."""
    if place >= len(model.inputs):
        return None
    tensor = model.inputs[place]
    if tensor.quantization is None:
        makers = [op for op in model.ops if op.name == "QUANTIZE" and op.inputs[:1] == (tensor.index,)]
        if not makers:
            return None
        tensor = model.tensors[makers[0].outputs[0]]
    kind = np.dtype(tensor.dtype)
    if tensor.quantization is None or len(tensor.quantization.scales) != 1 or kind.kind not in "iu":
        return None
    scale, zero = tensor.quantization.scales[0], tensor.quantization.zero_points[0]
    info = np.iinfo(kind)
    bounds = (scale * (int(info.min) - zero), scale * (int(info.max) - zero))
    return bounds if np.isfinite(bounds).all() and bounds[0] < bounds[1] else None
