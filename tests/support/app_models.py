"""A small classifier of images, written without training: for tests of what surrounds a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

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
