"""Models for kernel tests, written op by op: many kinds of ops, a long chain with branches, a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from support.graphs import GraphWriter

_UNARY = ("LOGISTIC", "TANH", "HARD_SWISH", "RELU", "RELU6", "ABS", "NEG")
_FLOAT_ONLY = ("EXP", "SQRT", "RSQRT", "SQUARE", "SIN", "COS", "LOG", "GELU", "FLOOR", "CEIL")


def ops_model(path: Path, dtype: str) -> Path:
    """x (1, 8, 8, 4) through one op of each kind: float32, int8 or int16."""
    writer, draw = GraphWriter(), np.random.default_rng(5)
    shape = (1, 8, 8, 4)
    step = {"float32": (), "int8": (0.04,), "int16": (1.5e-4,)}[dtype]
    x = writer.tensor("x", shape, dtype, scales=step)
    outputs = []
    version = {"float32": 1, "int8": 2, "int16": 3}[dtype]

    def put(
        name: str, size: tuple[int, ...], inputs: list[int], options: Any = None, scales: Any = None, **kw: Any
    ) -> None:
        outputs.append(writer.tensor(f"{name}_out", size, dtype, scales=step if scales is None else scales, **kw))
        writer.op(name, inputs, [outputs[-1]], options, version=version)

    for name in _UNARY if dtype == "float32" else ("LOGISTIC", "TANH"):
        fixed = {"int8": (1 / 256 if name == "LOGISTIC" else 1 / 128,), "int16": (2**-15,), "float32": ()}[dtype]
        zeros = [-128] if (dtype, name) == ("int8", "LOGISTIC") else []
        put(name, shape, [x], scales=fixed, zeros=zeros)
    if dtype == "float32":
        for name in _FLOAT_ONLY:
            put(name, shape, [x], schema.GeluOptionsT() if name == "GELU" else None)
    for name, kind in (("ADD", schema.AddOptionsT), ("SUB", schema.SubOptionsT), ("MUL", schema.MulOptionsT)):
        other = writer.tensor(f"{name}_other", shape, dtype, data=_values(draw, shape, dtype), scales=step)
        put(name, shape, [x, other], kind())
    if dtype != "int16":
        pool = schema.Pool2DOptionsT()
        pool.strideW = pool.strideH = pool.filterWidth = pool.filterHeight = 2
        put("AVERAGE_POOL_2D", (1, 4, 4, 4), [x], pool)
        put("MAX_POOL_2D", (1, 4, 4, 4), [x], pool)
    soft = schema.SoftmaxOptionsT()
    soft.beta = 1.0
    fixed = {"int8": (1 / 256,), "int16": (2**-15,), "float32": ()}[dtype]
    put("SOFTMAX", shape, [x], soft, scales=fixed, zeros=[-128] if dtype == "int8" else [])
    return writer.write(path, [x], outputs)


def _values(draw: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Any:
    values = draw.normal(0.0, 1.0, shape)
    return values if dtype == "float32" else draw.integers(-100, 100, shape)


def long_model(path: Path, ops: int = 60, *, residual: bool = True) -> Path:
    """x (1, 16) through a chain of dense layers `op_<k>`; every fourth adds what came three ops before it."""
    writer, draw = GraphWriter(), np.random.default_rng(11)
    source = at = writer.tensor("x", (1, 16))
    earlier = [source]
    for number in range(ops):
        name = f"op_{number}"
        if residual and number % 4 == 3:
            output = writer.tensor(name, (1, 16))
            writer.op("ADD", [at, earlier[-4]], [output], schema.AddOptionsT())
        else:
            weights, _ = np.linalg.qr(draw.normal(size=(16, 16)))
            output = writer.dense(name, at, weights * (0.7 if residual else 1.0), draw.normal(0, 0.3, 16))
        earlier.append(output)
        at = output
    return writer.write(path, [source], [at])


def wide_model(path: Path, values: int) -> Path:
    """x (1, 1) written `values` times over: a small file that takes as much memory as one likes."""
    writer = GraphWriter()
    x = writer.tensor("x", (1, 1))
    shape = writer.tensor("shape", (2,), "int32", data=np.array([1, values], np.int32))
    wide = writer.tensor("wide", (1, values))
    writer.op("BROADCAST_TO", [x, shape], [wide], version=2)
    return writer.write(path, [x], [wide])


def overflowing_model(path: Path) -> Path:
    """x (1, 8, 8, 4) through an int8 RESHAPE, and a CONV_2D with RELU6 at a step so small that 6 overflows."""
    writer, draw = GraphWriter(), np.random.default_rng(5)
    x = writer.tensor("x", (1, 8, 8, 4), "int8", scales=(1e-8,))
    form = writer.tensor("form", (4,), "int32", data=np.array([1, 8, 8, 4], np.int32))
    same = writer.tensor("same", (1, 8, 8, 4), "int8", scales=(1e-8,))
    writer.op("RESHAPE", [x, form], [same], schema.ReshapeOptionsT())
    weights = draw.integers(-100, 100, (2, 1, 1, 4))
    kernel = writer.tensor("kernel", (2, 1, 1, 4), "int8", data=weights, scales=(0.01, 0.01), zeros=(0, 0))
    bias = writer.tensor("bias", (2,), "int32", data=np.zeros(2, np.int32), scales=(1e-10, 1e-10), zeros=(0, 0))
    out = writer.tensor("out", (1, 8, 8, 2), "int8", scales=(1e-10,))
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = 1
    options.fusedActivationFunction = schema.ActivationFunctionType.RELU6
    writer.op("CONV_2D", [same, kernel, bias], [out], options, version=3)
    return writer.write(path, [x], [out])


def crashing_model(path: Path, logits: int = 1024) -> Path:
    """x, an ADD, an int8 SOFTMAX over flat logits that ends the reference kernels' process, a RESHAPE."""
    writer = GraphWriter()
    shape = (1, logits)
    x = writer.tensor("x", shape, "int8", scales=[0.1])
    doubled = writer.tensor("doubled", shape, "int8", scales=[0.2])
    writer.op("ADD", [x, x], [doubled], schema.AddOptionsT(), version=2)
    soft = schema.SoftmaxOptionsT()
    soft.beta = 1.0
    likely = writer.tensor("probabilities", shape, "int8", scales=[1 / 256], zeros=[-128])
    writer.op("SOFTMAX", [doubled], [likely], soft, version=2)
    after = writer.tensor("after", shape, "int8", scales=[1 / 256], zeros=[-128])
    reshape = schema.ReshapeOptionsT()
    reshape.newShape = list(shape)
    target = writer.tensor("shape", (2,), "int32", data=np.array(shape))
    writer.op("RESHAPE", [likely, target], [after], reshape)
    return writer.write(path, [x], [after])
