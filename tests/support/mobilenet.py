"""MobileNetV2 (keras.applications, 224, ten classes) as float32 and int8 .tflite, and frames for it.

Random weights with batch norm conditioned on the frames, so that int8 is healthy. TensorFlow runs in a process of its
own, once per machine: the files are kept in the temporary directory under a name that changes with this source.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CALIBRATION = 20


@dataclass(frozen=True)
class MobileNet:
    """`float32` and `int8` take (1, 224, 224, 3) in [-1, 1]; `samples` is an .npz with x (40, ...) and y."""

    folder: Path

    @property
    def float32(self) -> Path:
        return self.folder / "float32.tflite"

    @property
    def int8(self) -> Path:
        return self.folder / "int8.tflite"

    @property
    def samples(self) -> Path:
        return self.folder / "samples.npz"


def mobilenet() -> MobileNet:
    """The models, built on the first call (about half a minute)."""
    source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    home = Path(tempfile.gettempdir()) / f"windtunnel-tests-{getpass.getuser()}-mobilenet-{source}"
    if not home.is_dir():
        made = Path(tempfile.mkdtemp(prefix=f"{home.name}-", dir=home.parent))
        _in_tensorflow("build", str(made))
        try:
            made.replace(home)
        except OSError:
            # Another process was first; its files are the same.
            shutil.rmtree(made)
    return MobileNet(home)


def time_quantization_debugger(models: MobileNet, frames: int) -> dict[str, float]:
    """What tf.lite.experimental.QuantizationDebugger takes for the same model and frames: seconds to construct, and
    seconds per further frame."""
    found: dict[str, float] = json.loads(_in_tensorflow("debugger", str(models.folder), str(frames)).splitlines()[-1])
    return found


def _in_tensorflow(*arguments: str) -> str:
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, env=env, capture_output=True, text=True, timeout=580).stdout


def _frames(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Smooth patches with some noise, a shade per class."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 10, count)
    patches = np.kron(draw.uniform(-0.6, 0.6, (count, 14, 14, 3)), np.ones((1, 16, 16, 1)))
    shades = 0.4 * np.linspace(-1, 1, 10)[labels]
    noise = draw.normal(0, 0.02, patches.shape)
    return np.clip(patches + noise + shades[:, None, None, None], -1, 1).astype(np.float32), labels


def _network() -> tuple[Any, NDArray[np.float32]]:
    import keras

    keras.utils.set_random_seed(7)
    model = keras.applications.MobileNetV2(weights=None, input_shape=(224, 224, 3), classes=10)
    x, _ = _frames(64, 1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5
    for number in range(6):
        model(x[:32] if number % 2 else x[32:], training=True)
    return model, x


def _converter(model: Any, x: NDArray[np.float32]) -> Any:
    import tensorflow as tf

    def calibration() -> Iterator[list[NDArray[np.float32]]]:
        for one in x[:_CALIBRATION]:
            yield [one[None]]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter


def _build(folder: Path) -> None:
    import tensorflow as tf

    model, x = _network()
    (folder / "float32.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    (folder / "int8.tflite").write_bytes(_converter(model, x).convert())
    samples, labels = _frames(40, 2)
    np.savez(folder / "samples.npz", x=samples, y=labels)


def _debugger(folder: Path, frames: int) -> dict[str, float]:
    import tensorflow as tf

    model, x = _network()
    samples = np.load(folder / "samples.npz")["x"]
    start = time.perf_counter()
    used = [samples[:0]]
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=_converter(model, x), debug_dataset=lambda: ([one[None]] for one in used[0])
    )
    constructed = time.perf_counter() - start
    taken = []
    for count in (2, 2 + frames):
        used[0] = samples[:count]
        start = time.perf_counter()
        debugger.run()
        taken.append(time.perf_counter() - start)
    return {"construct_s": constructed, "frame_s": (taken[1] - taken[0]) / frames}


if __name__ == "__main__":
    if sys.argv[1] == "build":
        _build(Path(sys.argv[2]))
    else:
        print(json.dumps(_debugger(Path(sys.argv[2]), int(sys.argv[3]))))
