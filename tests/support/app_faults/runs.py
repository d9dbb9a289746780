"""Runs a .tflite as an app does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Quantized:
    """An integer input: value = (stored - zero) * scale."""

    dtype: str
    scale: float
    zero: int


@dataclass(frozen=True)
class Ran:
    """What came out: by name, one row for each sample; integers as stored."""

    outputs: dict[str, Array]
    layers: dict[str, Array]


def run(path: Path, inputs: Sequence[Array], *, layers: bool = False, plain_kernels: bool = False) -> Ran:
    """Runs a model of one input, sample by sample.

    Args:
        path: the .tflite.
        inputs: one array for each sample; the memory of another shape is taken as it lies.
        layers: also keep what every op writes.
        plain_kernels: the reference kernels, as another implementation.

    Returns:
        What came out.
    """
    resolver = OpResolverType.BUILTIN_REF if plain_kernels else OpResolverType.AUTO
    if layers and not plain_kernels:
        resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(
        str(path), experimental_op_resolver_type=resolver, experimental_preserve_all_tensors=layers, num_threads=1
    )
    interpreter.allocate_tensors()
    taken = interpreter.get_input_details()[0]
    places = _written(interpreter) if layers else {}
    outputs: dict[str, list[Array]] = {detail["name"]: [] for detail in interpreter.get_output_details()}
    kept: dict[str, list[Array]] = {name: [] for name in places}
    for one in inputs:
        interpreter.set_tensor(taken["index"], np.ascontiguousarray(one).reshape(taken["shape"]).astype(taken["dtype"]))
        interpreter.invoke()
        for detail in interpreter.get_output_details():
            outputs[detail["name"]].append(interpreter.get_tensor(detail["index"])[0].copy())
        for name, index in places.items():
            kept[name].append(interpreter.get_tensor(index).copy())
    return Ran(
        {name: np.stack(rows) for name, rows in outputs.items()},
        {name: np.stack([row[0] if row.shape[:1] == (1,) else row for row in rows]) for name, rows in kept.items()},
    )


def _written(interpreter: Any) -> dict[str, int]:
    """Tensors that ops write, by name."""
    names = {detail["index"]: detail["name"] for detail in interpreter.get_tensor_details()}
    found = [index for op in interpreter._get_ops_details() for index in op["outputs"] if index >= 0]
    return {names[index]: int(index) for index in found}


def input_type(path: Path) -> Quantized | None:
    """How a model's input is stored.

    Args:
        path: the .tflite.

    Returns:
        The integer type; None: float32.
    """
    interpreter = Interpreter(str(path))
    detail = interpreter.get_input_details()[0]
    if detail["dtype"] == np.float32:
        return None
    scale, zero = detail["quantization"]
    return Quantized(np.dtype(detail["dtype"]).name, float(scale), int(zero))
