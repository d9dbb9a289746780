"""Chains of convolutions that are large enough to be timed, op by op."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from support.graphs import GraphWriter

SIZE, CHANNELS = 64, 16


def depthwise_chain(
    path: Path, *, blocks: int = 6, kernels: dict[int, int] | None = None, dilations: dict[int, int] | None = None
) -> Path:
    """(1, 64, 64, 16) -> `blocks` times a 3x3 depthwise and a 1x1 convolution with ReLU -> mean over the picture.

    Op 2 * n is the depthwise convolution of block n: `kernels` and `dilations` change that of one.
    """
    writer = GraphWriter()
    draw = np.random.default_rng(0)
    at = source = writer.tensor("input", (1, SIZE, SIZE, CHANNELS))
    zeros = writer.tensor("bias", (CHANNELS,), data=np.zeros(CHANNELS, np.float32))
    for block in range(blocks):
        side = (kernels or {}).get(block, 3)
        weights = draw.normal(0, 1 / side, (1, side, side, CHANNELS)).astype(np.float32)
        at = _conv(writer, f"depthwise_{block}", at, weights, zeros, (dilations or {}).get(block, 1))
        weights = draw.normal(0, 0.25, (CHANNELS, 1, 1, CHANNELS)).astype(np.float32)
        at = _conv(writer, f"pointwise_{block}", at, weights, zeros, 1)
    axes = writer.tensor("axes", (2,), "int32", data=np.array([1, 2], np.int32))
    output = writer.tensor("output", (1, CHANNELS))
    options = schema.ReducerOptionsT()
    options.keepDims = False
    writer.op("MEAN", [at, axes], [output], options)
    return writer.write(path, [source], [output])


def _conv(writer: GraphWriter, name: str, source: int, weights: Any, bias: int, dilation: int) -> int:
    depthwise = weights.shape[0] == 1
    options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    options.padding = schema.Padding.SAME
    options.strideH = options.strideW = 1
    options.dilationHFactor = options.dilationWFactor = dilation
    options.fusedActivationFunction = schema.ActivationFunctionType.RELU
    if depthwise:
        options.depthMultiplier = 1
    constant = writer.tensor(f"{name}/weights", weights.shape, data=weights)
    output = writer.tensor(name, (1, SIZE, SIZE, CHANNELS))
    kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    writer.op(kind, [source, constant, bias], [output], options, version=2 if dilation > 1 else 1)
    return output
