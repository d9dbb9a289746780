"""A small detector with raw heads and a small segmenter, made with Keras, and their samples.

python -m support.task_models FOLDER     writes them
python -m support.task_models train      trains the detector again
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support import stored

_NAME = "detector"
SIDE, GRID, COUNT = 32, 4, 48
NAMES = ["red", "green"]
SCALES = [10.0, 10.0, 5.0, 5.0]
# Center y, center x, height, width.
ANCHORS = np.array(
    [[(y + 0.5) / GRID, (x + 0.5) / GRID, 0.3, 0.3] for y in range(GRID) for x in range(GRID)], np.float32
)


def make(folder: Path) -> None:
    """Writes detector.keras, segmenter.keras, anchors.npy and the samples of both, in a child process."""
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "support.task_models", str(folder)]
    subprocess.run(command, check=True, env=env, capture_output=True, timeout=280, cwd=Path(__file__).parent.parent)


def images(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
    """Images with one red or green square each, on noise; boxes (count, 1, 4) and classes (count, 1)."""
    draw = np.random.default_rng(seed)
    made = draw.integers(60, 110, (count, SIDE, SIDE, 3)).astype(np.uint8)
    corners = draw.integers(0, SIDE - 13, (count, 2))
    sizes = draw.integers(7, 13, count)
    classes = draw.integers(0, 2, count)
    for image, (top, left), size, kind in zip(made, corners, sizes, classes, strict=True):
        image[top : top + size, left : left + size] = 30
        image[top : top + size, left : left + size, kind] = 220
    boxes = np.concatenate([corners, corners + sizes[:, None]], axis=1) / SIDE
    return made, boxes[:, None].astype(np.float32), classes[:, None].astype(np.int64)


def masks(boxes: NDArray[np.float32], classes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Of the same images: 0 background, 1 red, 2 green; 255 where a square ends, which does not count."""
    made = np.zeros((len(boxes), SIDE, SIDE), np.uint8)
    for mask, box, kind in zip(made, np.rint(boxes[:, 0] * SIDE).astype(int), classes[:, 0], strict=True):
        top, left, bottom, right = box
        mask[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1] = 255
        mask[top + 1 : bottom - 1, left + 1 : right - 1] = kind + 1
    return made


def _detector(keras: Any) -> Any:
    layers = keras.layers
    source = keras.Input((SIDE, SIDE, 3), name="image")
    at = source
    for filters in (8, 16, 24):
        at = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(at)
    at = layers.Conv2D(24, 3, padding="same", activation="relu")(at)
    boxes = layers.Reshape((GRID * GRID, 4), name="boxes")(layers.Conv2D(4, 1)(at))
    scores = layers.Reshape((GRID * GRID, 2), name="scores")(layers.Conv2D(2, 1)(at))
    return keras.Model(source, {"boxes": boxes, "scores": scores})


def _targets(boxes: NDArray[np.float32], classes: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    """What the heads should give: one positive anchor for each object, the one that its center is in."""
    count, anchors = len(boxes), GRID * GRID
    found = {"boxes": np.zeros((count, anchors, 5), np.float32), "scores": np.zeros((count, anchors, 2), np.float32)}
    center, size = (boxes[:, 0, :2] + boxes[:, 0, 2:]) / 2, boxes[:, 0, 2:] - boxes[:, 0, :2]
    cell = np.minimum((center * GRID).astype(int), GRID - 1)
    place, rows = cell[:, 0] * GRID + cell[:, 1], np.arange(count)
    own = ANCHORS[place]
    deltas = np.concatenate([(center - own[:, :2]) / own[:, 2:], np.log(size / own[:, 2:])], axis=1)
    found["boxes"][rows, place] = np.concatenate([deltas * SCALES, np.ones((count, 1))], axis=1)
    found["scores"][rows, place, classes[:, 0]] = 1.0
    return found


def _train() -> None:
    import keras
    from keras import ops

    def of_boxes(wanted: Any, given: Any) -> Any:
        return ops.mean(ops.abs(wanted[..., :4] - given) * wanted[..., 4:])

    keras.utils.set_random_seed(3)
    made, boxes, classes = images(4000, seed=1)
    model = _detector(keras)
    loss = {"boxes": of_boxes, "scores": keras.losses.BinaryCrossentropy(from_logits=True)}
    model.compile(keras.optimizers.Adam(4e-3), loss, loss_weights={"boxes": 1.0, "scores": 8.0})
    model.fit(made.astype(np.float32) / 255.0, _targets(boxes, classes), batch_size=64, epochs=25, verbose=0)
    stored.store(_NAME, model.get_weights())


def _segmenter(keras: Any) -> Any:
    """Convolutions whose weights are set: more red than green is red, and the other way around."""
    layers = keras.layers
    source = keras.Input((SIDE, SIDE, 3), name="image")
    blurred = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(source)
    model = keras.Model(source, layers.Conv2D(3, 1, name="classes")(blurred))
    weights = np.array([[-0.5, 4.0, -4.0], [-0.5, -4.0, 4.0], [-0.5, 0.0, 0.0]], np.float32).reshape(1, 1, 3, 3)
    blur = np.full((3, 3, 3, 1), 1.0 / 9.0, np.float32)
    model.set_weights([blur, weights, np.array([1.8, 0.0, 0.0], np.float32)])
    return model


def _build(folder: Path) -> None:
    import keras

    detector = _detector(keras)
    detector.set_weights(stored.load(_NAME))
    detector.save(folder / "detector.keras")
    _segmenter(keras).save(folder / "segmenter.keras")
    np.save(folder / "anchors.npy", ANCHORS)
    made, boxes, classes = images(COUNT, seed=2)
    np.savez(folder / "boxes.npz", x=made, boxes=boxes, classes=classes, class_names=NAMES)
    np.savez(folder / "masks.npz", x=made, masks=masks(boxes, classes), class_names=["background", *NAMES])


if __name__ == "__main__":
    if sys.argv[1] == "train":
        _train()
    else:
        _build(Path(sys.argv[1]))
