"""The small networks whose apps have faults: trained once per machine, then kept in the temporary directory.

Run as a program it trains one: python networks.py NAME FOLDER. TensorFlow runs in that process only.
"""

from __future__ import annotations

import getpass
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from support.app_faults.images import models

FORMS = ("float32", "int8", "uint8", "dynamic_range")
_SEED = 20261130


def network(name: str, form: str = "float32", root: Path | None = None) -> Path:
    """The .tflite of a network; the first call trains it (10 to 60 s).

    Args:
        name: of a model of `models`.
        form: one of FORMS; int8 and uint8 have inputs and outputs of that type.
        root: where networks are kept; the temporary directory by default.

    Returns:
        The file.
    """
    folder = root or Path(tempfile.gettempdir())
    home = folder / f"windtunnel-tests-{getpass.getuser()}-apps-{name}-{_version(name)}"
    if not home.is_dir():
        made = Path(tempfile.mkdtemp(prefix=f"{home.name}-", dir=folder))
        env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        command = [sys.executable, "-m", "support.app_faults.networks", name, str(made)]
        subprocess.run(command, check=True, env=env, timeout=1200, cwd=Path(__file__).parents[2])
        try:
            made.replace(home)
        except OSError:
            # Another process was first; its files are the same.
            shutil.rmtree(made)
    return home / f"{form}.tflite"


def _version(name: str) -> str:
    """A hash of what a network depends on."""
    module = _training(name)
    here = Path(__file__).parent
    folder = here / module.partition(".")[0]
    sources = [here / "networks.py", *(folder / f"{part}.py" for part in ("training", "photos", "sounds", "texts"))]
    parts = [path.read_bytes() for path in sources if path.exists()] + [models.identity(name).encode()]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:12]


def _training(name: str) -> str:
    """The module with what a network is trained on."""
    kinds = {"sound": "sounds", "wave": "sounds", "text": "texts", "boxes": "detectors"}
    return f"{next((kinds[kind] for kind in kinds if name.startswith(kind)), 'images')}.training"


def _train(name: str, folder: Path) -> None:
    import keras

    keras.utils.set_random_seed(_SEED)
    x, y, kind = importlib.import_module(f"support.app_faults.{_training(name)}").training_data(name)
    network = _NETWORKS[kind](keras, x.shape[1:], int(y.max()) + 1)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not name.endswith("prob"))
    network.compile(keras.optimizers.Adam(4e-3), loss, metrics=["accuracy"])
    cut = len(x) * 9 // 10
    network.fit(x[:cut], y[:cut], batch_size=32, epochs=22, verbose=0)
    rate = float(network.evaluate(x[cut:], y[cut:], verbose=0)[1])
    (folder / "accuracy.txt").write_text(f"{rate:.3f}\n")
    print(f"{name}: {rate:.3f} right", flush=True)
    _convert(network, x[:80], folder)


def _image(keras: Any, shape: tuple[int, ...], classes: int) -> Any:
    layers = keras.layers
    channels_first = shape[0] == 3
    side = shape[1]
    at = source = keras.Input(shape, name="image")
    if channels_first:
        at = layers.Permute((2, 3, 1))(at)
    at = layers.BatchNormalization(momentum=0.9)(at)
    at = _block(layers, at, 16, 5, 4 if side > 140 else 2 if side > 40 else 1)
    for filters in (24, 32, 48) if side > 40 else (24, 32):
        at = layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False)(at)
        at = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(at))
        at = _block(layers, at, filters, 1, 1)
    at = layers.AveragePooling2D(max(1, at.shape[1] // 3))(at)
    at = layers.Dense(classes, name="scores")(layers.Flatten()(at))
    return keras.Model(source, at)


def _probabilities(keras: Any, shape: tuple[int, ...], classes: int) -> Any:
    network = _image(keras, shape, classes)
    return keras.Model(network.input, keras.layers.Softmax(name="probabilities")(network.output))


def _block(layers: Any, at: Any, filters: int, size: int, stride: int) -> Any:
    at = layers.Conv2D(filters, size, strides=stride, padding="same", use_bias=False)(at)
    return layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(at))


def _sound(keras: Any, shape: tuple[int, ...], classes: int) -> Any:
    layers = keras.layers
    at = source = keras.Input(shape, name="sound")
    at = layers.BatchNormalization(momentum=0.9)(at)
    for filters in (24, 32):
        at = layers.Conv1D(filters, 5, strides=2, padding="same", use_bias=False)(at)
        at = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(at))
    at = layers.AveragePooling1D(max(1, at.shape[1] // 4))(at)
    return keras.Model(source, layers.Dense(classes, name="scores")(layers.Flatten()(at)))


def _wave(keras: Any, shape: tuple[int, ...], classes: int) -> Any:
    layers = keras.layers
    at = source = keras.Input(shape, name="waveform")
    at = layers.Reshape((shape[0], 1))(at)
    for filters, size, stride in ((16, 65, 16), (24, 9, 4), (32, 9, 4)):
        at = layers.Conv1D(filters, size, strides=stride, padding="same", use_bias=False)(at)
        at = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(at))
    at = layers.GlobalAveragePooling1D()(at)
    return keras.Model(source, layers.Dense(classes, name="scores")(at))


def _text(keras: Any, shape: tuple[int, ...], classes: int) -> Any:
    layers = keras.layers
    source = keras.Input(shape, dtype="int32", name="ids")
    at = layers.Embedding(400, 16)(source)
    at = layers.ReLU()(layers.Conv1D(24, 3, padding="same")(at))
    return keras.Model(source, layers.Dense(classes, name="scores")(layers.GlobalAveragePooling1D()(at)))


_NETWORKS = {"image": _image, "probabilities": _probabilities, "sound": _sound, "wave": _wave, "text": _text}


def _convert(network: Any, samples: Any, folder: Path) -> None:
    import tensorflow as tf

    signature = [tf.TensorSpec((1, *samples.shape[1:]), samples.dtype)]
    network.export(str(folder / "saved"), verbose=False, input_signature=signature)
    for form in FORMS:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))
        if form != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if form in ("int8", "uint8"):
            if samples.dtype.kind == "i":
                continue
            converter.representative_dataset = lambda: ([one[None]] for one in samples)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = getattr(tf, form)
        (folder / f"{form}.tflite").write_bytes(converter.convert())
    shutil.rmtree(folder / "saved")


if __name__ == "__main__":
    _train(sys.argv[1], Path(sys.argv[2]))
