"""Frozen graphs and TF1 checkpoints: graphs whose inputs, outputs and mode are not said, or only by names."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import tensorflow as tf

from windtunnel.converter.adapters import inference_mode as inference
from windtunnel.converter.adapters.dropouts import drop_dropouts
from windtunnel.converter.adapters.graph_nodes import SOURCE_OPS, Nodes, final_nodes, op_name, sources, tensor_name
from windtunnel.converter.adapters.original_model import Arrays, Original, frozen, port
from windtunnel.converter.domain.conversion import Source
from windtunnel.datacheck.findings import CONVERSION_INFERENCE_MODE, CONVERSION_RANDOM, Finding
from windtunnel.errors import InvalidInput

_SHOWN = 20


def load_frozen_graph(source: Source) -> Original:
    """Loads a GraphDef.

    Args:
        source: the file.

    Returns:
        The model.

    Raises:
        InvalidInput: it is not a GraphDef, or it does not say what its outputs are.
    """
    graph_def = tf.compat.v1.GraphDef()
    graph_def.ParseFromString(source.path.read_bytes())
    if not graph_def.node:
        raise InvalidInput(f"{source.name} holds no graph")
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(graph_def, name="")
    return _original(graph_def, graph, source, _no_value(source))


def load_checkpoint(source: Source) -> Original:
    """Loads a TF1 checkpoint: its graph in inference mode, with the trained values.

    Args:
        source: the folder.

    Returns:
        The model.

    Raises:
        InvalidInput: it is not one checkpoint, values are missing, or the graph cannot be cut to inference.
    """
    metas = sorted(source.path.glob("*.meta"))
    if len(metas) != 1:
        names = ", ".join(meta.name for meta in metas)
        raise InvalidInput(f"{source.name} has {len(metas)} .meta files: {names}", hint="submit one checkpoint")
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        try:
            saver = tf.compat.v1.train.import_meta_graph(str(metas[0]), clear_devices=True)
        except (UnicodeDecodeError, OSError) as error:
            # What is not the binary form is read as the text form.
            raise InvalidInput(
                f"{metas[0].name} is not the graph of a checkpoint (MetaGraphDef), or is damaged",
                hint="copy the checkpoint again, or save it with tf.train.Saver().save",
            ) from error
        if saver is None:
            raise InvalidInput(f"{source.name} has no saver in its graph", hint="save it with tf.train.Saver().save")
        saver.restore(session, str(metas[0].with_suffix("")))
        return _original(graph.as_graph_def(), graph, source, _restored(graph, session))


def _no_value(source: Source) -> Callable[[str], Any]:
    def value_of(variable: str) -> Any:
        raise InvalidInput(
            f"{source.name} has the variable {variable!r} and no value for it: the graph is not frozen",
            hint="freeze it, or give the checkpoint (its .meta, .index and .data files) or a SavedModel",
            code="not_frozen",
        )

    return value_of


def _restored(graph: Any, session: Any) -> Callable[[str], Any]:
    def value_of(variable: str) -> Any:
        operation = graph.get_operation_by_name(variable)
        tensor = operation.outputs[0]
        if operation.type == "VarHandleOp":
            with graph.as_default():
                tensor = tf.raw_ops.ReadVariableOp(resource=tensor, dtype=operation.get_attr("dtype"))
        return session.run(tensor)

    return value_of


def _original(graph_def: Any, graph: Any, source: Source, value_of: Callable[[str], Any]) -> Original:
    nodes = Nodes(graph_def)
    named = [tensor_name(name) for name in source.inputs]
    _require(nodes, [*named, *source.outputs], source)
    values = inference.modes(nodes, {op_name(name) for name in named})
    outputs = [tensor_name(name) for name in source.outputs] or [tensor_name(_only_final(nodes, named, values, source))]
    # The ends by which outputs are followed, whatever takes the place of the nodes that made them.
    ends = [_end(nodes, graph, name, place) for place, name in enumerate(outputs)]
    changes, inputs = _inference_mode(nodes, ends, named, values, source)
    placeholders = [_placeholder(nodes, graph, name) for name in inputs]
    inference.set_variables(nodes, nodes.ancestors(ends), value_of)
    return _function(
        nodes.cut(ends), placeholders, ends, [op_name(name) for name in outputs], _findings(source, changes)
    )


def _inference_mode(
    nodes: Nodes, ends: Sequence[str], named: Sequence[str], values: Mapping[str, bool | float], source: Source
) -> tuple[inference.Changes, list[str]]:
    """Sets the graph to inference; what was changed, and the tensors that are the inputs."""
    changes, fed = inference.Changes(), {op_name(name) for name in named}
    averages = inference.moving_averages(nodes)
    nodes.drop_waits()
    needed = nodes.ancestors(ends, fed)
    inference.set_modes(nodes, {name: value for name, value in values.items() if name in needed}, changes)
    inference.fold_switches(nodes, ends)
    inference.drop_frames(nodes, ends)
    inputs = list(named) or sorted(sources(nodes, ends))
    _require_inputs(nodes, inputs, ends, source)
    inference.use_averages(nodes, nodes.ancestors(ends, fed), averages, changes)
    drop_dropouts(nodes, nodes.ancestors(ends, fed), inputs, changes)
    return changes, inputs


def _end(nodes: Nodes, graph: Any, tensor: str, place: int) -> str:
    node = tf.compat.v1.NodeDef(name=f"windtunnel_output_{place}", op="Identity", input=[tensor])
    node.attr["T"].type = graph.get_tensor_by_name(tensor).dtype.base_dtype.as_datatype_enum
    return nodes.add(node)


def _findings(source: Source, changes: inference.Changes) -> tuple[Finding, ...]:
    found = []
    if words := changes.words():
        found.append(_mode_finding(source, changes, words))
    if changes.random:
        listed = ", ".join(changes.random[:_SHOWN])
        message = f"the outputs of {source.name} depend on random ops, whose values differ from run to run: {listed}"
        found.append(Finding(CONVERSION_RANDOM, message, "save the model for inference, without noise"))
    return tuple(found)


def _mode_finding(source: Source, changes: inference.Changes, words: str) -> Finding:
    return Finding(
        CONVERSION_INFERENCE_MODE,
        f"{source.name} is the graph of a training; it was converted in inference mode: {words}",
        "save the model for inference, if this is not what you deploy",
        {"modes": changes.modes, "batch_norms": changes.batch_norms, "dropouts": changes.dropouts},
    )


def _placeholder(nodes: Nodes, graph: Any, tensor: str) -> str:
    """Lets a tensor be fed: a placeholder takes its place. Returns the placeholder's name."""
    node = nodes[op_name(tensor)]
    if node.op == "Placeholder":
        return str(node.name)
    shown = graph.get_tensor_by_name(tensor)
    name = node.name if tensor.endswith(":0") else tensor.replace(":", "_")
    fed = tf.compat.v1.NodeDef(name=name, op="Placeholder")
    fed.attr["dtype"].type = shown.dtype.base_dtype.as_datatype_enum
    fed.attr["shape"].shape.CopyFrom(shown.shape.as_proto())
    if SOURCE_OPS.match(node.op) and len(fed.attr["shape"].shape.dim) > 1:
        # A queue or iterator gives as many at once as the training took.
        fed.attr["shape"].shape.dim[0].size = -1
    nodes.redirect(tensor, name)
    return nodes.add(fed)


def _function(
    graph_def: Any, inputs: Sequence[str], outputs: Sequence[str], names: Sequence[str], findings: tuple[Finding, ...]
) -> Original:
    wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph_def, name=""), [])
    graph = wrapped.graph
    function = wrapped.prune(
        [graph.as_graph_element(tensor_name(name)) for name in inputs],
        [graph.as_graph_element(tensor_name(name)) for name in outputs],
    )
    ports = tuple(port(op_name(tensor.name), tensor) for tensor in function.inputs)

    def run(arrays: Arrays) -> Arrays:
        results = function(*(tf.constant(arrays[one.name]) for one in ports))
        return {name: value.numpy() for name, value in zip(names, tf.nest.flatten(results), strict=True)}

    fixed = frozen(function, [one.name for one in ports], names)
    return Original(ports, tuple(names), fixed, run, keep=wrapped, findings=findings)


def _require(nodes: Nodes, tensors: Sequence[str], source: Source) -> None:
    for tensor in tensors:
        if op_name(tensor) not in nodes:
            near = difflib.get_close_matches(tensor, [node.name for node in nodes if "gradients" not in node.name], 1)
            guess = f"did you mean {near[0]!r}? " if near else ""
            raise InvalidInput(
                f"{source.name} has no tensor {tensor!r}",
                hint=f"{guess}--input and --output (`inputs` and `outputs` of the model) name tensors of the graph",
            )


def _require_inputs(nodes: Nodes, inputs: Sequence[str], outputs: Sequence[str], source: Source) -> None:
    """Everything that the outputs need must be fed.

    Raises:
        InvalidInput: something is not.
    """
    if not inputs:
        raise InvalidInput(
            f"{source.name} has no placeholder that its outputs depend on",
            hint="name the input tensors with --input (`inputs` of the model)",
        )
    left = sorted(sources(nodes, outputs, {op_name(name) for name in inputs}) - set(inputs))
    if left:
        raise InvalidInput(
            f"{source.name} also needs a value for {', '.join(map(repr, left))}, which is not an input",
            hint="name it with --input too, or save the graph for inference, where it is a constant",
            code="training_graph",
        )


def _only_final(nodes: Nodes, named: Sequence[str], modes: Collection[str], source: Source) -> str:
    """The only node that can be the output.

    Raises:
        InvalidInput: there are several; the message has the candidates.
    """
    inputs = {op_name(name) for name in named} | {node.name for node in nodes if SOURCE_OPS.match(node.op)}
    if not inputs - set(modes):
        raise InvalidInput(
            f"{source.name} has no placeholder", hint="name the input tensors with --input (`inputs` of the model)"
        )
    finals = final_nodes(nodes, inputs - set(modes))
    if len(finals) != 1:
        listed = ", ".join(finals[:_SHOWN]) or "none"
        more = f" and {len(finals) - _SHOWN} more" if len(finals) > _SHOWN else ""
        raise InvalidInput(
            f"{source.name} does not say what its output is: {len(finals)} nodes end the graph",
            hint=f"name the outputs with --output (`outputs` of the model); candidates: {listed}{more}",
            code="ambiguous_graph",
        )
    return finals[0]
