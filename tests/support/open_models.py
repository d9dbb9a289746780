"""Models that leave dimensions of their inputs open, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from support.graphs import GraphWriter

CHANNELS = 3
FILTERS = 16


def conv_model(
    path: Path, *, name: str = "image", open_axes: Sequence[int] = (1, 2), padding: Literal["SAME", "VALID"] = "SAME"
) -> Path:
    """input (1, ?, ?, 3) -> CONV_2D of 16 filters 3 x 3; called `in_0` by its signature.

    With padding "VALID" it cannot run with dynamic dimensions of 1.
    """
    writer = GraphWriter()
    signature = tuple(-1 if axis in open_axes else size for axis, size in enumerate((1, 1, 1, CHANNELS)))
    source = writer.tensor(name, (1, 1, 1, CHANNELS), signature=signature)
    weights = np.random.default_rng(0).normal(size=(FILTERS, 3, 3, CHANNELS)).astype(np.float32)
    kernel = writer.tensor("kernel", weights.shape, data=weights)
    bias = writer.tensor("bias", (FILTERS,), data=np.zeros(FILTERS, np.float32))
    output = writer.tensor("features", (1, 1, 1, FILTERS), signature=(*signature[:3], FILTERS))
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    options.padding = getattr(schema.Padding, padding)
    writer.op("CONV_2D", [source, kernel, bias], [output], options)
    return writer.write(path, [source], [output])


def sum_model(path: Path, shapes: Mapping[str, Sequence[int]], *, out: Sequence[int] = (1, 4)) -> Path:
    """Adds two inputs; -1 in a shape is open, and 1 in the file."""
    writer = GraphWriter()
    tensors = [
        writer.tensor(name, [abs(size) for size in shape], signature=tuple(shape)) for name, shape in shapes.items()
    ]
    output = writer.tensor("sum", out)
    writer.op("ADD", tensors, [output], schema.AddOptionsT())
    return writer.write(path, tensors, [output])
