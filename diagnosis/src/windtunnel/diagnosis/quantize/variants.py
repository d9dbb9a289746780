"""What the quantizer makes, and the rules about what it can be made from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.plan import AS_IT_IS, VariantSpec
from windtunnel.tflite import GraphFacts, ModelFacts, OpFacts, TensorFacts, precision
from windtunnel.tflite.dtypes import HALF_DTYPES

T = TypeVar("T")

# Algorithms of litert-quantizer that look at activations whatever precision the rule asks for.
_LOOK_AT_ACTIVATIONS = frozenset({"GPTQ", "OSCAR"})


@dataclass(frozen=True, slots=True)
class Calibration:
    """Samples to calibrate with. `limit`: only so many from the front are used; None: all of them."""

    samples: Path
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class LeftFloat:
    """An op that rule `rule` of a recipe is to quantize, and that stays float: its op_config is not for such ops.

    `layer` is the op's first output.
    """

    rule: int
    op: str
    op_index: int
    layer: str


@dataclass(frozen=True, slots=True)
class Made:
    """What a job says of the variant that it has written: how many samples calibrated it, and what stays float."""

    samples: int
    left_float: tuple[LeftFloat, ...] = ()


@dataclass(frozen=True, slots=True)
class Quantized:
    """A finished variant. `calibration_samples` is 0 where the method needs none; `left_float`: only of recipes."""

    model: Path
    facts: ModelFacts
    calibration_samples: int
    seconds: float
    left_float: tuple[LeftFloat, ...] = ()


def needs_calibration(variant: VariantSpec) -> bool:
    """Whether the ranges of activations must be known: for static quantization, built in or by recipe.

    Args:
        variant: of the plan.
    """
    if variant.recipe is None:
        return variant.needs_calibration
    return any(_is_static(rule) for rule in variant.recipe)


def _is_static(rule: Mapping[str, Any]) -> bool:
    config = rule.get("op_config")
    static = (
        isinstance(config, Mapping)
        and config.get("compute_precision") == "INTEGER"
        and config.get("activation_tensor_config") is not None
    )
    # Any JSON is possible there; what it must be is checked when the recipe is used.
    return static or str(rule.get("algorithm_key")) in _LOOK_AT_ACTIVATIONS


def choose_calibration(variant: VariantSpec, calibration: T | None, samples: T | None) -> tuple[T | None, bool]:
    """The set that calibrates a variant.

    Args:
        variant: of the plan.
        calibration: the calibration set; None: there is none.
        samples: the samples; None: there are none.

    Returns:
        The set, and whether it is drawn from the samples; (None, False): the variant needs none.

    Raises:
        InvalidInput: the variant needs one, and there is neither.
    """
    if not needs_calibration(variant):
        return None, False
    if calibration is not None:
        return calibration, False
    if samples is not None:
        return samples, True
    raise InvalidInput(
        f"variant {variant.name!r} needs a calibration set, and the plan has none and no samples to draw it from",
        hint="give data.calibration: about 100 typical inputs",
        code="invalid_plan",
    )


def require_float(facts: ModelFacts, variant: VariantSpec) -> None:
    """Makes sure that a model is not quantized yet: nothing can be made of it, not even float32.

    Args:
        facts: of the model.
        variant: to be made, for the message.

    Raises:
        InvalidInput: it is quantized.
    """
    found = precision(facts)
    if found == AS_IT_IS:
        return
    tensor = next(
        (one for graph in facts.graphs for one in graph.tensors if _is_quantized(one)), facts.graphs[0].tensors[0]
    )
    raise InvalidInput(
        f"the model is {found} already (tensor {tensor.name!r} is {tensor.dtype}): {variant.name!r} cannot be made "
        "of it",
        hint=f"submit the float model; of this file only {found!r} can be tested, which is the file itself",
        code="already_quantized",
    )


def require_quantized(facts: ModelFacts, variant: VariantSpec) -> None:
    """Makes sure that something was quantized: otherwise the variant would be measured under a wrong name.

    Args:
        facts: of the new model.
        variant: for the message.

    Raises:
        InvalidInput: nothing was.
    """
    if not any(_is_quantized(tensor) for graph in facts.graphs for tensor in graph.tensors):
        raise InvalidInput(
            f"variant {variant.name!r} changed nothing: no op of the model can be quantized that way",
            hint="leave the variant out, or check the recipe's regex and operation",
        )


def _is_quantized(tensor: TensorFacts) -> bool:
    return tensor.quantization is not None or (tensor.is_constant and tensor.dtype in HALF_DTYPES)


def loops(facts: ModelFacts) -> list[str]:
    """Layers of the main graph that run other graphs: loops of recurrent layers, and conditions.

    Args:
        facts: of the model.

    Returns:
        Short names.
    """
    found = [facts.tensors[op.outputs[0]].name for op in facts.ops if op.name in ("WHILE", "IF") and op.outputs]
    return [_short(name) for name in found]


def _short(name: str) -> str:
    """`sequential_1/bidirectional_1/forward_lstm_1/while/LoopCond/_20` is `bidirectional_1/forward_lstm_1`."""
    parts = re.split(r"/(?:while|cond|StatefulPartitionedCall|PartitionedCall)\w*(?:/|$)", name.split(";")[0])[0].split(
        "/"
    )
    return "/".join(parts[1:] if len(parts) > 1 else parts)


def not_calibrated(facts: ModelFacts, variant: VariantSpec) -> Unsupported:
    """The error if a variant needs ranges of values that only exist within loops, which cannot be observed.

    Args:
        facts: of the model.
        variant: for the message.

    Returns:
        The error.
    """
    inside = [tensor.name for graph in facts.graphs[1:] for op in graph.ops for tensor in _made(graph, op)]
    shared = (
        "while" if all("while" in name for name in inside) else "|".join(re.escape(g.name) for g in facts.graphs[1:])
    )
    rule = {"regex": shared, "operation": "*", "algorithm_key": "no_quantize"}
    return Unsupported(
        f"{variant.name!r} needs the ranges of values inside loops, which cannot be calibrated; the model has loops at "
        f"{', '.join(loops(facts))}",
        hint="build the recurrent layers with unroll=True and convert again, or take dynamic_range or float16; or a "
        f"recipe whose last rule keeps the loop in float: {json.dumps(rule)}",
        code="loop_not_calibrated",
    )


def _made(graph: GraphFacts, op: OpFacts) -> list[TensorFacts]:
    return [graph.tensors[index] for index in op.outputs if index >= 0]
