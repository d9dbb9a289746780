"""Models that the current TensorFlow would not write like this: of Keras 2, of several graphs, with several outputs.

TensorFlow runs in a process of its own. Weights are drawn at random.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Files of Keras 2, each of layers whose form changed; all take `image` (8, 8, 3) or `steps` (5, 4).
KERAS2 = ("depthwise", "ops_between", "recurrent", "transposed", "separable")


def older_models(folder: Path) -> Path:
    """Fills `folder`.

    `<kind>.h5`, `<kind>.keras` for KERAS2, with `<kind>.x.npz` and the answers of Keras 2, `<kind>.npy`;
    `custom.h5`, `custom.keras`; SavedModels `dict_outputs`, `two_graphs`, `training_graph_only`; `dict_outputs.keras`;
    `bidirectional.keras`; `lacking`, a SavedModel with ops that TensorFlow Lite lacks.
    """
    for step in ("keras2", "keras3"):
        env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        subprocess.run([sys.executable, __file__, str(folder), step], check=True, env=env, timeout=280)
    return folder


def _keras2(folder: Path) -> None:
    import numpy as np
    import tf_keras

    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(2)
    for kind, model in _models(tf_keras, layers).items():
        x = np.random.default_rng(1).uniform(-1, 1, (6, *model.input_shape[1:])).astype(np.float32)
        np.savez(folder / f"{kind}.x.npz", x=x)
        np.save(folder / f"{kind}.npy", model.predict(x, verbose=0))
        for suffix in ("h5", "keras"):
            model.save(folder / f"{kind}.{suffix}")
        _as_written_by(folder / f"{kind}.h5", "2.9.0")


def _models(keras: Any, layers: Any) -> dict[str, Any]:
    image, steps = keras.Input((8, 8, 3), name="image"), keras.Input((5, 4), name="steps")

    def ended(at: Any) -> Any:
        return layers.Dense(3, activation="softmax", name="classes")(layers.GlobalAveragePooling2D()(at))

    between = layers.Conv2D(4, 3, name="conv")(image)
    recurrent = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(steps)
    return {
        "depthwise": keras.Model(image, ended(layers.ReLU(6.0)(layers.DepthwiseConv2D(3)(image)))),
        # What is not a layer becomes one of Keras 2's own: TFOpLambda, SlicingOpLambda.
        "ops_between": keras.Model(image, ended((between * 2.0 + 1.0)[:, 1:])),
        "recurrent": keras.Model(steps, layers.Dense(2)(layers.GRU(3)(recurrent))),
        "transposed": keras.Model(image, ended(layers.Conv2DTranspose(4, 3, strides=2)(image))),
        "separable": keras.Model(image, ended(layers.BatchNormalization()(layers.SeparableConv2D(4, 3)(image)))),
    }


def _as_written_by(path: Path, version: str) -> None:
    """Sets the version, and the argument that only the Keras of that time wrote."""
    import h5py

    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "DepthwiseConv2D":
                layer["config"]["groups"] = 1
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = version


def _keras3(folder: Path) -> None:
    import keras
    import tensorflow as tf

    layers = keras.layers
    keras.utils.set_random_seed(2)

    @keras.saving.register_keras_serializable(package="Mine")
    class Twice(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x * 2

    steps = keras.Input((5, 4), name="steps")
    custom = keras.Model(steps, layers.Dense(2)(Twice(name="doubled")(steps)))
    for suffix in ("h5", "keras"):
        custom.save(folder / f"custom.{suffix}")
    bidirectional = layers.Bidirectional(layers.LSTM(4), name="both_ways")(steps)
    keras.Model(steps, layers.Dense(2)(bidirectional)).save(folder / "bidirectional.keras")
    scores, boxes, extra = (layers.Dense(4, name=name)(layers.Flatten()(steps)) for name in ("zeta", "alpha", "mid"))
    several = keras.Model({"steps": steps}, {"scores": scores, "boxes": boxes, "aux": extra})
    several.save(folder / "dict_outputs.keras")
    several.export(folder / "dict_outputs", verbose=False)
    _lacking(tf, folder / "lacking")
    _two_graphs(tf.compat.v1, folder)


def _lacking(tf: Any, folder: Path) -> None:
    module = tf.Module()

    def called(x: Any) -> dict[str, Any]:
        with tf.name_scope("solver"):
            return {"det": tf.linalg.det(x, name="determinant") + 1.0}

    module.called = tf.function(called, input_signature=[tf.TensorSpec((1, 4, 4), tf.float32, name="x")])
    tf.saved_model.save(module, str(folder), signatures=module.called)


def _two_graphs(v1: Any, folder: Path) -> None:
    """SavedModels of TF1 with a graph for training next to the one for serving, or instead of it."""
    add: dict[str, Callable[[Any], list[list[str]]]] = {
        "two_graphs": lambda tags: [["train"], [tags.SERVING]],
        "training_graph_only": lambda tags: [["train"], ["eval"]],
    }
    for name, graphs in add.items():
        builder = v1.saved_model.Builder(str(folder / name))
        for place, tags in enumerate(graphs(v1.saved_model.tag_constants)):
            with v1.Graph().as_default(), v1.Session() as session:
                x = v1.placeholder(v1.float32, [None, 4], name="x")
                weights = v1.get_variable("weights", [4, 2], initializer=v1.glorot_uniform_initializer(seed=1))
                y = v1.matmul(x, weights) * (1.0 if tags != ["train"] else 0.5)
                session.run(v1.global_variables_initializer())
                signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
                if place == 0:
                    builder.add_meta_graph_and_variables(session, tags, {"serving_default": signature})
                else:
                    builder.add_meta_graph(tags, {"serving_default": signature})
        builder.save()


if __name__ == "__main__":
    {"keras2": _keras2, "keras3": _keras3}[sys.argv[2]](Path(sys.argv[1]))
