"""Loading a trained model with TensorFlow. Runs in a child process only.

Every format becomes the same two things: a frozen concrete function to convert, and a way to run the original.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from windtunnel.converter.domain import Format, Port, Source
from windtunnel.errors import InvalidInput

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Original:
    """A loaded model: `function` is what is converted, `run` takes and gives arrays by port name."""

    inputs: tuple[Port, ...]
    outputs: tuple[str, ...]
    function: Any
    run: Callable[[Arrays], Arrays]
    trackable: Any = None


def load(source: Source) -> Original:
    """Loads the model. Raises InvalidInput saying what TensorFlow could not read."""
    loaders = {
        Format.SAVED_MODEL: _saved_model,
        Format.KERAS: _keras,
        Format.HDF5: _keras,
        Format.FROZEN_GRAPH: _frozen_graph,
        Format.CHECKPOINT: _checkpoint,
    }
    try:
        return loaders[source.format](source)
    except InvalidInput:
        raise
    except Exception as error:
        raise InvalidInput(
            f"{source.path.name} cannot be loaded as {source.format.value}: {first_lines(error)}",
            hint="is the file complete, and of this format?",
        ) from error


def first_lines(error: BaseException, characters: int = 400) -> str:
    """What an error of TensorFlow says, without its pages of context."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:characters]}"


def _saved_model(source: Source) -> Original:
    if not (source.path / "saved_model.pb").is_file():
        raise InvalidInput(f"{source.path.name} has no saved_model.pb")
    loaded = tf.saved_model.load(str(source.path))
    signatures = dict(loaded.signatures)
    if not signatures:
        raise InvalidInput(
            f"{source.path.name} has no signature to convert", hint="export it with model.export or signatures=..."
        )
    key = "serving_default" if "serving_default" in signatures else sorted(signatures)[0]
    if key != "serving_default" and len(signatures) > 1:
        raise InvalidInput(
            f"{source.path.name} has the signatures {', '.join(sorted(signatures))} and no serving_default",
            hint="export one signature",
        )
    function = signatures[key]
    _, keywords = function.structured_input_signature
    inputs = tuple(_port(name, spec) for name, spec in keywords.items())

    def run(arrays: Arrays) -> Arrays:
        given = {port.name: tf.constant(arrays[port.name]) for port in inputs}
        return {name: value.numpy() for name, value in function(**given).items()}

    return Original(inputs, tuple(function.structured_outputs), function, run, trackable=loaded)


def _port(name: str, spec: Any) -> Port:
    if spec.shape.rank is None:
        raise InvalidInput(f"input {name!r} has no known rank", hint="export the model with a fixed input shape")
    return Port(name, tuple(-1 if size is None else int(size) for size in spec.shape), spec.dtype.name)


_KERAS_SUFFIX = {Format.KERAS: ".keras", Format.HDF5: ".h5"}


def _keras(source: Source) -> Original:
    import keras

    # Keras tells formats by the file's suffix alone, which an artifact does not have.
    named = Path.cwd() / f"model{_KERAS_SUFFIX[source.format]}"
    named.symlink_to(source.path)
    try:
        model = keras.saving.load_model(str(named), compile=False, safe_mode=not source.allow_code)
    finally:
        named.unlink()
    if not getattr(model, "inputs", None):
        raise InvalidInput(f"{source.path.name} has no fixed input shape", hint="build the model before saving it")
    names = [str(tensor.name).split(":")[0] for tensor in model.inputs]
    ports = tuple(
        Port(name, tuple(-1 if size is None else int(size) for size in tensor.shape), str(tensor.dtype))
        for name, tensor in zip(names, model.inputs, strict=True)
    )
    output_names = tuple(_output_names(model))

    def call(*tensors: Any) -> dict[str, Any]:
        flat = keras.tree.flatten(model(list(tensors) if len(tensors) > 1 else tensors[0], training=False))
        return dict(zip(output_names, flat, strict=True))

    specs = [tf.TensorSpec((1, *_inner(port)), port.dtype, name=port.name) for port in ports]
    function = tf.function(call).get_concrete_function(*specs)
    batched = tf.function(call, reduce_retracing=True)

    def run(arrays: Arrays) -> Arrays:
        return {n: v.numpy() for n, v in batched(*(tf.constant(arrays[port.name]) for port in ports)).items()}

    return Original(ports, output_names, function, run, trackable=model)


def _inner(port: Port) -> tuple[int | None, ...]:
    return tuple(None if size < 0 else size for size in port.shape[1:])


def _output_names(model: Any) -> list[str]:
    names = list(getattr(model, "output_names", None) or [])
    return (
        names
        if len(names) == len(set(names)) == len(model.outputs)
        else [f"output_{i}" for i in range(len(model.outputs))]
    )


def _frozen_graph(source: Source) -> Original:
    graph_def = tf.compat.v1.GraphDef()
    graph_def.ParseFromString(source.path.read_bytes())
    if not graph_def.node:
        raise InvalidInput(f"{source.path.name} holds no graph")
    return _from_graph_def(graph_def, source)


def _checkpoint(source: Source) -> Original:
    metas = sorted(source.path.glob("*.meta"))
    if len(metas) != 1:
        names = ", ".join(meta.name for meta in metas)
        raise InvalidInput(f"the checkpoint has {len(metas)} .meta files: {names}", hint="submit one checkpoint")
    prefix = metas[0].with_suffix("")
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        saver = tf.compat.v1.train.import_meta_graph(str(metas[0]), clear_devices=True)
        saver.restore(session, str(prefix))
        graph_def = graph.as_graph_def()
        outputs = [_op_name(name) for name in source.outputs] or [_only_final(graph_def, source)]
        frozen = tf.compat.v1.graph_util.convert_variables_to_constants(session, graph_def, outputs)
    return _from_graph_def(frozen, replace(source, outputs=tuple(outputs)))


def _from_graph_def(graph_def: Any, source: Source) -> Original:
    inputs = [_tensor_name(name) for name in source.inputs] or _placeholders(graph_def, source)
    outputs = [_tensor_name(name) for name in source.outputs] or [_tensor_name(_only_final(graph_def, source))]
    _require(graph_def, [*inputs, *outputs], source)
    wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph_def, name=""), [])
    graph = wrapped.graph
    function = wrapped.prune(
        [graph.as_graph_element(name) for name in inputs], [graph.as_graph_element(name) for name in outputs]
    )
    ports = tuple(_port(_op_name(tensor.name), tensor) for tensor in function.inputs)
    output_names = tuple(_op_name(name) for name in outputs)

    def run(arrays: Arrays) -> Arrays:
        results = function(*(tf.constant(arrays[port.name]) for port in ports))
        return {name: value.numpy() for name, value in zip(output_names, tf.nest.flatten(results), strict=True)}

    return Original(ports, output_names, function, run, trackable=wrapped)


def _op_name(name: str) -> str:
    return name.split(":")[0]


def _tensor_name(name: str) -> str:
    return name if ":" in name else f"{name}:0"


def _require(graph_def: Any, tensors: Sequence[str], source: Source) -> None:
    known = {node.name for node in graph_def.node}
    for tensor in tensors:
        if _op_name(tensor) not in known:
            raise InvalidInput(f"{source.path.name} has no tensor {tensor!r}", hint="see `inputs` and `outputs`")


def _placeholders(graph_def: Any, source: Source) -> list[str]:
    found = [f"{node.name}:0" for node in graph_def.node if node.op == "Placeholder"]
    if not found:
        raise InvalidInput(f"{source.path.name} has no placeholder", hint="name the input tensors in `inputs`")
    return found


# What training leaves in a graph: their results are nobody's output.
_NO_OUTPUT = re.compile(
    r"(Const|NoOp|Assert|Placeholder.*|Save.*|Restore.*|Merge.*Summary|.*Summary(V2)?|Assign.*|Apply.*|ResourceApply.*"
    r"|VarIsInitializedOp|ReadVariableOp|VarHandleOp|VariableV2|Variable|IsVariableInitialized|ShardedFilename|StringJoin)\Z"
)


def _only_final(graph_def: Any, source: Source) -> str:
    """The only node that depends on the input and that nothing consumes.

    Raises InvalidInput with the candidates where there are several.
    """
    consumers: dict[str, list[Any]] = {node.name: [] for node in graph_def.node}
    for node in graph_def.node:
        for name in node.input:
            consumers.setdefault(_op_name(name.lstrip("^")), []).append(node)
    # A checkpoint's graph also holds what saves, restores and trains it: none of that hangs on the input alone.
    reached = _reached(_inputs_of(graph_def, source), consumers)
    finals = [
        n.name for n in graph_def.node if n.name in reached and not consumers[n.name] and not _NO_OUTPUT.match(n.op)
    ]
    if len(finals) != 1:
        raise InvalidInput(
            f"{source.path.name} does not say what its output is: {len(finals)} nodes end the graph",
            hint=f"name the outputs in `outputs`; candidates: {', '.join(finals[:20]) or 'none'}",
            code="ambiguous_graph",
        )
    return str(finals[0])


def _inputs_of(graph_def: Any, source: Source) -> list[str]:
    return [_op_name(name) for name in source.inputs] or [_op_name(name) for name in _placeholders(graph_def, source)]


def _reached(start: Sequence[str], consumers: Mapping[str, Sequence[Any]]) -> set[str]:
    """Names of all nodes that depend on `start`."""
    reached = set(start)
    pending = list(start)
    while pending:
        for node in consumers.get(pending.pop(), ()):
            if node.name not in reached:
                reached.add(node.name)
                pending.append(node.name)
    return reached


def freeze(function: Any) -> Any:
    """The function with its variables as constants, so that batch norm folds and nothing is left to initialise."""
    return convert_variables_to_constants_v2(function)


def as_dtype(array: NDArray[Any], port: Port) -> NDArray[Any]:
    """A sample in the dtype of the port."""
    return np.ascontiguousarray(array, dtype=np.dtype(port.dtype))
