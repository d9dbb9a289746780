"""Layers for small hand-written .tflite files, on top of `GraphWriter`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from support.graphs import GraphWriter

Array = NDArray[Any]
_ENUMS = {"fusedActivationFunction": "ActivationFunctionType", "padding": "Padding"}


def options(kind: str, **fields: Any) -> Any:
    """An options table by its name without `Options`: activations and padding by name."""
    made = getattr(schema, f"{kind}OptionsT")()
    for field, value in fields.items():
        setattr(made, field, getattr(getattr(schema, _ENUMS[field]), value) if field in _ENUMS else value)
    return made


class Layers(GraphWriter):
    """Writes one op and its output tensor at a time; every method returns the output's index."""

    def constant(self, name: str, array: Array) -> int:
        kind = "int32" if array.dtype.kind == "i" else "float32"
        return self.tensor(name, array.shape, kind, data=array)

    def layer(self, op: str, name: str, inputs: Sequence[int], shape: Sequence[int], made: Any = None) -> int:
        output = self.tensor(name, shape)
        self.op(op, inputs, [output], made)
        return output

    def with_constant(self, op: str, name: str, source: int, array: Array, shape: Sequence[int]) -> int:
        """ADD, SUB, MUL or DIV by a constant."""
        made = options(op.capitalize())
        return self.layer(op, name, [source, self.constant(f"{name}/constant", array)], shape, made)

    def reshape(self, name: str, source: int, shape: Sequence[int]) -> int:
        wanted = self.constant(f"{name}/shape", np.array(shape, np.int32))
        return self.layer("RESHAPE", name, [source, wanted], shape, options("Reshape", newShape=list(shape)))

    def transpose(self, name: str, source: int, order: Sequence[int], shape: Sequence[int]) -> int:
        wanted = self.constant(f"{name}/order", np.array(order, np.int32))
        return self.layer("TRANSPOSE", name, [source, wanted], shape, options("Transpose"))

    def conv(
        self,
        name: str,
        source: int,
        weights: Array,
        bias: Array,
        shape: Sequence[int],
        *,
        padding: str = "SAME",
        dilation: tuple[int, int] = (1, 1),
        activation: str = "NONE",
    ) -> int:
        """CONV_2D of stride 1 with (out, rows, columns, in) weights."""
        inputs = [source, self.constant(f"{name}/weights", weights), self.constant(f"{name}/bias", bias)]
        made = options("Conv2D", strideH=1, strideW=1, padding=padding, fusedActivationFunction=activation)
        made.dilationHFactor, made.dilationWFactor = dilation
        return self.layer("CONV_2D", name, inputs, shape, made)

    def fully_connected(
        self, name: str, source: int, weights: Array, bias: Array | None, rows: int, activation: str = "NONE"
    ) -> int:
        """FULLY_CONNECTED of a (rows, in) tensor with (out, in) weights, the bias left out where it is None."""
        inputs = [source, self.constant(f"{name}/weights", weights)]
        inputs += [] if bias is None else [self.constant(f"{name}/bias", bias)]
        made = options("FullyConnected", fusedActivationFunction=activation)
        return self.layer("FULLY_CONNECTED", name, inputs, (rows, len(weights)), made)


def random_samples(path: Path, shape: Sequence[int], *, count: int = 8, seed: int = 3, scale: float = 1.0) -> Path:
    """An .npz with x of (count, *shape), normally distributed."""
    draw = np.random.default_rng(seed)
    np.savez(path, x=draw.normal(0.0, scale, (count, *shape)).astype(np.float32))
    return path


def random_weights(shape: Sequence[int], *, seed: int = 0, scale: float = 0.4) -> NDArray[np.float32]:
    """Normally distributed weights."""
    return np.random.default_rng(seed).normal(0.0, scale, shape).astype(np.float32)
