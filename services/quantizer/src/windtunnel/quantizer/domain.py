"""What the quantizer makes, and the rules about what it can be made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from windtunnel.errors import InvalidInput
from windtunnel.plan import VariantSpec
from windtunnel.tflite import ModelFacts, TensorFacts

T = TypeVar("T")

# Where the plan has no calibration set, this many samples from the front of the samples calibrate.
DRAWN_SAMPLES: Final = 100
# Algorithms of litert-quantizer that look at activations whatever precision the rule asks for.
_LOOK_AT_ACTIVATIONS = frozenset({"GPTQ", "OSCAR"})


@dataclass(frozen=True, slots=True)
class Calibration:
    """Samples to calibrate with. `limit`: only so many from the front are used; None: all of them."""

    samples: Path
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class LeftFloat:
    """An op that rule `rule` of a recipe is to quantise, and that stays float: its op_config is not for such ops.

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
    """Whether the ranges of activations must be known: for static quantisation, built in or by recipe."""
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
    # Any JSON may stand there; what it must be is checked when the recipe is used.
    return static or str(rule.get("algorithm_key")) in _LOOK_AT_ACTIVATIONS


def choose_calibration(variant: VariantSpec, calibration: T | None, samples: T | None) -> tuple[T | None, bool]:
    """The set that calibrates `variant`, and whether it is drawn from the samples; (None, False): it needs none.

    Raises InvalidInput where it needs one and there is neither.
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
    )


def require_quantized(facts: ModelFacts, variant: VariantSpec) -> None:
    """Raises InvalidInput where nothing came of it: such a variant would be measured under a wrong name."""
    if not any(_is_quantized(tensor) for graph in facts.graphs for tensor in graph.tensors):
        raise InvalidInput(
            f"variant {variant.name!r} changed nothing: no op of the model can be quantised that way",
            hint="leave the variant out, or check the recipe's regex and operation",
        )


def _is_quantized(tensor: TensorFacts) -> bool:
    return tensor.quantization is not None or (tensor.is_constant and tensor.dtype in ("float16", "bfloat16"))
