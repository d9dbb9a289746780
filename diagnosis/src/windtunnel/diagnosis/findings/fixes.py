"""What fixes a cause: an action in words, and the names and figures that it needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from windtunnel.diagnosis.findings.document import OPTIONAL, as_key, json_of
from windtunnel.plain_text import clean, flat, layer_title


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """An action that needs no details: a short sentence for people, or a name with `_` for words."""

    action: str

    def to_json(self) -> dict[str, Any]:
        """The `fix` of a cause."""
        return dict(json_of(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFix(Fix):
    """An action on a tensor; `scale` and `zero_point` are those that would fit."""

    tensor: str
    scale: float | None = field(default=None, metadata=OPTIONAL)
    zero_point: int | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpFix(Fix):
    """An action on an op, or on all of a kind."""

    op: str
    op_index: int | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpKindsFix(Fix):
    """An action on ops of several kinds; `op` and `op_index` are the slowest of them, if its weakness is known."""

    kinds: tuple[str, ...]
    op: str | None = field(default=None, metadata=OPTIONAL)
    op_index: int | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantFix(Fix):
    """An action on a constant of the reference."""

    constant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InputsFix(Fix):
    """An action on inputs of the model."""

    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationFix(Fix):
    """Calibration with other samples."""

    samples: str = field(metadata=as_key("with"))


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidedFix(Fix):
    """An action that `how` explains."""

    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AvoidKernelsFix(Fix):
    """Kernels to avoid; `how` says what to do until then."""

    kernels: tuple[str, ...]
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FasterKernelsFix(Fix):
    """Kernels that were measured to be faster; `otherwise` is what to do where these cannot be used."""

    kernels: str
    measured_ms: float
    otherwise: str
    op: str


def fix_words(fix: dict[str, Any], layer: str | None = None) -> str:
    """The `fix` of a document as a sentence: what to do and with which figures.

    Args:
        fix: the JSON object; unknown keys are shown too.
        layer: the place of the cause, which need not be repeated.

    Returns:
        Empty where the object is.
    """
    details = dict(fix)
    action = clean(details.pop("action", ""))
    shown = [f"{key.replace('_', ' ')} {layer_title(value)}" for key, value in flat(details) if value != clean(layer)]
    # A name with `_` for words, or a sentence, which may name an identifier.
    words = action if " " in action else action.replace("_", " ")
    return ": ".join(filter(None, (words, ", ".join(shown))))
