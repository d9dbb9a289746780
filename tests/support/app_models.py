"""A small classifier of images, written without training: for tests of what surrounds a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from support.graphs import GraphWriter

SIDE = 32
CLASSES = 5


def image_classifier(path: Path, *, seed: int = 0, second: float = 1.0) -> Path:
    """image (1, 32, 32, 3) -> reshape -> dense 12 with ReLU -> dense: logits (1, 5).

    Args:
        path: the file to write.
        seed: of the weights.
        second: factor of the weights of the second layer, to make another kernel's result.

    Returns:
        The file.
    """
    draw = np.random.default_rng(seed)
    values = SIDE * SIDE * 3
    writer = GraphWriter()
    source = writer.tensor("image", (1, values))
    hidden = writer.dense(
        "hidden", source, draw.normal(0, 2 / np.sqrt(values), (12, values)).astype(np.float32), np.zeros(12),
        activation="RELU",
    )  # fmt: skip
    weights = (draw.normal(0, 1, (CLASSES, 12)) * second).astype(np.float32)
    logits = writer.dense("logits", hidden, weights, np.zeros(CLASSES), activation="NONE")
    return writer.write(path, [source], [logits])


def two_image_classifier(path: Path) -> Path:
    """image, depth (1, 3072) each -> dense 6 each -> sum: logits (1, 6)."""
    draw = np.random.default_rng(2)
    values = SIDE * SIDE * 3
    writer = GraphWriter()
    sources = [writer.tensor(name, (1, values)) for name in ("image", "depth")]
    weights = [draw.normal(0, 2 / np.sqrt(values), (6, values)).astype(np.float32) for _ in sources]
    parts = [
        writer.dense(f"part_{number}", source, matrix, np.zeros(6))
        for number, (source, matrix) in enumerate(zip(sources, weights, strict=True))
    ]
    logits = writer.tensor("logits", (1, 6))
    writer.op("ADD", parts, [logits], schema.AddOptionsT())
    return writer.write(path, sources, [logits])
