"""Faults of quantization that are made while quantizing: calibration, and one scale for all channels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from support import fault_parameters
from support.architectures import Architecture
from support.fault_files import File
from support.fault_hits import ACCUMULATED, CLIPPED, PARAMETERS, PER_TENSOR, WIDE
from support.fault_runs import (
    Ranges,
    Sample,
    difference,
    known_outputs,
    known_ranges,
    outputs,
    quantize,
    ranges,
    samples_of,
    tensor_wise,
)
from support.fault_weights import OUT_AXIS, bias_position, weighted

_FUSED_RELUS = (1, 3)
# nRMSE of the output above which nobody would call a model healthy.
_HARM = 0.1


@dataclass(frozen=True)
class Made:
    """A reference, a candidate with the fault, the same candidate without it, and what is accepted as the cause."""

    reference: Path
    candidate: Path
    clean: Path
    codes: tuple[str, ...]
    layers: frozenset[str]
    what: str


_WHOLE: Mapping[str, tuple[str, float]] = {
    "samples_x0.25": (CLIPPED, 0.25),
    "samples_x0.1": (CLIPPED, 0.1),
    "samples_x4": (WIDE, 4.0),
    "samples_x10": (WIDE, 10.0),
    "outlier": (WIDE, 1.0),
}
_ONE: Mapping[str, tuple[str, float]] = {"one_clipped": (CLIPPED, 0.25), "one_wide": (WIDE, 8.0)}
# Faults of the whole model: every tensor is quantized again.
WHOLE = (*_WHOLE, "by_tensorflow")
_PER_TENSOR = ("per_tensor_one", "per_tensor_dead", "per_tensor_all")


def kinds(forms: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """(form, kind) of what there is."""
    for form in ("int8", "int16x8"):
        yield from ((form, kind) for kind in (*_WHOLE, *_ONE))
    yield from ((form, kind) for kind in _PER_TENSOR for form in ("dynamic_range", "int8"))
    yield "int16x8", "per_tensor_one"
    yield "dynamic_range", "int4"
    yield from ((form, "by_tensorflow") for form in ("tf_int8_clipped", "tf_int8_wide") if form in forms)


def make(kind: str, form: str, source: Architecture, folder: Path, draw: np.random.Generator) -> Made | None:
    """Writes the case into `folder`; None where the architecture has nothing of the kind."""
    if kind == "by_tensorflow":
        code = CLIPPED if form.endswith("clipped") else WIDE
        clean = source.forms["tf_int8"]
        return Made(source.float32, source.forms[form], clean, (code,), frozenset(), f"calibrated {form[8:]}")
    if kind == "int4":
        return _int4(source, folder)
    if kind in _PER_TENSOR:
        return _per_tensor(kind, form, source, folder, draw)
    if kind in _ONE:
        return _one_range(kind, form, source, folder, draw)
    code, factor = _WHOLE[kind]
    rows = _scaled(samples_of(source.calibration), factor)
    if kind == "outlier":
        rows.append(_scaled([rows[int(draw.integers(len(rows)))]], 20.0)[0])
    target = quantize(source.float32, folder / "candidate.tflite", form, ranges(source.float32, rows))
    return Made(source.float32, target, source.forms[form], (code,), frozenset(), f"calibrated on {kind}")


def _int4(source: Architecture, folder: Path) -> Made | None:
    """Weights of 4 bits, where they do harm: every layer's rounding adds to it. None where they do not."""
    target = quantize(source.float32, folder / "candidate.tflite", "int4", None)
    harm = difference(known_outputs(source.float32, source.samples), outputs(target, source.samples))
    if harm < _HARM:
        return None
    clean = source.forms["dynamic_range"]
    return Made(source.float32, target, clean, (ACCUMULATED,), frozenset(), "weights of 4 bits")


def _scaled(rows: list[Sample], factor: float) -> list[Sample]:
    return [{name: values * np.float32(factor) for name, values in row.items()} for row in rows]


def _one_range(kind: str, form: str, source: Architecture, folder: Path, draw: np.random.Generator) -> Made | None:
    """The range of one activation (with those bound to it) too small or too large."""
    code, factor = _ONE[kind]
    clean = File(source.forms[form])
    tensors = fault_parameters.activations(clean)
    if not tensors:
        return None
    group = clean.bound(tensors[draw.integers(len(tensors))])
    names = {clean.name(one) for one in group}
    found: Ranges = {
        name: {key: value * np.float32(factor) for key, value in one.items()} if name in names else one
        for name, one in known_ranges(source.float32, source.calibration).items()
    }
    target = quantize(source.float32, folder / "candidate.tflite", form, found)
    made = File(target)
    changed = {
        number
        for number in range(min(len(made.graph.tensors), len(clean.graph.tensors)))
        if made.name(number) in names and not np.allclose(made.scales(number), clean.scales(number), rtol=1e-3)
    }
    if not changed:
        return None
    layers = {made.name(one) for index in changed for other in made.bound(index) for one in made.restated(other)}
    # A single tensor's range is its scale: both names are right.
    codes = (code, PARAMETERS)
    return Made(source.float32, target, source.forms[form], codes, frozenset(layers), f"range x{factor:g} of {names}")


def _per_tensor(kind: str, form: str, source: Architecture, folder: Path, draw: np.random.Generator) -> Made | None:
    """One scale for the weights of a layer whose channels differ widely in the reference already."""
    file = File(source.float32)
    op = (_amplify_dead if kind == "per_tensor_dead" else _spread)(file, draw)
    if op is None:
        return None
    name, operation = file.name(int(op.outputs[0])), file.kind(op)
    reference = file.write(folder / "reference.tflite")
    found = ranges(reference, samples_of(source.calibration))
    pattern = ".*" if kind == "per_tensor_all" else re.escape(name)
    rules = tensor_wise(pattern, operation, form)
    clean = quantize(reference, folder / "clean.tflite", form, found)
    target = quantize(reference, folder / "candidate.tflite", form, found, rules)
    made = File(target)
    hit = [
        other for other in weighted(made)
        if len(made.scales(made.constant_of(other, 1))) == 1 and name in _names(made, other)
    ]  # fmt: skip
    if not hit:
        return None
    layers = frozenset(_names(made, hit[0]))
    return Made(reference, target, clean, (PER_TENSOR,), layers, f"{kind} at {operation} {name}")


def _names(file: File, op: Any) -> set[str]:
    return {file.name(one) for one in file.restated(int(op.outputs[0]))}


def _fused(op: Any) -> int:
    return int(getattr(op.builtinOptions, "fusedActivationFunction", 0) or 0)


def _pick(file: File, draw: np.random.Generator, fits: Callable[[Any], bool]) -> Any:
    ops = [op for op in weighted(file) if file.kind(op) in ("CONV_2D", "FULLY_CONNECTED") and fits(op)]
    return ops[draw.integers(len(ops))] if ops else None


def _scale_out(file: File, op: Any, factors: Any) -> None:
    index = file.own_constant(op, 1)
    shape = [-1 if axis == OUT_AXIS[file.kind(op)] else 1 for axis in range(len(file.shape(index)))]
    file.set_array(index, file.array(index) * factors.reshape(shape))
    bias = file.own_constant(op, bias_position(file, op))
    if bias >= 0:
        file.set_array(bias, file.array(bias) * factors)


def _spread(file: File, draw: np.random.Generator) -> Any:
    """Scales the channels of a layer by 1 to 1/100, and the next layer's inputs by the inverse."""

    def next_of(op: Any) -> Any:
        readers = file.readers(int(op.outputs[0]))
        output = int(op.outputs[0]) in {int(one) for one in file.graph.outputs}
        if len(readers) != 1 or output or file.kind(readers[0]) != file.kind(op) or _fused(op) not in (0, 1):
            return None
        return readers[0] if file.constant_of(readers[0], 1) >= 0 else None

    op = _pick(file, draw, lambda one: next_of(one) is not None)
    if op is None:
        return None
    reader = next_of(op)
    axis = OUT_AXIS[file.kind(op)]
    width = file.shape(file.constant_of(op, 1))[axis]
    factors = np.exp(draw.uniform(np.log(0.01), 0, width))
    factors[draw.integers(width)] = 1.0
    _scale_out(file, op, factors)
    index = file.own_constant(reader, 1)
    file.set_array(index, file.array(index) / factors)
    return op


def _amplify_dead(file: File, draw: np.random.Generator) -> Any:
    """A channel with weights 100 times as large, which a bias keeps below zero, so that its RELU gives nothing."""

    def fits(op: Any) -> bool:
        return _fused(op) in _FUSED_RELUS and file.constant_of(op, bias_position(file, op)) >= 0

    op = _pick(file, draw, fits)
    if op is None:
        return None
    width = file.shape(file.constant_of(op, 1))[OUT_AXIS[file.kind(op)]]
    channel = int(draw.integers(width))
    factors = np.ones(width)
    factors[channel] = 100.0
    _scale_out(file, op, factors)
    bias, weights = file.constant_of(op, bias_position(file, op)), file.array(file.constant_of(op, 1))
    values = file.array(bias)
    values[channel] = -30.0 * np.abs(np.take(weights, channel, OUT_AXIS[file.kind(op)])).sum()
    file.set_array(bias, values)
    return op
