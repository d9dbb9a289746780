"""A small trained classifier of handwritten digits with damage that only quantization shows; without TensorFlow.

Its weights are stored (see `stored`).

Every damaged model answers exactly or nearly what the sound one does as long as it is float.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from support import stored
from support.graphs import GraphWriter

LAYERS = ("hidden_1", "hidden_2", "hidden_3", "logits")
_WIDTHS = (24, 20, 16)
_TRAIN_ON = 900
_DEAD = 5
_NAME = "digits_dense"


@dataclass(frozen=True)
class Network:
    """Weights (out, in) and biases (out,) of the four dense layers, ReLU between them; 64 pixels -> 10 classes."""

    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]

    def copy(self) -> Network:
        return Network(tuple(one.copy() for one in self.weights), tuple(one.copy() for one in self.biases))

    def write(self, path: Path, *, softmax: bool = True) -> Path:
        writer = GraphWriter()
        source = at = writer.tensor("image", (1, 64))
        for name, weights, bias in zip(LAYERS, self.weights, self.biases, strict=True):
            at = writer.dense(name, at, weights, bias, activation="NONE" if name == "logits" else "RELU")
        if softmax:
            output = writer.tensor("probabilities", (1, 10))
            options = schema.SoftmaxOptionsT()
            options.beta = 1.0
            writer.op("SOFTMAX", [at], [output], options)
            at = output
        return writer.write(path, [source], [at])


def _data() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(7).permutation(len(digits.data))
    return (digits.data / 16.0).astype(np.float32)[order], digits.target.astype(np.int64)[order]


def _train() -> None:
    from sklearn.neural_network import MLPClassifier

    x, y = _data()
    model = MLPClassifier(_WIDTHS, max_iter=60, random_state=7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x[:_TRAIN_ON], y[:_TRAIN_ON])
    stored.store(_NAME, [*(one.T for one in model.coefs_), *model.intercepts_])


@cache
def _trained() -> tuple[Network, NDArray[np.float32], NDArray[np.int64]]:
    found = [np.ascontiguousarray(one) for one in stored.load(_NAME)]
    x, y = _data()
    half = len(found) // 2
    return Network(tuple(found[:half]), tuple(found[half:])), x[_TRAIN_ON:], y[_TRAIN_ON:]


def network() -> Network:
    """The sound one: about 94 % right on `samples`."""
    return _trained()[0].copy()


def arrays() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """x (897, 64) and y (897,), held out of training."""
    return _trained()[1:]


def samples(path: Path, *, labels: bool = True, count: int | None = None) -> Path:
    x, y = arrays()
    found: dict[str, Any] = {"x": x[:count]} | ({"y": y[:count]} if labels else {})
    np.savez(path, **found)
    return path


def huge_weights_for_a_dead_channel(layer: int = 1) -> Network:
    """Of dense layer `layer`, one input is always zero and has weights far above all others.

    Its int8 scales, one per output channel, are those of the dead weights: every other weight rounds to zero. That
    one layer in float fixes it; no other single layer does.
    """
    net = network()
    net.weights[layer - 1][_DEAD] = 0.0
    net.biases[layer - 1][_DEAD] = -1.0
    net.weights[layer][:, _DEAD] = 3000.0
    return net


def outlier_activation() -> Network:
    """A channel of `hidden_2` is 3000 times larger than the others, and the next layer's weights make up for it.

    Neither of the layers is enough to fix it: what goes from one to the other must stay float on both ends.
    """
    net = network()
    net.weights[1][_DEAD] *= 3000.0
    net.biases[1][_DEAD] *= 3000.0
    net.weights[2][:, _DEAD] /= 3000.0
    return net


def uneven_channels() -> Network:
    """An output channel of `hidden_2` has huge weights and never fires: one scale for all channels loses the rest."""
    net = network()
    net.weights[1][_DEAD] = -3000.0
    net.biases[1][_DEAD] = 0.0
    net.weights[2][:, _DEAD] = 0.0
    return net


if __name__ == "__main__" and sys.argv[1:] == ["train"]:
    _train()
