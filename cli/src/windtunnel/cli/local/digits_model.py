"""The demo's model: a small depthwise network, trained in seconds on scikit-learn's images of handwritten digits.

Runs in a child process: it loads TensorFlow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel import isolation

SIDE = 32
EPOCHS = 12


def train(folder: Path) -> float:
    """Trains the model; writes digits.keras, test.npz and calibration.npz.

    Images are uint8 RGB, (N, 32, 32, 3), as from a camera; the plan's pipeline normalizes them.

    Args:
        folder: where the files are written; it exists.

    Returns:
        The accuracy on the test images, in [0, 1].
    """
    import keras

    keras.utils.set_random_seed(7)
    isolation.progress(0.0, "loading scikit-learn's digits")
    images, labels = _digits()
    order = np.random.default_rng(7).permutation(len(images))
    test, calibration, training = order[:360], order[360:460], order[360:]
    model = _network(keras)
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    report = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: isolation.progress(
            (epoch + 1) / EPOCHS, f"epoch {epoch + 1} of {EPOCHS}, accuracy {logs['accuracy']:.3f}"
        )
    )
    x = _normalize(images)
    model.fit(x[training], labels[training], batch_size=32, epochs=EPOCHS, verbose=0, callbacks=[report])
    _, accuracy = model.evaluate(x[test], labels[test], verbose=0)
    model.save(folder / "digits.keras")
    np.savez(folder / "test.npz", x=images[test], y=labels[test])
    np.savez(folder / "calibration.npz", x=images[calibration])
    return float(accuracy)


def _digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    data = load_digits()
    enlarged = np.repeat(np.repeat(data.images, SIDE // 8, axis=1), SIDE // 8, axis=2)
    grey = np.rint(enlarged * (255 / 16)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=3), data.target.astype(np.int64)


def _normalize(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images.astype(np.float32) * np.float32(2 / 255) - np.float32(1)


def _network(keras: Any) -> Any:
    layers = keras.layers
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3), name="image")])
    model.add(layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False))
    model.add(layers.BatchNormalization())
    model.add(layers.ReLU(6.0))
    for filters, strides in ((32, 2), (64, 2), (96, 1)):
        model.add(layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU(6.0))
        model.add(layers.Conv2D(filters, 1, use_bias=False))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU(6.0))
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(10, activation="softmax", name="digit"))
    return model


PLAN = """\
apiVersion: windtunnel/v1
data:
  samples: test.npz
  calibration: calibration.npz
preprocessing:
  schema: windtunnel.pipeline/1
  task: classification
  steps:
    - {op: normalize, scale: 0.00784313725490196, offset: -1.0}
variants: [float32, float16, dynamic_range, int8, int16x8]
devices:
  - {farm: local, accelerator: xnnpack, threads: [1, 2]}
gates:
  accuracy: {min: 0.9}
  accuracy_drop: 0.02
  size_mb: 1
"""
