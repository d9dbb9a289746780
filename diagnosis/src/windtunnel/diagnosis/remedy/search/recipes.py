"""Recipes of a search: what a variant is made of, the rule that keeps one layer out of it, and whether that rule hit.

A recipe is a litert-quantizer recipe: a list of rules, of which the last that fits an op holds. An op is addressed by
its scope, the names of its outputs, each followed by a semicolon. Pure: builds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from windtunnel.errors import InternalError, InvalidInput
from windtunnel.tflite import INTEGER_DTYPES, ModelFacts, OpFacts, TensorFacts
from windtunnel.tflite.dtypes import HALF_DTYPES, bits_of
from windtunnel.tflite.op_kinds import QUANTIZING

Rule = Mapping[str, Any]
Precision = Literal["float", "int16"]
Granularity = Literal["CHANNELWISE", "TENSORWISE"]
Method = Literal["static", "dynamic", "weight_only", "float16"]

MIN_MAX: Final = "min_max_uniform_quantize"
INPUT: Final = "INPUT"
OUTPUT: Final = "OUTPUT"

# The library's names that differ from the runtime's.
_LIBRARY_NAMES: Final[Mapping[str, str]] = {"TRANSPOSE_CONV": "CONV_2D_TRANSPOSE"}
# litert-quantizer cuts longer scopes.
_MAX_SCOPE: Final = 10_000


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a variant is quantized. Bits are 0 if that side stays float; `granularity` is that of the weights."""

    method: Method
    weight_bits: int
    activation_bits: int = 0
    granularity: Granularity = "CHANNELWISE"

    @property
    def words(self) -> str:
        """For people."""
        if self.method == "float16":
            return "float16 weights"
        weights = f"int{self.weight_bits} weights"
        if self.granularity == "TENSORWISE":
            weights += " with one scale per tensor"
        if self.method == "static":
            return f"{weights}, int{self.activation_bits} activations"
        return f"{weights}, {'dynamic range' if self.method == 'dynamic' else 'computed in float'}"


@dataclass(frozen=True, slots=True)
class Unit:
    """What can be kept out of the quantization on its own: an op of the float model, or its inputs or its outputs.

    `name` is the op's first output; `operation` is litert-quantizer's name, INPUT and OUTPUT for the model's ends.
    `reads` are the names of the units that it takes its activations from.
    """

    name: str
    operation: str
    op_index: int | None
    scope: str
    reads: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Distinguishes units: the model's output carries the name of the op that makes it."""
        return self.operation, self.name


def scheme_of(facts: ModelFacts) -> Scheme | None:
    """How a model is quantized, by the majority of its ops.

    Args:
        facts: of the model.

    Returns:
        None: it is a float model.
    """
    weights = [tensor for op in facts.ops for tensor in _weights(facts, op)]
    activations = [kind for op in facts.ops for kind in _activation_types(facts, op)]
    quantized = [kind for kind in activations if kind in INTEGER_DTYPES]
    integer = [tensor for tensor in weights if tensor.dtype in INTEGER_DTYPES]
    granularity = _granularity(integer)
    bits = min((bits_of(tensor.dtype) for tensor in integer), default=8)
    if quantized:
        wide = max(set(quantized), key=quantized.count)
        return Scheme("static", bits, 16 if wide == "int16" else 8, granularity)
    if integer:
        explicit = any(_explicitly_dequantized(facts, op) for op in facts.ops)
        return Scheme("weight_only" if explicit else "dynamic", bits, 0, granularity)
    if any(tensor.dtype in HALF_DTYPES for tensor in weights):
        return Scheme("float16", 16)
    return None


def _granularity(weights: Sequence[TensorFacts]) -> Granularity:
    many = [tensor for tensor in weights if len(tensor.shape) > 1 and max(tensor.shape[0], tensor.shape[-1]) > 1]
    single = [one for one in many if one.quantization is not None and len(one.quantization.scales) == 1]
    return "TENSORWISE" if many and len(single) * 2 > len(many) else "CHANNELWISE"


def rules_of(scheme: Scheme, *, algorithm: str = MIN_MAX) -> tuple[Rule, ...]:
    """The recipe that quantizes everything that can be quantized this way.

    Args:
        scheme: how.
        algorithm: of rounding; used only for ops that have weights.

    Returns:
        The rules.
    """
    if scheme.method == "float16":
        return (_rule(".*", "float_casting", _config(_weights_config(16, "FLOAT"), "FLOAT", explicit=True)),)
    weights = _weights_config(scheme.weight_bits, "INT", scheme.granularity)
    if scheme.method == "static":
        config = _config(weights, "INTEGER") | {"activation_tensor_config": _activations_config(scheme.activation_bits)}
    else:
        explicit = scheme.method == "weight_only"
        config = _config(weights, "FLOAT" if explicit else "INTEGER", explicit=explicit)
    base = _rule(".*", MIN_MAX, config)
    # Rules under one regex replace each other; what the algorithm does not know stays with the first rule.
    return (base,) if algorithm == MIN_MAX else (base, _rule(".+", algorithm, config))


def kept(unit: Unit, precision: Precision, scheme: Scheme) -> Rule:
    """The rule that keeps one unit in float, or its activations in 16 bit.

    Args:
        unit: to keep.
        precision: float, or 16-bit activations.
        scheme: of the other units.

    Returns:
        The rule.
    """
    regex = regex_of(unit.scope)
    if precision == "float":
        return {"regex": regex, "operation": unit.operation, "algorithm_key": "no_quantize"}
    wide = rules_of(Scheme("static", max(scheme.weight_bits, 4), 16))[0]
    return {**wide, "regex": regex, "operation": unit.operation}


def with_ranges(rules: Sequence[Rule], ranges: Mapping[str, tuple[float, float]]) -> tuple[Rule, ...]:
    """A recipe with activation ranges of its own, which take precedence over those of the calibration set.

    Args:
        rules: of the recipe.
        ranges: (low, high), in real units, by tensor name.

    Returns:
        The rules.
    """
    return ({**rules[0], "ranges": {name: list(bounds) for name, bounds in ranges.items()}}, *rules[1:])


def regex_of(scope: str) -> str:
    """A regular expression that fits one scope and no other.

    Args:
        scope: of an op.

    Returns:
        The expression.
    """
    return rf"^{re.escape(scope)}\Z"


def units_of(facts: ModelFacts) -> tuple[Unit, ...]:
    """What a rule can address alone: the model's inputs, its ops in execution order, its outputs.

    Args:
        facts: of the float model.

    Returns:
        The units.
    """
    makers = {index: facts.tensors[op.outputs[0]].name for op in facts.ops if op.outputs for index in op.outputs}
    makers |= {tensor.index: facts.inputs[0].name for tensor in facts.inputs}
    ops = [_unit(facts, op, makers) for op in facts.ops if op.outputs and op.outputs[0] >= 0]
    source = Unit(facts.inputs[0].name, INPUT, None, _scope(facts, facts.main.input_indices))
    read = tuple(dict.fromkeys(makers[tensor.index] for tensor in facts.outputs if tensor.index in makers))
    target = Unit(facts.outputs[0].name, OUTPUT, None, _scope(facts, facts.main.output_indices), read)
    units = (source, *ops, target)
    _require_single(units)
    return units


def _unit(facts: ModelFacts, op: OpFacts, makers: Mapping[int, str]) -> Unit:
    name = facts.tensors[op.outputs[0]].name
    reads = tuple(dict.fromkeys(makers[i] for i in op.inputs if i in makers and i not in facts.main.fixed))
    return Unit(name, _LIBRARY_NAMES.get(op.name, op.name), op.index, _scope(facts, op.outputs), reads)


def _require_single(units: Sequence[Unit]) -> None:
    scopes = [unit.scope for unit in units if unit.op_index is not None]
    double = next((scope for scope in scopes if scopes.count(scope) > 1), None)
    if double is not None:
        raise InvalidInput(
            f"two ops of the float model share the output name {double[:200]!r}: no rule can distinguish them",
            hint="give the tensors names of their own",
        )


def hits(rule: Rule, units: Iterable[Unit]) -> list[Unit]:
    """The units that a rule addresses.

    Args:
        rule: of a recipe.
        units: of the float model.

    Returns:
        Those units.
    """
    return [
        unit
        for unit in units
        if rule["operation"] in ("*", unit.operation) and re.search(rule["regex"], unit.scope) is not None
    ]


def require_kept(facts: ModelFacts, units: Iterable[Unit], precision: Precision) -> None:
    """Checks that units were kept.

    Args:
        facts: of the model that was made.
        units: that were to be kept.
        precision: in which.

    Raises:
        InternalError: one is quantized.
    """
    states = quantized_units(facts)
    for unit in units:
        state = states.get(unit.key)
        if state is None:
            raise InternalError(f"the model that was made has no {unit.operation} {unit.name!r} to read back")
        if precision == "float" and state != "float":
            raise InternalError(f"{unit.operation} {unit.name!r} was to stay float, but was made {state}")
        if precision == "int16" and state not in ("int16", "float"):
            raise InternalError(f"{unit.operation} {unit.name!r} was to be 16 bit, but was made {state}")


def quantized_units(facts: ModelFacts) -> dict[tuple[str, str], str]:
    """The precision of each unit of a model.

    Args:
        facts: of the model.

    Returns:
        By `Unit.key`: "float", the type of its activations, or the type of its weights.
    """
    states = {
        (_LIBRARY_NAMES.get(op.name, op.name), facts.tensors[op.outputs[0]].name): _state(facts, op)
        for op in facts.ops
        if op.outputs and op.outputs[0] >= 0 and op.name not in QUANTIZING
    }
    for operation, tensors in ((INPUT, facts.inputs), (OUTPUT, facts.outputs)):
        kinds = {tensor.dtype for tensor in tensors} & INTEGER_DTYPES
        state = min(kinds, key=lambda kind: (bits_of(kind), kind), default="float")
        # An end that was converted on the way has got a suffix; what it restates carries the name that is known.
        states |= {(operation, name): state for tensor in tensors for name in _names(facts, tensor)}
    return states


def _names(facts: ModelFacts, tensor: TensorFacts) -> set[str]:
    names = {tensor.name}
    for op in facts.ops:
        if op.name in QUANTIZING and op.outputs[0] == tensor.index:
            names.add(facts.tensors[op.inputs[0]].name)
    return names


def _state(facts: ModelFacts, op: OpFacts) -> str:
    activations = [kind for kind in _activation_types(facts, op) if kind in INTEGER_DTYPES]
    if activations:
        return max(activations, key=lambda kind: bits_of(kind))
    weights = [one.dtype for one in _weights(facts, op) if one.dtype in INTEGER_DTYPES | HALF_DTYPES]
    return weights[0] if weights else "float"


def _activation_types(facts: ModelFacts, op: OpFacts) -> list[str]:
    """Types of what the op reads and writes of the sample; QUANTIZE and DEQUANTIZE only restate it."""
    if op.name in QUANTIZING:
        return []
    indices = [index for index in (*op.inputs, *op.outputs) if index >= 0 and index not in facts.main.fixed]
    return [
        facts.tensors[index].dtype
        for index in indices
        if facts.tensors[index].dtype.startswith("float") or facts.tensors[index].quantization is not None
    ]


def _weights(facts: ModelFacts, op: OpFacts) -> list[TensorFacts]:
    """Constants that the op reads, also through a DEQUANTIZE; without shapes, indices and biases."""
    if op.name in QUANTIZING:
        return []
    makers = {index: maker for maker in facts.ops for index in maker.outputs if maker.name == "DEQUANTIZE"}
    found = []
    for index in op.inputs:
        source = makers[index].inputs[0] if index in makers else index
        tensor = facts.tensors[source] if source >= 0 else None
        if tensor is not None and tensor.is_constant and tensor.dtype in INTEGER_DTYPES | HALF_DTYPES | {"float32"}:
            found.append(tensor)
    return found


def _explicitly_dequantized(facts: ModelFacts, op: OpFacts) -> bool:
    return op.name == "DEQUANTIZE" and op.inputs[0] in facts.main.fixed and facts.tensors[op.inputs[0]].is_constant


def _scope(facts: ModelFacts, indices: Sequence[int]) -> str:
    return "".join(f"{facts.tensors[index].name};" for index in indices if index >= 0)[:_MAX_SCOPE]


def _rule(regex: str, algorithm: str, config: Mapping[str, Any]) -> Rule:
    return {"regex": regex, "operation": "*", "algorithm_key": algorithm, "op_config": dict(config)}


def _config(weights: Mapping[str, Any], precision: str, *, explicit: bool = False) -> dict[str, Any]:
    return {
        "weight_tensor_config": dict(weights),
        "compute_precision": precision,
        "explicit_dequantize": explicit,
        "skip_checks": False,
        "min_weight_elements": 0,
    }


def _weights_config(bits: int, dtype: str, granularity: str = "CHANNELWISE") -> dict[str, Any]:
    return {"num_bits": bits, "symmetric": True, "granularity": granularity, "dtype": dtype}


def _activations_config(bits: int) -> dict[str, Any]:
    return {"num_bits": bits, "symmetric": bits == 16, "granularity": "TENSORWISE", "dtype": "INT"}
