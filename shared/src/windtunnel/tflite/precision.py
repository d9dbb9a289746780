"""Which of the built-in variants a file is, whoever made it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from windtunnel.tflite.dtypes import BYTE_DTYPES, HALF_DTYPES
from windtunnel.tflite.facts import ModelFacts, TensorFacts

Precision = Literal["float32", "float16", "dynamic_range", "int8", "int16x8"]


def precision(facts: ModelFacts) -> Precision:
    """The precision in which a model computes and stores its weights.

    Activations decide before weights. int16x8: some activations are 16-bit integers. int8: some are 8-bit integers;
    inputs, outputs and single ops may stay float. dynamic_range: only weights are integers. float16: weights are stored
    as half floats.

    Args:
        facts: of the model.

    Returns:
        The name of the built-in variant that has this precision.
    """
    tensors = list(_tensors(facts))
    activations = {tensor.dtype for tensor in tensors if _is_quantized(tensor) and not tensor.is_constant}
    if "int16" in activations:
        return "int16x8"
    if activations & BYTE_DTYPES:
        return "int8"
    constants = [tensor for tensor in tensors if tensor.is_constant]
    if any(_is_quantized(tensor) and tensor.dtype != "int32" for tensor in constants):
        return "dynamic_range"
    return "float16" if any(tensor.dtype in HALF_DTYPES for tensor in constants) else "float32"


def _tensors(facts: ModelFacts) -> Iterator[TensorFacts]:
    for graph in facts.graphs:
        yield from graph.tensors


def _is_quantized(tensor: TensorFacts) -> bool:
    return tensor.quantization is not None and not tensor.dtype.startswith("float")
