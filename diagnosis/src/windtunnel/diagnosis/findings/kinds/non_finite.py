"""NaN or infinity that only the candidate has, at the first layer that holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.document import HIDDEN
from windtunnel.diagnosis.findings.fixes import Fix, OpFix, TensorFix
from windtunnel.diagnosis.findings.kinds.constants import CONVERT_AGAIN, KEEP_FLOAT32, KEEP_SMALL
from windtunnel.diagnosis.findings.kinds.ranges import CALIBRATE_TENSOR
from windtunnel.plain_text import clean, figure, layer_title


@dataclass(frozen=True, slots=True)
class NonFiniteValues:
    """How many values of a layer are NaN or infinite, and the op that makes them."""

    values: int
    op: str

    def words(self) -> str:
        """The count and the op."""
        return f"{self.values} values are NaN or infinite from {clean(self.op)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NonFiniteFinding(CauseFinding):
    """A layer with NaN or infinity, all layers before which are within the threshold."""

    is_family: ClassVar[bool] = True
    non_finite: NonFiniteValues


@dataclass(frozen=True, slots=True, kw_only=True)
class NonFiniteByScale(NonFiniteFinding):
    """A scale that the op reads or writes is NaN or infinite."""

    code: ClassVar[CauseCode] = CauseCode.PARAMETERS
    tensor: str

    def fix(self) -> Fix:
        """Calibrate the tensor."""
        return TensorFix(action=CALIBRATE_TENSOR, tensor=self.tensor)

    def words(self) -> tuple[str, ...]:
        """The count and the tensor."""
        return (self.non_finite.words(), f"the scale of {layer_title(self.tensor)} is NaN or infinite")


@dataclass(frozen=True, slots=True, kw_only=True)
class NonFiniteByOp(NonFiniteFinding):
    """The reference has another op, or another fused activation, there."""

    code: ClassVar[CauseCode] = CauseCode.CONVERSION_OP
    reference_op: str
    candidate_op: str

    def fix(self) -> Fix:
        """Convert again."""
        return OpFix(action="convert the op again", op=self.reference_op)

    def words(self) -> tuple[str, ...]:
        """Both ops and the count."""
        return (f"the op is {clean(self.candidate_op)} instead of {clean(self.reference_op)}", self.non_finite.words())


@dataclass(frozen=True, slots=True, kw_only=True)
class NonFiniteByConstant(NonFiniteFinding):
    """A constant of the op is not finite, or far from the reference's. `too_large`: for float16."""

    code: ClassVar[CauseCode] = CauseCode.CONVERSION_WEIGHTS
    constant: str
    too_large: bool = field(default=False, metadata=HIDDEN)

    def fix(self) -> Fix:
        """Convert again; in float32 where float16 is too small."""
        return TensorFix(action=KEEP_FLOAT32 if self.too_large else CONVERT_AGAIN, tensor=self.constant)

    def words(self) -> tuple[str, ...]:
        """The count and the constant."""
        constant = f"the constant {layer_title(self.constant)} is not finite, or far from the reference's"
        return (self.non_finite.words(), constant)


@dataclass(frozen=True, slots=True, kw_only=True)
class NonFiniteByLostConstant(NonFiniteFinding):
    """A small constant that keeps a divisor away from 0 is 0 in the type that stores it: an epsilon in float16.

    `reference` is its value in the reference, in real units; `stored_as` the candidate's type.
    """

    code: ClassVar[CauseCode] = CauseCode.CONVERSION_WEIGHTS
    constant: str
    reference: float
    stored_as: str

    def fix(self) -> Fix:
        """Convert again; in float32 if float16 is too coarse."""
        return TensorFix(action=KEEP_SMALL if self.stored_as == "float16" else CONVERT_AGAIN, tensor=self.constant)

    def words(self) -> tuple[str, ...]:
        """The count and the constant."""
        stored = f"{figure(self.reference)} in the reference and 0 as {clean(self.stored_as)}"
        return (self.non_finite.words(), f"the constant {layer_title(self.constant)} is {stored}: the op divides by 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class NonFiniteByRounding(NonFiniteFinding):
    """Values are rounded to 0, where the op is not finite: a logarithm, a division."""

    code: ClassVar[CauseCode] = CauseCode.PARAMETERS
    tensor: str
    why: str

    def fix(self) -> Fix:
        """Keep it precise."""
        action = "keep the layers up to here in float or 16 bit: windtunnel remedy"
        return TensorFix(action=action, tensor=self.tensor)

    def words(self) -> tuple[str, ...]:
        """The count and why."""
        return (self.non_finite.words(), clean(self.why))


@dataclass(frozen=True, slots=True, kw_only=True)
class NonFiniteByKernel(NonFiniteFinding):
    """Nothing in the files explains it: by elimination, the kernel."""

    code: ClassVar[CauseCode] = CauseCode.KERNEL

    def fix(self) -> Fix:
        """Other kernels."""
        return OpFix(action="use another kernel or accelerator for this op", op=self.non_finite.op)

    def words(self) -> tuple[str, ...]:
        """The count."""
        return (self.non_finite.words(), "nothing in the files explains it: the kernel is at fault")
