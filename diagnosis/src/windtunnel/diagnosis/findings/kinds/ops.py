"""Ops that differ: their kind, attributes, fused activation, inputs, or that they are missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.document import HIDDEN, OPTIONAL, in_fix
from windtunnel.diagnosis.findings.fixes import Fix, OpFix
from windtunnel.diagnosis.findings.kinds.phrases import BothSides, few
from windtunnel.plain_text import layer_title


@dataclass(frozen=True, slots=True)
class OpOfReference:
    """An op that only one model has, mostly the reference, and its output tensor's name."""

    op: str
    layer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpFinding(CauseFinding):
    """A difference of an op that converting it again removes; `converted` is the kind of op to convert."""

    is_family: ClassVar[bool] = True
    code: ClassVar[CauseCode] = CauseCode.CONVERSION_OP
    converted: str = field(default="", metadata=in_fix("op"))

    def fix(self) -> Fix:
        """Convert again."""
        return OpFix(action="convert the op again", op=self.converted)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpDiffers(OpFinding):
    """The candidate has another op in its place."""

    op: BothSides

    def words(self) -> tuple[str, ...]:
        """Both kinds."""
        return (f"the op is {self.op.words()}",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationDiffers(OpFinding):
    """Another activation is fused or follows it; `bound`: the end at which it cuts values off."""

    activation: BothSides
    bound: BothSides | None = field(default=None, metadata=OPTIONAL)

    def words(self) -> tuple[str, ...]:
        """Both activations, and the bound that differs, if there is one."""
        bound = () if self.bound is None else (f"it cuts values off at {self.bound.words()}",)
        return (f"the activation is {self.activation.words()}", *bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeDiffers(OpFinding):
    """An attribute, or a constant that acts as one, has another value."""

    attribute: str
    reference: Any
    candidate: Any

    def words(self) -> tuple[str, ...]:
        """Both values."""
        return (f"{layer_title(self.attribute)} is {few(self.candidate)} instead of {few(self.reference)}",)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputsDiffer(OpFinding):
    """The op reads other tensors, or the same in another order."""

    inputs: BothSides

    def words(self) -> tuple[str, ...]:
        """Both lists."""
        return (f"it reads {self.inputs.words()}",)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpMissing(CauseFinding):
    """The candidate skips an op of the reference: it reads what that op reads, where its result is read.

    `at_end`: what that op reads is an output of the candidate; `reads` is then its tensor index there, otherwise -1.
    """

    code: ClassVar[CauseCode] = CauseCode.CONVERSION_OP
    missing: OpOfReference
    at_end: bool = field(default=False, metadata=HIDDEN)
    reads: int = field(default=-1, metadata=HIDDEN)

    def fix(self) -> Fix:
        """Convert the whole model again."""
        return OpFix(action="convert the model again", op=self.missing.op)

    def words(self) -> tuple[str, ...]:
        """Which op."""
        missing = f"{layer_title(self.missing.op)} {layer_title(self.missing.layer)}"
        place = "after" if self.at_end else "before"
        return (f"the candidate skips an op of the reference: {missing} is missing {place} this layer",)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpAdded(CauseFinding):
    """The candidate has an op before an output that the reference does not have.

    `reads`: the tensor index of what is an output of the reference.
    """

    code: ClassVar[CauseCode] = CauseCode.CONVERSION_OP
    added: OpOfReference
    reads: int = field(default=-1, metadata=HIDDEN)

    def fix(self) -> Fix:
        """Convert the whole model again."""
        return OpFix(action="convert the model again", op=self.added.op)

    def words(self) -> tuple[str, ...]:
        """Which op."""
        added = f"{layer_title(self.added.op)} {layer_title(self.added.layer)}"
        return (f"the candidate has an op that the reference does not have: {added}",)


__all__ = [
    "ActivationDiffers",
    "AttributeDiffers",
    "BothSides",
    "InputsDiffer",
    "OpAdded",
    "OpDiffers",
    "OpFinding",
    "OpMissing",
    "OpOfReference",
]
