"""The networks of the fault matrix: built and trained on the spot by TensorFlow, in a process of its own.

    python fault_networks.py ARCHITECTURE FOLDER

writes into FOLDER `float32.tflite`, what TFLiteConverter makes of the same network (`RECIPES`), `samples.npz` and
`calibration.npz`. Every network is a function that returns a `Task`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
_TEST = 48
_CALIBRATION = 100
# Calibration on inputs this much too small and too large.
CLIPPED, WIDE = 0.2, 6.0


@dataclass(frozen=True)
class Task:
    """A network with its data: arrays by input name, targets by output name, and how long to train.

    `condition`: batches that set the statistics of batch normalisation beforehand, for large networks that a short
    training would leave unsettled.
    """

    model: Any
    x: Mapping[str, Array]
    y: Any
    loss: Any
    epochs: int
    rate: float = 5e-3
    condition: int = 0
    batch: int = 32
    labels: Array | None = field(default=None)


def digits(size: int, *, channels: int = 1) -> tuple[Array, NDArray[np.int64]]:
    """scikit-learn's digits in [0, 1], enlarged to size x size, in seeded order."""
    from sklearn.datasets import load_digits

    found = load_digits()
    times = size // 8
    x = np.kron(found.images.astype(np.float32) / 16.0, np.ones((1, times, times), np.float32))[..., None]
    order = np.random.default_rng(7).permutation(len(x))
    return np.repeat(x[order], channels, axis=-1), found.target.astype(np.int64)[order]


def _normalised(at: Any, activation: str = "relu") -> Any:
    from keras import initializers, layers

    # Wide enough that some values reach the upper end of a ReLU6.
    gamma = initializers.Constant(3.0 if activation == "relu6" else 1.0)
    return layers.Activation(activation)(layers.BatchNormalization(momentum=0.9, gamma_initializer=gamma)(at))


def _classifier(inputs: Any, at: Any, x: Array, y: NDArray[np.int64], epochs: int, **more: Any) -> Task:
    import keras

    logits = keras.layers.Dense(10, name="logits")(at)
    model = keras.Model(inputs, keras.layers.Softmax(name="probabilities")(logits))
    return Task(model, {inputs.name: x}, y, "sparse_categorical_crossentropy", epochs, **more)


def conv() -> Task:
    """Plain convolutions with pooling and two dense layers."""
    import keras
    from keras import layers

    x, y = digits(16)
    source = keras.Input((16, 16, 1), name="image")
    at = _normalised(layers.Conv2D(8, 3, padding="same", use_bias=False)(source))
    at = _normalised(layers.Conv2D(16, 3, padding="same", use_bias=False)(at))
    at = layers.MaxPooling2D(2)(at)
    at = layers.Conv2D(16, 3, padding="same", activation="relu", bias_initializer="uniform")(at)
    at = _normalised(layers.Conv2D(24, 3, padding="valid", use_bias=False)(at))
    at = layers.AveragePooling2D(2)(at)
    at = layers.Dense(32, activation="relu")(layers.Flatten()(at))
    return _classifier(source, at, x, y, 8)


def mobile() -> Task:
    """Depthwise separable convolutions with residual connections and ReLU6, as MobileNetV2."""
    import keras
    from keras import layers

    x, y = digits(32)
    source = keras.Input((32, 32, 1), name="image")
    at = _normalised(layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(source), "relu6")

    def block(at: Any, filters: int, strides: int) -> Any:
        wide = _normalised(layers.Conv2D(at.shape[-1] * 3, 1, use_bias=False)(at), "relu6")
        wide = _normalised(layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(wide), "relu6")
        out = layers.BatchNormalization(momentum=0.9)(layers.Conv2D(filters, 1, use_bias=False)(wide))
        return layers.Add()([at, out]) if strides == 1 and at.shape[-1] == filters else out

    for filters, strides in ((12, 2), (12, 1), (12, 1), (16, 2), (16, 1)):
        at = block(at, filters, strides)
    at = _normalised(layers.Conv2D(48, 1, use_bias=False)(at), "relu6")
    return _classifier(source, layers.GlobalAveragePooling2D()(at), x, y, 10)


def dense() -> Task:
    """Dense connections: every layer reads all before it, by concatenation."""
    import keras
    from keras import layers

    x, y = digits(16)
    source = keras.Input((16, 16, 1), name="image")
    at = _normalised(layers.Conv2D(12, 3, padding="same", use_bias=False)(source))
    for part in range(2):
        for _ in range(3):
            new = _normalised(layers.Conv2D(16, 1, use_bias=False)(at))
            new = layers.Conv2D(8, 3, padding="same", activation="relu", bias_initializer="uniform")(new)
            at = layers.Concatenate()([at, new])
        if part == 0:
            at = layers.AveragePooling2D(2)(_normalised(layers.Conv2D(16, 1, use_bias=False)(at)))
    return _classifier(source, layers.GlobalAveragePooling2D()(_normalised(at)), x, y, 8)


def squeeze() -> Task:
    """Squeeze and excitation with hard-swish and sigmoid gates, as MobileNetV3."""
    import keras
    from keras import layers

    x, y = digits(32)
    source = keras.Input((32, 32, 1), name="image")
    at = _normalised(layers.Conv2D(12, 3, strides=2, padding="same", use_bias=False)(source), "hard_silu")
    for filters, strides in ((16, 2), (16, 1), (24, 2)):
        wide = _normalised(layers.Conv2D(filters * 2, 1, use_bias=False)(at), "hard_silu")
        wide = _normalised(layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(wide), "relu")
        gate = layers.GlobalAveragePooling2D(keepdims=True)(wide)
        gate = layers.Conv2D(filters // 2, 1, activation="relu")(gate)
        gate = layers.Conv2D(filters * 2, 1, activation="sigmoid")(gate)
        out = layers.Conv2D(filters, 1, use_bias=False)(layers.Multiply()([wide, gate]))
        out = layers.BatchNormalization(momentum=0.9)(out)
        at = layers.Add()([at, out]) if at.shape == out.shape else out
    return _classifier(source, layers.GlobalAveragePooling2D()(at), x, y, 12)


def decoder() -> Task:
    """Segmentation: strided convolutions down, transposed convolutions and a bilinear resize up, skip connections."""
    import keras
    from keras import layers

    clean, _ = digits(32)
    noisy = clean + np.random.default_rng(5).normal(0, 0.25, clean.shape).astype(np.float32)
    source = keras.Input((32, 32, 1), name="image")
    skips = []
    at = source
    for filters in (8, 16, 24):
        at = _normalised(layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(at))
        skips.append(at)
    at = layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="relu")(at)
    at = layers.Concatenate()([at, skips[1]])
    at = layers.Conv2DTranspose(12, 2, strides=2, padding="same")(at)
    at = layers.LeakyReLU(0.2)(at)
    at = layers.Add()([at, layers.Conv2D(12, 1)(skips[0])])
    at = layers.UpSampling2D(2, interpolation="bilinear")(at)
    at = layers.Conv2D(8, 3, padding="same", activation="relu")(at)
    mask = layers.Conv2D(1, 1, name="mask", activation="sigmoid")(at)
    wanted = (clean > 0.4).astype(np.float32)
    return Task(keras.Model(source, mask), {"image": noisy}, wanted, "binary_crossentropy", 6)


def audio() -> Task:
    """One-dimensional convolutions, some dilated, on synthetic tones of six kinds."""
    import keras
    from keras import layers

    draw = np.random.default_rng(3)
    y = draw.integers(0, 10, 1400)
    time = np.arange(256) / 256.0
    base = 2 * np.pi * (6 + 7 * y)[:, None]
    x = np.sin(base * time + draw.uniform(0, 6.28, (len(y), 1))) * draw.uniform(0.4, 1, (len(y), 1))
    wave = (x + draw.normal(0, 0.2, x.shape))[..., None].astype(np.float32)
    source = keras.Input((256, 1), name="wave")
    at = _normalised(layers.Conv1D(8, 9, strides=2, padding="same", use_bias=False)(source))
    at = _normalised(layers.Conv1D(16, 5, strides=2, padding="same", use_bias=False)(at))
    at = _normalised(layers.Conv1D(16, 3, dilation_rate=2, padding="same", use_bias=False)(at))
    at = layers.MaxPooling1D(2)(at)
    at = layers.Conv1D(24, 5, padding="same", activation="relu")(at)
    return _classifier(source, layers.GlobalMaxPooling1D()(at), wave, y.astype(np.int64), 10)


def attention() -> Task:
    """A transformer encoder on the rows of digits: attention, layer normalisation, GELU, residual connections."""
    import keras
    from keras import layers

    x, y = digits(8)
    source = keras.Input((8, 8), name="rows")
    at = layers.Dense(16, name="embed")(source)
    place = layers.Embedding(8, 16, name="place")
    at = at + place(keras.ops.arange(8))
    for number in range(2):
        left = layers.LayerNormalization(epsilon=1e-4)(at)
        at = at + layers.MultiHeadAttention(2, 8, name=f"heads_{number}")(left, left)
        right = layers.Dense(32, activation="gelu")(layers.LayerNormalization(epsilon=1e-4)(at))
        at = at + layers.Dense(16)(right)
    at = layers.GlobalAveragePooling1D()(layers.LayerNormalization(epsilon=1e-4)(at))
    return _classifier(source, at, x[..., 0], y, 25, rate=3e-3)


def several() -> Task:
    """Two inputs, an image and a vector, and three outputs: a class, a figure, and a mask."""
    import keras
    from keras import layers

    x, y = digits(16)
    draw = np.random.default_rng(4)
    vector = draw.uniform(-1, 1, (len(x), 6)).astype(np.float32)
    image, extra = keras.Input((16, 16, 1), name="image"), keras.Input((6,), name="extra")
    at = _normalised(layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(image))
    low = _normalised(layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(at), "relu6")
    side = layers.Dense(16, activation="tanh")(extra)
    joined = layers.Concatenate()([layers.GlobalAveragePooling2D()(low), side])
    shared = layers.Dense(24, activation="relu")(joined)
    kind = layers.Softmax(name="kind")(layers.Dense(10)(layers.Concatenate()([layers.Flatten()(low), shared])))
    figure = layers.Dense(1, name="figure")(shared)
    up = layers.UpSampling2D(4, interpolation="bilinear")(low)
    joined = layers.Concatenate()([up, layers.UpSampling2D(2, interpolation="bilinear")(at)])
    mask = layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="mask")(joined)
    wanted = (x.mean(axis=(1, 2, 3)) * 3 + vector @ np.linspace(-1, 1, 6)).astype(np.float32)[:, None]
    targets = {"kind": y, "figure": wanted, "mask": (x > 0.4).astype(np.float32)}
    losses = {"kind": "sparse_categorical_crossentropy", "figure": "mse", "mask": "binary_crossentropy"}
    model = keras.Model([image, extra], {"kind": kind, "figure": figure, "mask": mask})
    return Task(model, {"image": x, "extra": vector}, targets, losses, 10, labels=None)


def _application(name: str, size: int, epochs: int, **arguments: Any) -> Task:
    import keras

    x, y = digits(size, channels=3)
    # Colours and noise, so that the channels differ and no layer sees flat inputs only.
    draw = np.random.default_rng(9)
    coloured = x * draw.uniform(0.5, 1, (len(x), 1, 1, 3)) + draw.normal(0, 0.05, x.shape)
    inputs = {"image": (coloured * 2 - 1).astype(np.float32)}
    build = getattr(keras.applications, name)
    model = build(weights=None, input_tensor=keras.Input((size, size, 3), name="image"), classes=10, **arguments)
    loss = "sparse_categorical_crossentropy"
    return Task(model, inputs, y, loss, epochs, rate=1e-3, condition=8, batch=32)


def mobilenet_v2() -> Task:
    """keras.applications.MobileNetV2, alpha 0.35."""
    return _application("MobileNetV2", 64, 6, alpha=0.35)


def mobilenet_v3() -> Task:
    """keras.applications.MobileNetV3Small."""
    return _application("MobileNetV3Small", 64, 6, alpha=0.75, include_preprocessing=False)


def efficientnet_b0() -> Task:
    """keras.applications.EfficientNetB0."""
    return _application("EfficientNetB0", 48, 4)


def densenet121() -> Task:
    """keras.applications.DenseNet121."""
    return _application("DenseNet121", 48, 3)


NETWORKS: Mapping[str, Callable[[], Task]] = {
    "conv": conv,
    "mobile": mobile,
    "dense": dense,
    "squeeze": squeeze,
    "decoder": decoder,
    "audio": audio,
    "attention": attention,
    "several": several,
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3": mobilenet_v3,
    "efficientnet_b0": efficientnet_b0,
    "densenet121": densenet121,
}


def build(name: str, folder: Path) -> None:
    """Trains the network and writes its files."""
    import keras

    keras.utils.set_random_seed(11)
    task = NETWORKS[name]()
    trained = _TEST if len(task.x) else 0
    fit = {key: value[trained:] for key, value in task.x.items()}
    y = {k: v[trained:] for k, v in task.y.items()} if isinstance(task.y, dict) else task.y[trained:]
    if task.condition:
        _condition(keras, task, fit)
    task.model.compile(keras.optimizers.Adam(task.rate), task.loss)
    task.model.fit(fit, y, batch_size=task.batch, epochs=task.epochs, verbose=0)
    if task.condition:
        # A short training leaves running averages behind the weights.
        _condition(keras, task, fit)
    _write_data(task, folder)
    _convert(task, folder)


def _condition(keras: Any, task: Task, x: Mapping[str, Array]) -> None:
    """Sets the statistics of batch normalisation to those of the data, batch by batch."""
    layers = [layer for layer in task.model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    usual = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.5
    for number in range(task.condition):
        rows = slice(number * task.batch, (number + 1) * task.batch)
        task.model({key: value[rows] for key, value in x.items()}, training=True)
    for layer, momentum in zip(layers, usual, strict=True):
        layer.momentum = momentum


def _write_data(task: Task, folder: Path) -> None:
    labels = {"y": task.y[:_TEST]} if isinstance(task.y, np.ndarray) and task.y.ndim == 1 else {}
    one = len(task.x) == 1

    def named(rows: slice) -> dict[str, Any]:
        return {"x" if one else f"x/{key}": value[rows] for key, value in task.x.items()}

    write: Any = np.savez
    write(folder / "samples.npz", **named(slice(0, _TEST)), **labels)
    write(folder / "calibration.npz", **named(slice(_TEST, _TEST + _CALIBRATION)))


def _convert(task: Task, folder: Path) -> None:
    import tensorflow as tf
    from tensorflow.lite.python.convert import ConverterError

    def converter() -> Any:
        return tf.lite.TFLiteConverter.from_keras_model(task.model)

    def data(factor: float) -> Callable[[], Iterator[Any]]:
        def rows() -> Iterator[Any]:
            for at in range(_TEST, _TEST + _CALIBRATION):
                row = {key: value[at : at + 1] * np.float32(factor) for key, value in task.x.items()}
                yield row if len(row) > 1 else list(row.values())

        return rows

    (folder / "float32.tflite").write_bytes(converter().convert())
    for name, configure in RECIPES.items():
        made = converter()
        made.optimizations = [tf.lite.Optimize.DEFAULT]
        configure(tf, made, data)
        try:
            (folder / f"{name}.tflite").write_bytes(made.convert())
        except (RuntimeError, tf.errors.InvalidArgumentError, ConverterError):
            # TFLiteConverter has no 16 bit form of some ops.
            if name != "tf_int16x8":
                raise
    (folder / "reconverted.tflite").write_bytes(_frozen(tf, task).convert())


def _frozen(tf: Any, task: Task) -> Any:
    """A converter of the same network by another road: a frozen function with other names."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    shapes = {key: tf.TensorSpec((1, *value.shape[1:]), tf.float32, name=key) for key, value in task.x.items()}
    call = tf.function(lambda **inputs: task.model(inputs if len(inputs) > 1 else next(iter(inputs.values()))))
    return tf.lite.TFLiteConverter.from_concrete_functions(
        [convert_variables_to_constants_v2(call.get_concrete_function(**shapes))]
    )


def _int8(tf: Any, converter: Any, factor: float, data: Any, *, per_tensor: bool = False) -> None:
    converter.representative_dataset = data(factor)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter._experimental_disable_per_channel = per_tensor


def _float16(tf: Any, converter: Any, data: Any) -> None:
    converter.target_spec.supported_types = [tf.float16]


def _int16x8(tf: Any, converter: Any, data: Any) -> None:
    converter.representative_dataset = data(1.0)
    kind = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    converter.target_spec.supported_ops = [kind]


RECIPES: Mapping[str, Callable[[Any, Any, Any], None]] = {
    "tf_float16": _float16,
    "tf_dynamic_range": lambda tf, converter, data: None,
    "tf_int8": lambda tf, converter, data: _int8(tf, converter, 1.0, data),
    "tf_int8_clipped": lambda tf, converter, data: _int8(tf, converter, CLIPPED, data),
    "tf_int8_wide": lambda tf, converter, data: _int8(tf, converter, WIDE, data),
    "tf_int8_per_tensor": lambda tf, converter, data: _int8(tf, converter, 1.0, data, per_tensor=True),
    "tf_int16x8": _int16x8,
}


if __name__ == "__main__":
    build(sys.argv[1], Path(sys.argv[2]))
