"""Models whose ops each run on their own, and prefixes of models."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from windtunnel.tflite import ModelFacts, layer_tensors, read_model
from windtunnel.tflite.dtypes import NOT_VALUES
from windtunnel.tflite.edit import Editor
from windtunnel.tflite.op_kinds import RANDOM

# Their result is another each time, whatever they are fed.


@dataclass(frozen=True, slots=True)
class Derived:
    """A model made from another. `inputs` and `outputs` are pairs (tensor index here, tensor index there)."""

    path: Path
    inputs: tuple[tuple[int, int], ...]
    outputs: tuple[tuple[int, int], ...]


def whole(facts: ModelFacts) -> Derived:
    """The model itself, with every layer as an output to be read.

    Args:
        facts: of the model.

    Returns:
        Maps tensor indices to themselves.
    """
    inputs = tuple((index, index) for index in facts.main.input_indices)
    return Derived(facts.path, inputs, tuple((tensor.index, tensor.index) for _, tensor in layer_tensors(facts)))


def not_isolable(facts: ModelFacts) -> Mapping[int, str]:
    """Ops that cannot run in isolation.

    Args:
        facts: of the model.

    Returns:
        Why, by op index.
    """
    found = {}
    for op in facts.ops:
        used = [facts.tensors[index] for index in (*op.inputs, *op.outputs) if index >= 0]
        if any(tensor.dtype in NOT_VALUES for tensor in used):
            found[op.index] = "it works on handles or strings, which hold no numbers"
        elif any(tensor.is_variable for tensor in used):
            found[op.index] = "it keeps a state from one inference to the next"
        elif op.name in RANDOM:
            found[op.index] = "its result is random"
    return found


def isolate(model: Path, out: Path, ops: Collection[int]) -> Derived:
    """Writes a model of some ops, each fed where it reads and read where it writes. Constants stay.

    Args:
        model: the .tflite file.
        out: the new file.
        ops: their indices.

    Returns:
        The model, with its inputs and outputs by tensor index of the original.

    Raises:
        InvalidInput: as from `Editor`.
        Unsupported: as from `Editor`.
    """
    editor = Editor(model)
    facts = editor.facts
    layers = [(op, tensor) for op, tensor in layer_tensors(facts)]
    twins = editor.free([tensor.index for _, tensor in layers])
    read = {index for op in ops for index in facts.ops[op].inputs}
    inputs = [index for index in (*facts.main.input_indices, *twins) if index in read]
    outputs = [tensor.index for op, tensor in layers if op in ops]
    editor.cut([twins.get(index, index) for index in inputs], outputs)
    return _derived(editor.write(out), inputs, outputs)


def prefix(model: Path, out: Path, last: int, *, also_before: bool = False) -> Derived:
    """Writes the model up to an op. What later ops read of it becomes an output, and so does what the last op wrote.

    Args:
        model: the .tflite file.
        out: the new file.
        last: index of the last op.
        also_before: also make an output of what this op and later ones read from before it: the op is then between two
            cuts.

    Returns:
        The model, with its inputs and outputs by tensor index of the original.

    Raises:
        InvalidInput: as from `Editor`.
        Unsupported: as from `Editor`.
    """
    editor = Editor(model)
    live = set(live_after(editor.facts, last))
    if also_before and last > 0:
        live.update(live_after(editor.facts, last - 1))
    inputs, outputs = list(editor.facts.main.input_indices), sorted(live)
    needed = _ancestors(editor.facts, outputs)
    inputs = [index for index in inputs if index in needed]
    editor.cut(inputs, outputs)
    return _derived(editor.write(out), inputs, outputs)


def live_after(facts: ModelFacts, last: int) -> list[int]:
    """Tensors that are still needed after an op: by later ops, as outputs, or as the op's result.

    Args:
        facts: of the model.
        last: index of the op.

    Returns:
        Tensor indices, in execution order.
    """
    later = {index for op in facts.ops[last + 1 :] for index in op.inputs} | set(facts.main.output_indices)
    later.update(facts.ops[last].outputs)
    return [tensor.index for op, tensor in layer_tensors(facts) if op <= last and tensor.index in later]


def _ancestors(facts: ModelFacts, outputs: Collection[int]) -> set[int]:
    needed = set(outputs)
    for op in reversed(facts.ops):
        if needed.intersection(op.outputs):
            needed.update(op.inputs)
    return needed


def _derived(path: Path, inputs: Collection[int], outputs: Collection[int]) -> Derived:
    """The editor writes inputs and outputs in the order in which they were named."""
    facts = read_model(path)
    return Derived(
        path,
        tuple(zip(facts.main.input_indices, inputs, strict=True)),
        tuple(zip(facts.main.output_indices, outputs, strict=True)),
    )
