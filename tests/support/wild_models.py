"""Models that are not tame: huge, dynamic, with control flow, text, chance, state, and ops that the runtime lacks.

`write_with_tensorflow` needs TensorFlow, which takes seconds to load: run this module as a program (`make_all`) and
keep the files. The other functions write files op by op.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from support.graphs import GraphWriter
from windtunnel.tflite import read_model
from windtunnel.tflite.edit import Editor

# What `make_all` writes, and "recurrent_float16", of which the loops are handed their weights.
BY_TENSORFLOW = (
    "while_loop", "branch", "variable", "chance", "text_out", "text_in", "table", "dynamic_size", "dynamic_batch",
    "signatures", "scalars", "log_of_zero", "sorted", "fourier", "recurrent", "many_inputs",
)  # fmt: skip


@cache
def make_all() -> Path:
    """A folder with the models of `BY_TENSORFLOW`, written once per process by a process of its own."""
    folder = Path(mkdtemp(prefix="wild-models-"))
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONWARNINGS": "ignore"}
    env["PYTHONPATH"] = str(Path(__file__).parents[1])
    subprocess.run([sys.executable, "-m", "support.wild_models", str(folder)], check=True, env=env, capture_output=True)
    return folder


def samples(model: Path, path: Path, count: int = 6, seed: int = 5) -> Path:
    """Normal numbers, small integers and short words for every input of a model; dynamic dimensions are 9 long."""
    draw = np.random.default_rng(seed)
    arrays: dict[str, Any] = {}
    inputs = read_model(model).inputs
    for tensor in inputs:
        sizes = [size if size > 0 else 1 if place == 0 else 9 for place, size in enumerate(tensor.shape_signature)]
        shape = (count, *(sizes[1:] if sizes[:1] == [1] else sizes))
        if tensor.dtype == "string":
            values: NDArray[Any] = draw.choice(["a", "bb", "ccc", "word"], shape)
        elif tensor.dtype.startswith("float") or tensor.quantization is not None:
            values = draw.normal(size=shape).astype(np.float32)
        else:
            values = draw.integers(0, 4, shape).astype(tensor.dtype)
        arrays["x" if len(inputs) == 1 else f"x/{tensor.name}"] = values
    np.savez(path, **arrays)
    return path


def negated(model: Path, path: Path, op: int | None = None, graph: int = 0) -> tuple[Path, str]:
    """The model with the weights of one layer negated (None: the last dense one), and the layer's name."""
    editor = Editor(model)
    inside = editor.inside(graph)
    facts = inside.facts
    at = op
    if at is None:
        at = max(
            one.index for one in facts.ops if one.name == "FULLY_CONNECTED" and facts.tensors[one.inputs[1]].is_constant
        )
    weights = facts.tensors[facts.ops[at].inputs[1]]
    inside.set_constant(weights.index, -facts.constant(weights))
    return editor.write(path), facts.tensors[facts.ops[at].outputs[0]].name


def deep(path: Path, blocks: int = 100, width: int = 16) -> Path:
    """A residual net of 5 ops a block: dense, dense, tanh, mul and add."""
    draw = np.random.default_rng(0)
    writer = GraphWriter()
    source = at = writer.tensor("input", (1, width))
    half = writer.tensor("half", (1,), data=np.array([0.5]))
    for block in range(blocks):
        inner = at
        for part in ("a", "b"):
            weights = draw.normal(0, 0.9 / width**0.5, (width, width))
            inner = writer.dense(f"block{block}/{part}", inner, weights, np.zeros(width))
        bent, scaled = (writer.tensor(f"block{block}/{name}", (1, width)) for name in ("tanh", "mul"))
        writer.op("TANH", [inner], [bent])
        writer.op("MUL", [bent, half], [scaled], schema.MulOptionsT())
        summed = writer.tensor(f"block{block}/add", (1, width))
        writer.op("ADD", [at, scaled], [summed], schema.AddOptionsT())
        at = summed
    return writer.write(path, [source], [at])


def heavy(path: Path, layers: int = 5, width: int = 3200) -> Path:
    """Dense layers of width * width floats: 5 of 3200 are 205 MB."""
    draw = np.random.default_rng(0)
    writer = GraphWriter()
    source = at = writer.tensor("input", (1, width))
    for layer in range(layers):
        weights = draw.standard_normal((width, width), dtype=np.float32) / np.float32(width**0.5)
        at = writer.dense(f"dense{layer}", at, weights, np.zeros(width), activation="RELU")
    return writer.write(path, [source], [at])


def lacking(path: Path, op: str = "Whirl", version: int = 1, *, side: bool = True) -> Path:
    """A model with an op that no runtime has; with `side` one output does not depend on it."""
    draw = np.random.default_rng(0)
    writer = GraphWriter()
    source = writer.tensor("input", (1, 8))
    hidden = source
    if side:
        hidden = writer.dense("hidden", source, draw.normal(size=(8, 8)), np.zeros(8), activation="RELU")
    odd = writer.tensor("odd", (1, 8))
    writer.op(op, [hidden], [odd], version=version)
    after = writer.dense("after", odd, draw.normal(size=(4, 8)), np.zeros(4))
    outputs = [after]
    if side:
        outputs.append(writer.dense("beside", hidden, draw.normal(size=(4, 8)), np.zeros(4)))
    return writer.write(path, [source], outputs)


def lacking_inside(model: Path, path: Path, graph: int) -> Path:
    """The model with the first op of another graph made one that no runtime has."""
    found = schema.ModelT.InitFromPackedBuf(model.read_bytes())
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = "Whirl", 1
    found.operatorCodes.append(code)
    op = found.subgraphs[graph].operators[0]
    op.opcodeIndex, op.builtinOptions, op.builtinOptionsType = len(found.operatorCodes) - 1, None, 0
    builder = flatbuffers.Builder(1024)
    builder.Finish(found.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    return path


def alike_names(path: Path, name: str, *, signature: bool = False) -> Path:
    """Three dense layers, all tensors of one name ("" for none)."""
    draw = np.random.default_rng(0)
    writer = GraphWriter()
    source = at = writer.tensor(name, (1, 8))
    for _ in range(3):
        weights = writer.tensor(name, (8, 8), data=draw.normal(0, 0.5, (8, 8)))
        # The bias is optional: it is left out.
        output = writer.tensor(name, (1, 8))
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = schema.ActivationFunctionType.RELU
        writer.op("FULLY_CONNECTED", [at, weights, -1], [output], options)
        at = output
    return writer.write(path, [source], [at], signature=signature)


def two_ways(path: Path, *, swapped: bool = False) -> Path:
    """Inputs a and b, outputs sum and difference; `swapped` lists both the other way round."""
    draw = np.random.default_rng(0)
    first, second = draw.normal(0, 0.4, (8, 8)), draw.normal(0, 0.4, (8, 8))
    writer = GraphWriter()
    names = ("b", "a") if swapped else ("a", "b")
    sources = {name: writer.tensor(name, (1, 8)) for name in names}
    a = writer.dense("left", sources["a"], first, np.zeros(8), activation="RELU")
    b = writer.dense("right", sources["b"], second, np.zeros(8), activation="RELU")
    outputs = {name: writer.tensor(name, (1, 8)) for name in ("sum", "difference")}
    writer.op("ADD", [a, b], [outputs["sum"]], schema.AddOptionsT())
    writer.op("SUB", [a, b], [outputs["difference"]], schema.SubOptionsT())
    order = ("difference", "sum") if swapped else ("sum", "difference")
    return writer.write(path, [sources[name] for name in names], [outputs[name] for name in order], signature=False)


def squared(path: Path, kind: str, *, sign: float = 1.0) -> Path:
    """(1, 4) -> dense, ReLU, squared difference with 0.5: of 16-bit integers, which no kernel takes, or float32.

    `sign` is that of the dense layer's weights.
    """
    writer, scale = GraphWriter(), 2.0**-12
    scales = [] if kind == "float32" else [scale]
    names = ("x", "dense", "rectified", "squared")
    source, dense, rectified, end = (writer.tensor(name, (1, 4), kind, scales=scales) for name in names)
    weights = sign * (np.eye(4) + 0.25)
    real = kind == "float32"
    stored = weights if real else np.rint(weights * 100)
    matrix = writer.tensor("weights", (4, 4), kind if real else "int8", data=stored, scales=[] if real else [0.01])
    half = writer.tensor("half", (1, 4), kind, data=np.full((1, 4), 0.5 if real else 0.5 / scale), scales=scales)
    writer.op("FULLY_CONNECTED", [source, matrix], [dense], schema.FullyConnectedOptionsT(), 1 if real else 7)
    writer.op("RELU", [dense], [rectified])
    writer.op("SQUARED_DIFFERENCE", [rectified, half], [end], schema.SquaredDifferenceOptionsT())
    return writer.write(path, [source], [end])


def flat_softmax(path: Path, *, quantized: bool, classes: int = 1000) -> Path:
    """A softmax over nearly equal logits; its int8 form ends the process in the reference kernels."""
    weights = np.random.default_rng(1).normal(0, 0.01, (classes, 8))
    writer = GraphWriter()
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    if not quantized:
        source = writer.tensor("input", (1, 8))
        at = writer.dense("logits", source, weights, np.zeros(classes))
        output = writer.tensor("probabilities", (1, classes))
        writer.op("SOFTMAX", [at], [output], options)
        return writer.write(path, [source], [output])
    source = writer.tensor("input", (1, 8), "int8", scales=[0.03])
    table = writer.tensor("w", (classes, 8), "int8", data=np.rint(weights / 0.0004).clip(-127, 127), scales=[0.0004])
    bias = writer.tensor("b", (classes,), "int32", data=np.zeros(classes), scales=[0.000012])
    logits = writer.tensor("logits", (1, classes), "int8", scales=[0.08])
    output = writer.tensor("probabilities", (1, classes), "int8", scales=[1 / 256], zeros=[-128])
    writer.op("FULLY_CONNECTED", [source, table, bias], [logits], schema.FullyConnectedOptionsT(), version=4)
    writer.op("SOFTMAX", [logits], [output], options, version=2)
    return writer.write(path, [source], [output])


class _Writer:
    """Writes models with TensorFlow, all on one small convolutional stem."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self._tf, self._folder = tf, folder
        draw = np.random.default_rng(0)

        def constant(*shape: int) -> Any:
            size = 1 / np.sqrt(np.prod(shape[:-1]))
            return tf.constant(draw.normal(0, size, shape).astype(np.float32))

        self.kernel, self.bias = constant(3, 3, 1, 8), constant(8)
        self.first, self.second, self.third, self.last = (constant(8, width) for width in (8, 8, 8, 5))
        self.image = tf.TensorSpec([1, 8, 8, 1], tf.float32, name="x")

    def stem(self, x: Any) -> Any:
        """(1, 8): a convolution and the mean over the image."""
        tf = self._tf
        return tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(x, self.kernel, 1, "SAME") + self.bias), [1, 2])

    def head(self, x: Any) -> Any:
        """(1, 5): two dense layers."""
        return self._tf.nn.relu(x @ self.third) @ self.last

    def write(self, name: str, function: Callable[..., Any], *specs: Any, track: Any = None, **settings: Any) -> None:
        """Converts a function with these inputs (none: the image)."""
        tf = self._tf
        concrete = tf.function(function, input_signature=list(specs) or [self.image]).get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], track)
        for field, value in settings.items():
            setattr(converter, field, value)
        (self._folder / f"{name}.tflite").write_bytes(converter.convert())

    def control_flow(self) -> None:
        tf = self._tf

        def loop(x: Any) -> Any:
            steps = tf.cast(tf.reduce_sum(tf.abs(x)) * 0, tf.int32) + 3
            start = [tf.constant(0), self.stem(x)]
            ends = tf.while_loop(
                lambda step, _: step < steps, lambda step, h: (step + 1, tf.tanh(h @ self.first) + h * 0.5), start
            )
            return self.head(ends[1])

        def branch(x: Any) -> Any:
            h = self.stem(x)
            kernels = self.first, self.second
            sides = [lambda kernel=kernel: tf.nn.relu(h @ kernel) for kernel in kernels]
            return self.head(tf.cond(tf.reduce_mean(x) > 0, *sides))

        self.write("while_loop", loop)
        self.write("branch", branch)

    def state_and_chance(self) -> None:
        tf = self._tf
        module = tf.Module()
        module.memory = tf.Variable(tf.zeros([1, 8]))

        def remember(x: Any) -> Any:
            module.memory.assign(module.memory * 0.9 + self.stem(x))
            return self.head(module.memory.read_value())

        module.run = tf.function(remember, input_signature=[self.image])
        converter = tf.lite.TFLiteConverter.from_concrete_functions([module.run.get_concrete_function()], module)
        converter.experimental_enable_resource_variables = True
        (self._folder / "variable.tflite").write_bytes(converter.convert())
        self.write("chance", lambda x: self.head(tf.nn.relu(self.stem(x) @ self.first) + tf.random.normal([1, 8])))

    def text(self) -> None:
        tf = self._tf
        labels = tf.constant(["a", "bb", "ccc", "word", "e"])

        def named(x: Any) -> Any:
            y = self.head(self.stem(x))
            return {"scores": y, "label": tf.gather(labels, tf.argmax(y, 1))}

        def picked(x: Any, names: Any) -> Any:
            y = self.head(self.stem(x))
            return {"scores": y, "picked": tf.gather(names, tf.minimum(tf.argmax(y, 1), 1))}

        self.write("text_out", named)
        self.write("text_in", picked, self.image, tf.TensorSpec([2], tf.string, name="names"))
        module = tf.Module()
        pairs = tf.lookup.KeyValueTensorInitializer(labels, tf.range(5, dtype=tf.int64))
        module.table = tf.lookup.StaticHashTable(pairs, -1)

        def looked_up(x: Any, word: Any) -> Any:
            place = tf.cast(module.table.lookup(word), tf.int32)
            return self.head(self.stem(x) + tf.one_hot(place, 8))

        self.write("table", looked_up, self.image, tf.TensorSpec([1], tf.string, name="word"), track=module)

    def dynamic(self) -> None:
        tf = self._tf

        def resized(x: Any) -> Any:
            h = tf.nn.relu(tf.nn.conv2d(x, self.kernel, 1, "SAME") + self.bias)
            h = tf.image.resize(h, [tf.shape(h)[1] // 2, tf.shape(h)[2] // 2])
            return self.head(tf.reduce_mean(h, [1, 2]))

        def batched(x: Any) -> Any:
            h = tf.nn.relu(tf.nn.conv2d(x, self.kernel, 1, "SAME") + self.bias)
            return self.head(tf.reduce_mean(tf.reshape(h, [tf.shape(h)[0], -1, 8]), 1))

        self.write("dynamic_size", resized, tf.TensorSpec([None, None, None, 1], tf.float32, name="x"))
        self.write("dynamic_batch", batched, tf.TensorSpec([None, 8, 8, 1], tf.float32, name="x"))

    def signatures(self) -> None:
        tf = self._tf
        module = tf.Module()
        module.encode = tf.function(
            lambda x: {"code": tf.nn.relu(self.stem(x) @ self.first)}, input_signature=[self.image]
        )
        code = tf.TensorSpec([1, 8], tf.float32, name="z")
        module.decode = tf.function(lambda z: {"image": self.head(z)}, input_signature=[code])
        saved = str(self._folder / "saved")
        tf.saved_model.save(module, saved, signatures={"encode": module.encode, "decode": module.decode})
        converter = tf.lite.TFLiteConverter.from_saved_model(saved, signature_keys=["encode", "decode"])
        (self._folder / "signatures.tflite").write_bytes(converter.convert())

    def shapes(self) -> None:
        tf = self._tf

        def scalars(x: Any) -> Any:
            y = self.head(self.stem(x))
            return {"scores": y, "loss": tf.reduce_max(y), "count": tf.reduce_sum(tf.cast(y > 0, tf.int32))}

        def logs(x: Any) -> Any:
            h = tf.nn.relu(self.stem(x) @ self.first)
            return {"log": tf.math.log(h - 0.1), "scores": self.head(h)}

        def ordered(x: Any) -> Any:
            y = self.head(self.stem(x))
            values, places = tf.math.top_k(y, 3)
            boxes = tf.reshape(tf.concat([y, y + 1, y + 2, y + 3], 1), [5, 4])
            return {
                "values": values,
                "places": places,
                "where": tf.where(y[0] > 0),
                "none": tf.boolean_mask(y[0], y[0] > 100.0),
                "unique": tf.unique(tf.cast(y[0] * 2, tf.int32))[0],
                "boxes": tf.image.non_max_suppression(boxes, y[0], 3),
            }

        def fourier(x: Any) -> Any:
            return self.head(tf.reshape(tf.abs(tf.signal.rfft2d(x[..., 0], [8, 8])), [5, 8]))

        def many(a: Any, b: Any, gain: Any, which: Any) -> Any:
            h = tf.nn.relu(a @ self.first) * gain + b @ self.second
            return {"one": h @ self.last, "two": tf.nn.relu(h), "picked": tf.gather(h, which, axis=1)}

        self.write("scalars", scalars)
        self.write("log_of_zero", logs)
        self.write("sorted", ordered)
        self.write("fourier", fourier)
        row = [tf.TensorSpec([1, 8], tf.float32, name=name) for name in "ab"]
        gain, which = tf.TensorSpec([], tf.float32, name="gain"), tf.TensorSpec([1], tf.int32, name="which")
        self.write("many_inputs", many, *row, gain, which)

    def recurrent(self) -> None:
        import keras
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        tf = self._tf
        keras.utils.set_random_seed(0)
        source = keras.Input((6, 4), batch_size=1)
        at = keras.layers.Dense(5)(keras.layers.LSTM(8, return_sequences=True)(source))
        model = keras.Model(source, keras.layers.Dense(3)(keras.layers.GRU(6)(at)))
        function = tf.function(model, input_signature=[tf.TensorSpec([1, 6, 4], tf.float32, name="x")])
        frozen = convert_variables_to_constants_v2(function.get_concrete_function())
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
        (self._folder / "recurrent.tflite").write_bytes(converter.convert())
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
        (self._folder / "recurrent_float16.tflite").write_bytes(converter.convert())


def _write_all(folder: Path) -> None:
    writer = _Writer(folder)
    writer.control_flow()
    writer.state_and_chance()
    writer.text()
    writer.dynamic()
    writer.signatures()
    writer.shapes()
    writer.recurrent()


if __name__ == "__main__":
    _write_all(Path(sys.argv[1]))
