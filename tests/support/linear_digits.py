"""Classifiers of scikit-learn's digits by least squares: the same weights on every processor, and no TensorFlow.

A linear model minds the offset of its inputs, so that another normalization costs it much of its accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from support.graphs import GraphWriter

TRAIN, TEST = slice(0, 1197), slice(1197, 1797)


@dataclass(frozen=True)
class Digits:
    """`raw`: (N, 8, 8, C) uint8, `y`: (N,) digits."""

    raw: NDArray[np.uint8]
    y: NDArray[np.int64]


@cache
def digits(channels: int = 1) -> Digits:
    """Gray images, or images whose red, green and blue are the digit, its mirror and its upside."""
    from sklearn.datasets import load_digits

    found = load_digits()
    gray = np.rint(found.images * 255 / 16).astype(np.uint8)
    if channels == 1:
        return Digits(gray[..., None], found.target.astype(np.int64))
    dark = (gray // 3).astype(np.uint8)
    return Digits(np.stack([gray, dark[:, :, ::-1], dark[:, ::-1]], axis=-1), found.target.astype(np.int64))


def linear_model(
    folder: Path,
    scale: Any,
    offset: Any,
    *,
    channels: int = 1,
    leading: bool = False,
    before: tuple[GraphWriter, int, int] | None = None,
) -> Path:
    """A .tflite that takes raw * scale + offset, or with `leading` raw values, which its graph normalizes so.

    Its input is "image", (1, 8, 8, channels) float32, its output "scores", ten logits. `before`: a graph that begins
    otherwise, its input, and the tensor that the model reads.
    """
    found = digits(channels)
    x = (found.raw[TRAIN] * np.asarray(scale) + np.asarray(offset)).reshape(TRAIN.stop, -1)
    wanted = np.eye(10)[found.y[TRAIN]]
    # Ridge regression around the mean.
    mean, center = x.mean(axis=0), wanted.mean(axis=0)
    gram = (x - mean).T @ (x - mean)
    ridge = 1e-3 * np.trace(gram) / len(gram) * np.eye(len(gram))
    weights = np.linalg.solve(gram + ridge, (x - mean).T @ (wanted - center))
    bias = center - mean @ weights
    if before is None:
        graph = GraphWriter()
        source = at = graph.tensor("image", (1, 8, 8, channels))
    else:
        graph, source, at = before
    at = _normalized(graph, at, channels, scale, offset) if leading else at
    flat = graph.tensor("flat", (1, 64 * channels))
    size = graph.tensor("size", (2,), "int32", data=np.asarray([1, 64 * channels], np.int32))
    graph.op("RESHAPE", [at, size], [flat])
    out = graph.dense("scores", flat, weights.T.astype(np.float32), bias.astype(np.float32))
    return graph.write(folder / "linear.tflite", [source], [out])


def _normalized(graph: GraphWriter, source: int, channels: int, scale: Any, offset: Any) -> int:
    """raw * scale + offset, as TFLite writes a Rescaling layer."""
    at = source
    for name, value in (("MUL", scale), ("ADD", offset)):
        constant = graph.tensor(f"{name} constant", (1,), data=np.asarray([value], np.float32))
        after = graph.tensor(name.lower(), (1, 8, 8, channels))
        graph.op(name, [at, constant], [after], getattr(schema, f"{name.title()}OptionsT")())
        at = after
    return at
