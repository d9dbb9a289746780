"""Rules of a recipe, checked against what litert-quantizer takes; loads the library: only in a child process.

The library itself looks at few fields. What it does not know it passes over, and the ops of the rule stay float.
"""

from __future__ import annotations

import enum
import json
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NoReturn

from litert_quantizer import algorithm_manager, qtyping
from litert_quantizer.algorithms.utils import common_utils
from litert_quantizer.utils import tfl_flatbuffer_utils

from windtunnel.diagnosis.quantize.variants import LeftFloat
from windtunnel.diagnosis.thresholds.remedy_thresholds import REGEX_SECONDS
from windtunnel.errors import InvalidInput
from windtunnel.plan import VariantSpec
from windtunnel.tflite import ModelFacts, OpFacts

Rule = Mapping[str, Any]
# What a value must be, and whether it is.
Takes = tuple[str, Callable[[Any], bool]]

_ALL: Final = "*"
_NO_QUANTIZE: Final = algorithm_manager.AlgorithmName.NO_QUANTIZE.value
_SHOWN: Final = 80


def _one_of(values: Sequence[Any]) -> Takes:
    # Equal is not enough: true is not 1, and 8.0 is not 8.
    known = {(type(value), value) for value in values}
    return ", ".join(map(str, values)), lambda found: isinstance(found, str | int) and (type(found), found) in known


def _values(kind: type[enum.Enum]) -> list[Any]:
    return [str(member.value) for member in kind]


_FLAG: Final[Takes] = ("true, false", lambda found: isinstance(found, bool))
_OBJECT: Final[Takes] = ("an object", lambda found: isinstance(found, dict))
_COUNT: Final[Takes] = ("an integer from 0 on", lambda found: type(found) is int and found >= 0)
_TENSOR: Final[Mapping[str, Takes]] = {
    "num_bits": _one_of([2, 4, 8, 16]),
    "symmetric": _FLAG,
    "granularity": _one_of(_values(qtyping.QuantGranularity)),
    "dtype": _one_of(_values(qtyping.TensorDataType)),
    "algorithm_params": _OBJECT,
    # Of older recipes.
    "block_size": _one_of([0, 32, 64, 128, 256]),
    "max_hadamard_size": _COUNT,
}
_CONFIG: Final[Mapping[str, Takes]] = {
    "weight_tensor_config": _OBJECT,
    "activation_tensor_config": _OBJECT,
    "compute_precision": _one_of(_values(qtyping.ComputePrecision)),
    "explicit_dequantize": _FLAG,
    "skip_checks": _FLAG,
    "min_weight_elements": _COUNT,
}
_RULE: Final[Mapping[str, Takes]] = {
    "regex": ("a regular expression", lambda found: isinstance(found, str)),
    "operation": _one_of(_values(qtyping.TFLOperationName)),
    "algorithm_key": _one_of(_values(algorithm_manager.AlgorithmName)),
    "op_config": _OBJECT,
    "ranges": ("an object, tensor to [low, high]", lambda found: isinstance(found, dict)),
}


def check_rules(variant: VariantSpec, model: Any) -> None:
    """Checks a recipe against what the library takes, and against a model.

    Args:
        variant: with a recipe.
        model: as an object of the library.

    Raises:
        InvalidInput: a rule cannot be used; the message names the rule, the field, its value and what is taken.
    """
    for number, rule in enumerate(variant.recipe or ()):
        where = f"recipe of variant {variant.name!r}, rule {number}"
        _check_fields(where, "", rule, _RULE, ("regex", "operation", "algorithm_key"))
        _check_regex(where, rule["regex"], model)
        if rule["algorithm_key"] != _NO_QUANTIZE:
            _check_config(where, rule)


def _check_fields(where: str, path: str, found: Rule, takes: Mapping[str, Takes], needed: Sequence[str]) -> None:
    for name in needed:
        if name not in found:
            raise InvalidInput(f"{where} has no {path}{name}", hint=f"it takes {takes[name][0]}")
    for name, value in found.items():
        if name not in takes:
            raise InvalidInput(f"{where} has an unknown field {path}{name}", hint="known: " + ", ".join(takes))
        words, fits = takes[name]
        if not fits(value):
            raise InvalidInput(f"{where}: {path}{name} is {_short(value)}", hint=f"it takes {words}")


def _check_config(where: str, rule: Rule) -> None:
    if "op_config" not in rule:
        raise InvalidInput(f"{where} has no op_config", hint="it takes an object with weight_tensor_config")
    config = rule["op_config"]
    _check_fields(where, "op_config.", config, _CONFIG, ("weight_tensor_config",))
    for name in ("weight_tensor_config", "activation_tensor_config"):
        if name in config:
            _check_fields(where, f"op_config.{name}.", config[name], _TENSOR, ("num_bits",))
    try:
        made = qtyping.OpQuantizationConfig.from_dict(dict(config))
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{where}: its op_config contradicts itself: {error}") from error
    _require_taken(where, rule["algorithm_key"], rule["operation"], made)


def _require_taken(where: str, algorithm: str, operation: str, config: Any) -> None:
    """Checks that some kernel knows the fields of a rule together; if not, the ops would stay float.

    Raises:
        InvalidInput: none does.
    """
    # The library looks at the weights' config only for ops with weights: the others would take any.
    ops = common_utils.DRQ_OR_WEIGHT_ONLY_OPS if operation == _ALL else [qtyping.TFLOperationName(operation)]
    for op in ops:
        try:
            algorithm_manager.check_op_quantization_config(algorithm, op, config)
        except ValueError:
            continue
        return
    who = "no op with weights takes" if operation == _ALL else f"{operation} does not take"
    raise InvalidInput(
        f"{where}: {who} its op_config with {algorithm}: {_summary(config)}",
        hint="INTEGER takes symmetric INT weights, and activations INT8, or INT16 symmetric, TENSORWISE; FLOAT takes "
        "INT weights with explicit_dequantize; float_casting takes FLOAT16 weights, computed in FLOAT",
    )


def _summary(config: Any) -> str:
    parts = []
    for what, tensor in (("weights", config.weight_tensor_config), ("activations", config.activation_tensor_config)):
        if tensor is not None:
            kind = "symmetric" if tensor.symmetric else "asymmetric"
            granularity, dtype = (getattr(one, "value", one) for one in (tensor.granularity, tensor.dtype))
            parts.append(f"{what} {dtype}{tensor.num_bits} {kind} {granularity}")
    precision = getattr(config.compute_precision, "value", config.compute_precision)
    explicit = ", explicit_dequantize" if config.explicit_dequantize else ""
    return f"{', '.join(parts)}, compute_precision {precision}{explicit}"


def _check_regex(where: str, regex: str, model: Any) -> None:
    """Checks a regular expression on this model's names: the library asks it again and again.

    Raises:
        InvalidInput: it is not one, or it takes too long.
    """
    try:
        compiled = re.compile(regex)
    except (re.error, RecursionError, OverflowError) as error:
        raise InvalidInput(f"{where}: {_short(regex)} is not a regular expression: {error}") from error
    with _deadline(where, regex):
        for scope in _scopes(model):
            compiled.search(scope)


def _short(value: Any) -> str:
    """As JSON, and not too much of it."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


@contextmanager
def _deadline(where: str, regex: str) -> Iterator[None]:
    """Ends a match by a signal, which the engine of `re` looks for as it goes. Jobs run in a child's main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(*_: Any) -> NoReturn:
        raise InvalidInput(
            f"{where}: the regex {_short(regex)} takes too long on this model's names",
            hint="leave out repeats within repeats, as in (a+)+; .* fits every op, and ^name;$ one",
        )

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, REGEX_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)


def _scopes(model: Any) -> Iterator[str]:
    """What the library matches, as it makes it: of every op, and of the graphs' inputs and outputs."""
    for graph in model.subgraphs:
        for op in (*graph.operators, *tfl_flatbuffer_utils.get_subgraph_input_output_operators(graph)):
            yield tfl_flatbuffer_utils.get_op_scope(op, graph.tensors)


def left_float(variant: VariantSpec, manager: Any, model: Any, facts: ModelFacts) -> tuple[LeftFloat, ...]:
    """Ops of the main graph that a rule is to quantize, and that its op_config does not fit.

    A rule for weights alone is for ops that have weights.

    Args:
        variant: with a recipe.
        manager: has the rules.
        model: as the library reads it.
        facts: of the same model.

    Returns:
        The ops, with their rule.
    """
    found = []
    for index, (op, own) in enumerate(zip(model.subgraphs[0].operators, facts.ops, strict=True)):
        code = model.operatorCodes[op.opcodeIndex].builtinCode
        kind = tfl_flatbuffer_utils.TFL_OP_CODE_TO_NAME.get(code)
        scope = tfl_flatbuffer_utils.get_op_scope(op, model.subgraphs[0].tensors)
        number = _meant_by(variant.recipe or (), kind, scope)
        if number is None or (kind is not None and manager.get_quantization_configs(kind, scope)[0] != _NO_QUANTIZE):
            continue
        static = "activation_tensor_config" in (variant.recipe or ())[number].get("op_config", {})
        if _computes_float(facts, own) if static else _has_weights(facts, own):
            found.append(LeftFloat(number, own.name, index, facts.tensors[own.outputs[0]].name))
    return tuple(found)


def _meant_by(rules: Sequence[Rule], kind: Any, scope: str) -> int | None:
    """The last rule that fits the op, if that one is to quantize."""
    fits = [
        number
        for number, rule in enumerate(rules)
        if rule["operation"] in (_ALL, kind) and re.search(rule["regex"], scope) is not None
    ]
    return fits[-1] if fits and rules[fits[-1]]["algorithm_key"] != _NO_QUANTIZE else None


def _computes_float(facts: ModelFacts, op: OpFacts) -> bool:
    made = [index for index in op.outputs if index >= 0 and index not in facts.main.fixed]
    return any(facts.tensors[index].dtype == "float32" for index in made)


def _has_weights(facts: ModelFacts, op: OpFacts) -> bool:
    read = [facts.tensors[index] for index in op.inputs if index >= 0]
    return any(tensor.is_constant and tensor.dtype == "float32" and len(tensor.shape) > 1 for tensor in read)
