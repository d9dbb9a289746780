"""A small trained CNN as real .tflite files: float32 from TensorFlow, variants from litert-quantizer.

Its weights are stored. TensorFlow runs in a process of its own, once per machine: the files are kept in the temporary
directory under a name that changes with this source.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from support import stored

VARIANTS = ("float32", "float16", "dynamic_range", "int8", "int16x8")
_TEST_FROM = 1400
_NAME = "digits"


@dataclass(frozen=True)
class DigitsModels:
    """Paths of the digits classifier: 1x32x32x1 in [0, 1] -> 10 class probabilities, about 97 % right.

    `variants` has the float model under "float32" and what litert-quantizer made of it; `samples` is an .npz
    with x (397, 32, 32, 1) and y held out of training; `calibration` has x (100, 32, 32, 1) of the training set;
    `saved_model` is the TensorFlow model as a folder.
    """

    folder: Path

    @property
    def float32(self) -> Path:
        return self.variants["float32"]

    @property
    def variants(self) -> dict[str, Path]:
        return {name: self.folder / f"{name}.tflite" for name in VARIANTS}

    @property
    def samples(self) -> Path:
        return self.folder / "samples.npz"

    @property
    def calibration(self) -> Path:
        return self.folder / "calibration.npz"

    @property
    def saved_model(self) -> Path:
        return self.folder / "saved_model"


def digits_model(folder: Path | None = None) -> DigitsModels:
    """The digits models, built on the first call (about half a minute). Mark tests that use them `heavy`."""
    content = Path(__file__).read_bytes() + stored.path_of(_NAME).read_bytes()
    source = hashlib.sha256(content).hexdigest()[:12]
    home = folder or Path(tempfile.gettempdir()) / f"windtunnel-tests-{getpass.getuser()}-digits-{source}"
    if not home.is_dir() or not any(home.iterdir()):
        home.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f"{home.name}-", dir=home.parent))
        env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, "-m", "support.models", str(made)]
        tests = Path(__file__).parent.parent
        subprocess.run(command, check=True, env=env, capture_output=True, timeout=280, cwd=tests)
        try:
            made.replace(home)
        except OSError:
            # Another test process was first; its files are the same.
            shutil.rmtree(made)
    return DigitsModels(home)


def _data() -> tuple[Any, Any]:
    """Images (1797, 32, 32, 1) and their digits; the last are held out of training."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = np.kron(digits.images.astype(np.float32) / 16.0, np.ones((1, 4, 4), np.float32))[..., None]
    # The set is ordered by writer: unshuffled, the test samples would be of people never seen.
    order = np.random.default_rng(7).permutation(len(x))
    return x[order], digits.target.astype(np.int64)[order]


def _train() -> None:
    import keras

    x, y = _data()
    keras.utils.set_random_seed(7)
    model = _network(keras)
    model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    model.fit(x[:_TEST_FROM], y[:_TEST_FROM], batch_size=32, epochs=30, verbose=0)
    stored.store(_NAME, model.get_weights())


def _build(folder: Path) -> None:
    import keras
    import tensorflow as tf

    x, y = _data()
    model = _network(keras)
    model.set_weights(stored.load(_NAME))
    np.savez(folder / "samples.npz", x=x[_TEST_FROM:], y=y[_TEST_FROM:])
    np.savez(folder / "calibration.npz", x=x[:100])
    model.export(folder / "saved_model", verbose=False)
    content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    (folder / "float32.tflite").write_bytes(content)
    for name in VARIANTS[1:]:
        (folder / f"{name}.tflite").write_bytes(_quantized(folder / "float32.tflite", name, x[:100]))


def _network(keras: Any) -> Any:
    layers = keras.layers

    def normalized(at: Any) -> Any:
        return layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(at))

    def block(at: Any, filters: int, strides: int) -> Any:
        at = normalized(layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(at))
        return normalized(layers.Conv2D(filters, 1, use_bias=False)(at))

    source = keras.Input((32, 32, 1), name="image")
    at = normalized(layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(source))
    at = block(at, 16, 2)
    at = layers.Add()([at, block(at, 16, 1)])
    at = block(at, 32, 2)
    at = layers.Dense(10, name="logits")(layers.GlobalAveragePooling2D()(at))
    return keras.Model(source, layers.Softmax(name="probabilities")(at))


def _quantized(model: Path, variant: str, calibration: Any) -> bytes:
    from litert_quantizer import qtyping, quantizer, recipe

    recipes = {
        "dynamic_range": recipe.dynamic_wi8_afp32,
        "int8": recipe.static_wi8_ai8,
        "int16x8": recipe.static_wi8_ai16,
    }
    work = quantizer.Quantizer(str(model), recipes[variant]() if variant in recipes else None)
    if variant == "float16":
        work.update_quantization_recipe(
            regex=".*",
            operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
            op_config=qtyping.OpQuantizationConfig(
                weight_tensor_config=qtyping.TensorQuantizationConfig(
                    num_bits=16, symmetric=True, dtype=qtyping.TensorDataType.FLOAT
                ),
                compute_precision=qtyping.ComputePrecision.FLOAT,
            ),
            algorithm_key="float_casting",
        )
    statistics = None
    if work.need_calibration:
        statistics = work.calibrate({"serving_default": [{"image": one[None]} for one in calibration]})
    return bytes(work.quantize(statistics).quantized_model)


if __name__ == "__main__":
    _train() if sys.argv[1] == "train" else _build(Path(sys.argv[1]))
