"""One small trained network in every format that the converter takes, and models that it must refuse.

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
from pathlib import Path
from typing import Any

import numpy as np

from support import stored

FORMATS = ("saved_model", "model.keras", "model.h5", "frozen.pb", "checkpoint")
_NAME = "colours"


def trained_models() -> Path:
    """A folder with FORMATS, `two_outputs.pb`, `lambda.keras`, `lambda.h5`, `weights.h5`, `det`, `samples.npz`."""
    content = Path(__file__).read_bytes() + stored.path_of(_NAME).read_bytes()
    source = hashlib.sha256(content).hexdigest()[:12]
    home = Path(tempfile.gettempdir()) / f"windtunnel-tests-{getpass.getuser()}-trained-{source}"
    if not home.is_dir():
        made = Path(tempfile.mkdtemp(prefix=f"{home.name}-", dir=home.parent))
        env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        command = [sys.executable, "-m", "support.trained", str(made)]
        subprocess.run(command, check=True, env=env, timeout=280, cwd=Path(__file__).parent.parent)
        try:
            made.replace(home)
        except OSError:
            # Another test process was first; its files are the same.
            shutil.rmtree(made)
    return home


def _data() -> tuple[Any, Any]:
    """Images (200, 12, 12, 3) and their strongest color."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, (200, 12, 12, 3)).astype(np.float32)
    return x, (x.mean(axis=(1, 2)).argmax(axis=1)).astype(np.int64)


def _network(keras: Any) -> Any:
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3), name="image"),
            keras.layers.Conv2D(8, 3, padding="same", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, name="colour"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss)
    return model


def _train() -> None:
    import keras

    keras.utils.set_random_seed(3)
    x, y = _data()
    model = _network(keras)
    model.fit(x, y, epochs=20, verbose=0)
    stored.store(_NAME, model.get_weights())


def _build(folder: Path) -> None:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(3)
    x, y = _data()
    np.savez(folder / "samples.npz", x=x[:60], y=y[:60])
    model = _network(keras)
    # One step makes what an optimizer keeps, as in files of a real training.
    model.fit(x[:32], y[:32], verbose=0)
    model.set_weights(stored.load(_NAME))
    model.export(folder / "saved_model", verbose=False)
    model.save(folder / "model.keras")
    model.save(folder / "model.h5")
    model.save_weights(folder / "only.weights.h5")
    (folder / "only.weights.h5").rename(folder / "weights.h5")
    _graphs(folder, tf)
    coded = keras.Sequential(
        [keras.Input((12, 12, 3)), keras.layers.Lambda(lambda t: t * 2, name="doubles"), keras.layers.Flatten()]
    )
    coded.save(folder / "lambda.keras")
    coded.save(folder / "lambda.h5")

    module = tf.Module()
    module.det = tf.function(
        lambda matrix: {"det": tf.linalg.det(matrix)}, input_signature=[tf.TensorSpec((1, 12, 12), tf.float32)]
    )
    tf.saved_model.save(module, str(folder / "det"), signatures=module.det)


def _graphs(folder: Path, tf: Any) -> None:
    """A TF1 graph as checkpoint and frozen, with the leftovers of training that such graphs have."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        v1.set_random_seed(3)
        image = v1.placeholder(tf.float32, (None, 12, 12, 3), name="image")
        weights = v1.get_variable("weights", (3, 3, 3, 8), initializer=v1.glorot_uniform_initializer(seed=3))
        at = tf.nn.relu(tf.nn.conv2d(image, weights, strides=1, padding="SAME"))
        dense = v1.get_variable("dense", (8, 3), initializer=v1.glorot_uniform_initializer(seed=4))
        tf.nn.softmax(tf.linalg.matmul(tf.reduce_mean(at, axis=(1, 2)), dense), name="colour")
        session.run(v1.global_variables_initializer())
        (folder / "checkpoint").mkdir()
        v1.train.Saver().save(session, str(folder / "checkpoint" / "model.ckpt"))
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["colour"])
        (folder / "frozen.pb").write_bytes(frozen.SerializeToString())
        tf.identity(at, name="features")
        both = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["colour", "features"])
        (folder / "two_outputs.pb").write_bytes(both.SerializeToString())


if __name__ == "__main__":
    _train() if sys.argv[1] == "train" else _build(Path(sys.argv[1]))
