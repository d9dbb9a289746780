"""TF1 checkpoints of graphs as trainings leave them, each with the answers of the same network built for inference.

TensorFlow runs in a process of its own; nothing is trained: weights and averages are drawn at random.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What says whether the network trains: nothing (always), or a placeholder of that form.
KINDS = (
    "always",
    "always_resource",
    "updates_apart",
    "switch",
    "switch_resource",
    "switch_with_default",
    "keep_prob",
    "old_dropout",
    "moments",
    "iterator",
    "queue",
)
_COUNT = 12


def training_graphs(folder: Path) -> Path:
    """Fills `folder` with a checkpoint of each of KINDS, `<kind>.npy` (its answers) and `samples.npz`."""
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    subprocess.run([sys.executable, __file__, str(folder)], check=True, env=env, timeout=280)
    return folder


class _Network:
    """Two convolutions with batch norm, and a dense layer behind dropout."""

    def __init__(self, v1: Any, kind: str) -> None:
        self.v1 = v1
        self.kind = kind
        self.updates_apart = kind == "updates_apart"

    def classes(self, image: Any, training: Any, keep: Any) -> Any:
        v1 = self.v1
        hidden = self._conv(self._conv(image, 4, "conv1", training), 6, "conv2", training)
        hidden = v1.reduce_mean(hidden, [1, 2])
        if self.kind == "moments":
            hidden = self._moments_norm(hidden, training)
        hidden = self._choose(training, lambda: self._dropout(hidden, keep), lambda: hidden)
        weights = v1.get_variable("logits/weights", [6, 3], initializer=v1.glorot_uniform_initializer(seed=2))
        return v1.nn.softmax(v1.matmul(hidden, weights), name="classes")

    def _conv(self, x: Any, count: int, name: str, training: Any) -> Any:
        v1 = self.v1
        shape = [3, 3, x.shape[-1], count]
        weights = v1.get_variable(f"{name}/weights", shape, initializer=v1.glorot_uniform_initializer(seed=1))
        return v1.nn.relu(self._norm(v1.nn.conv2d(x, weights, strides=1, padding="SAME"), f"{name}/norm", training))

    def _averages(self, name: str, count: int) -> tuple[Any, Any, Any]:
        v1 = self.v1
        names = ("gamma", "moving_mean", "moving_variance")
        low = (0.5, -0.3, 0.2)
        found = []
        for place, (one, start) in enumerate(zip(names, low, strict=True)):
            drawn = v1.random_uniform_initializer(start, start + 0.6, seed=place)
            found.append(v1.get_variable(f"{name}/{one}", [count], initializer=drawn, trainable=place == 0))
        return found[0], found[1], found[2]

    def _norm(self, x: Any, name: str, training: Any) -> Any:
        v1 = self.v1
        gamma, mean, variance = self._averages(name, x.shape[-1])
        beta = v1.zeros_like(gamma)

        def train() -> Any:
            out, batch_mean, batch_variance = v1.nn.fused_batch_norm(x, gamma, beta, is_training=True)
            return self._updated(out, [(mean, batch_mean), (variance, batch_variance)])

        def infer() -> Any:
            return v1.nn.fused_batch_norm(x, gamma, beta, mean=mean, variance=variance, is_training=False)[0]

        return self._choose(training, train, infer)

    def _moments_norm(self, x: Any, training: Any) -> Any:
        v1 = self.v1
        gamma, mean, variance = self._averages("dense_norm", x.shape[-1])
        if training is False:
            return v1.nn.batch_normalization(x, mean, variance, None, gamma, 1e-3)
        batch_mean, batch_variance = v1.nn.moments(x, [0])
        updates = [
            v1.assign_sub(mean, (mean - batch_mean) * 0.05),
            v1.assign_sub(variance, (variance - batch_variance) * 0.05),
        ]
        with v1.control_dependencies(updates):
            return v1.nn.batch_normalization(x, batch_mean, batch_variance, None, gamma, 1e-3)

    def _updated(self, out: Any, pairs: list[tuple[Any, Any]]) -> Any:
        v1 = self.v1
        updates = [v1.assign(average, average * 0.95 + batch * 0.05) for average, batch in pairs]
        if self.updates_apart:
            return out
        with v1.control_dependencies(updates):
            return v1.identity(out)

    def _dropout(self, x: Any, keep: Any) -> Any:
        v1 = self.v1
        if self.kind == "old_dropout":
            mask = v1.floor(0.8 + v1.random_uniform(v1.shape(x), seed=1))
            return v1.realdiv(x, 0.8) * mask
        return v1.nn.dropout(x, rate=0.2 if keep is None else 1 - keep, seed=1)

    def _choose(self, training: Any, train: Callable[[], Any], infer: Callable[[], Any]) -> Any:
        if isinstance(training, bool):
            return train() if training else infer()
        return self.v1.cond(training, train, infer)


def _build(folder: Path) -> None:
    import numpy as np
    import tensorflow as tf

    v1 = tf.compat.v1
    v1.disable_v2_behavior()
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (_COUNT, 8, 8, 1)).astype(np.float32)
    np.savez(folder / "samples.npz", x=x, y=np.arange(_COUNT) % 3)
    for kind in KINDS:
        _checkpoint(v1, kind, folder / kind, x)
        with v1.Graph().as_default():
            v1.enable_resource_variables() if kind.endswith("resource") else v1.disable_resource_variables()
            image = v1.placeholder(tf.float32, [None, 8, 8, 1])
            classes = _Network(v1, kind).classes(image, False, None)
            session = v1.Session()
            v1.train.Saver().restore(session, str(folder / kind / "model.ckpt"))
            np.save(folder / f"{kind}.npy", session.run(classes, {image: x}))


def _checkpoint(v1: Any, kind: str, folder: Path, x: Any) -> None:
    with v1.Graph().as_default():
        v1.enable_resource_variables() if kind.endswith("resource") else v1.disable_resource_variables()
        image, labels = _inputs(v1, kind, x)
        training: Any = True
        if kind.startswith("switch"):
            training = v1.placeholder(v1.bool, [], name="is_training")
        if kind == "switch_with_default":
            training = v1.placeholder_with_default(v1.constant(True), [], name="phase_train")
        keep = v1.placeholder(v1.float32, name="keep_prob") if kind == "keep_prob" else None
        classes = _Network(v1, kind).classes(image, training, keep)
        loss = v1.reduce_mean(v1.square(classes - v1.one_hot(labels, 3)), name="loss")
        with v1.control_dependencies(v1.get_collection(v1.GraphKeys.UPDATE_OPS)):
            v1.train.AdamOptimizer(1e-3).minimize(loss, global_step=v1.train.get_or_create_global_step())
        session = v1.Session()
        session.run(v1.global_variables_initializer())
        folder.mkdir()
        v1.train.Saver().save(session, str(folder / "model.ckpt"))


def _inputs(v1: Any, kind: str, x: Any) -> tuple[Any, Any]:
    if kind == "iterator":
        data = v1.data.Dataset.from_tensor_slices((x, [0] * len(x))).repeat().batch(4)
        image, labels = v1.data.make_one_shot_iterator(data).get_next()
        return image, labels
    if kind == "queue":
        queue = v1.FIFOQueue(8, [v1.float32, v1.int32], [[8, 8, 1], []])
        image, labels = queue.dequeue_many(4)
        return image, labels
    return v1.placeholder(v1.float32, [None, 8, 8, 1], name="image"), v1.placeholder(v1.int32, [None], name="labels")


if __name__ == "__main__":
    _build(Path(sys.argv[1]))
