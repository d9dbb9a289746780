"""Constants that differ by more than their precision explains: weights, biases, operands, and their scales."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final, Literal, TypeVar

from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.document import HIDDEN, OPTIONAL
from windtunnel.diagnosis.findings.fixes import Fix, TensorFix
from windtunnel.diagnosis.findings.kinds.phrases import channels_words, few, percent
from windtunnel.plain_text import clean, figure, layer_title

Role = Literal["weights", "bias", "operand"]
PatternKind = Literal[
    "missing",
    "zeroed",
    "sign",
    "scaled",
    "shifted",
    "permuted_channels",
    "permuted_inputs",
    "few_values",
    "noise",
]

# What fixes a constant that is too large for float16, which then holds infinity.
KEEP_FLOAT32: Final = "keep the constant in float32: float16 ends at 65504"
# What fixes a constant that float16 rounds to 0: its least number is 2**-24.
KEEP_SMALL: Final = "keep the constant in float32, or use one of at least 1e-7: float16 has no smaller number than 6e-8"
CONVERT_AGAIN: Final = "convert the constant again"
QUANTIZE_AGAIN: Final = "quantize the weights again"

_PATTERNS: Final[dict[PatternKind, str]] = {
    "missing": "are zero throughout",
    "zeroed": "are zero in {channels}",
    "sign": "have the other sign in {channels}",
    "scaled": "are scaled in {channels}",
    "shifted": "are shifted in {channels}",
    "permuted_channels": "have their output channels in another order",
    "permuted_inputs": "have their input channels in another order",
    "few_values": "differ in single values, in {channels}",
    "noise": "differ without a pattern in {channels}",
}


@dataclass(frozen=True, slots=True)
class ValueDiffers:
    """One value of a table (channels, per channel)."""

    channel: int
    at: int
    reference: float
    candidate: float


@dataclass(frozen=True, slots=True)
class Float16Overflow:
    """The largest value that the reference stores, and the largest that float16 can hold."""

    largest: float
    limit: float


@dataclass(frozen=True, slots=True)
class InputScale:
    """The scale of a layer's input in the file, and the factor by which it is off."""

    file: float
    factor: float


@dataclass(frozen=True, slots=True)
class ValueCount:
    """A number of values."""

    values: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantFinding(CauseFinding):
    """Something about one constant of a layer; `constant` is its name, `role` what the op takes it for."""

    is_family: ClassVar[bool] = True
    constant: str
    role: Role

    @property
    def title(self) -> str:
        """Role and name."""
        return f"{clean(self.role)} {layer_title(self.constant)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantDiffers(ConstantFinding):
    """A constant that differs, and how.

    `channels`: the first that differ, none for all. `values`: how many there are, or which ones differ if they are few.
    `relative_difference`: root mean square of the difference as a share of the reference's; None where that is 0.
    `factors`, `offsets`: by channel; `factor`: one for all; `order`: which channel of the reference each one is.
    `largest_difference_steps`: in quantization steps. `beside`: other constants of the op that differ too.
    """

    is_family: ClassVar[bool] = True
    pattern: PatternKind
    channels: tuple[int, ...]
    values_beyond_precision: int
    values: int | tuple[ValueDiffers, ...]
    relative_difference: float | None
    factors: tuple[float, ...] | None = field(default=None, metadata=OPTIONAL)
    factor: float | None = field(default=None, metadata=OPTIONAL)
    offsets: tuple[float, ...] | None = field(default=None, metadata=OPTIONAL)
    order: tuple[int, ...] | None = field(default=None, metadata=OPTIONAL)
    largest_difference_steps: float | None = field(default=None, metadata=OPTIONAL)
    float16: Float16Overflow | None = field(default=None, metadata=OPTIONAL)
    beside: tuple[str, ...] | None = field(default=None, metadata=OPTIONAL)

    def words(self) -> tuple[str, ...]:
        """How it differs, and by how much."""
        pattern = _PATTERNS[self.pattern].format(channels=channels_words(self.channels))
        beside = () if not self.beside else (f"other constants of the op differ too: {few(self.beside)}",)
        return (f"{self.title} {pattern}: {', '.join(self._amounts())}", *beside)

    def _amounts(self) -> Iterator[str]:
        if self.factors:
            yield f"by factors {few(self.factors)}"
        if self.offsets:
            yield f"by {few(self.offsets)}"
        of = f" of {self.values}" if isinstance(self.values, int) else ""
        yield f"{self.values_beyond_precision}{of} values beyond what precision explains"
        if self.relative_difference is not None:
            yield f"{percent(self.relative_difference)} of their size"
        # Zeros have any scale: steps of it say nothing.
        if self.largest_difference_steps is not None and self.pattern not in ("missing", "zeroed"):
            yield f"up to {figure(self.largest_difference_steps)} quantization steps"
        if self.float16 is not None:
            yield f"up to {figure(self.float16.largest)}, and float16 ends at {figure(self.float16.limit, '.6g')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsDiffer(ConstantDiffers):
    """The values of a constant are others: the conversion changed them."""

    code: ClassVar[CauseCode] = CauseCode.CONVERSION_WEIGHTS

    def fix(self) -> Fix:
        """Convert again; in float32 where float16 is too small."""
        return TensorFix(action=CONVERT_AGAIN if self.float16 is None else KEEP_FLOAT32, tensor=self.constant)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantScaleDiffers(ConstantDiffers):
    """The integers of a constant are right, and its scales or zero points are not."""

    code: ClassVar[CauseCode] = CauseCode.PARAMETERS

    def fix(self) -> Fix:
        """Quantize again."""
        return TensorFix(action=QUANTIZE_AGAIN if self.role == "weights" else CONVERT_AGAIN, tensor=self.constant)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputScaleDiffers(ConstantDiffers):
    """A bias is off by one factor because the scale of the layer's input, `tensor`, is."""

    code: ClassVar[CauseCode] = CauseCode.PARAMETERS
    tensor: str
    scale: InputScale

    def fix(self) -> Fix:
        """The scale without the factor."""
        scale = self.scale.file / self.scale.factor
        return TensorFix(action="calibrate the tensor again", tensor=self.tensor, scale=scale)

    def words(self) -> tuple[str, ...]:
        """How the bias differs, and which scale explains it."""
        scale = f"its scale {figure(self.scale.file)} is off by a factor of {figure(self.scale.factor)}"
        return (*ConstantDiffers.words(self), scale)


_C = TypeVar("_C", bound=ConstantDiffers)


def of_kind(kind: type[_C], finding: ConstantDiffers, **more: Any) -> _C:
    """The same difference as another kind, once its reason is known.

    Args:
        kind: the other kind.
        finding: the difference.
        **more: the fields that only the other kind has.

    Returns:
        A finding of that kind.
    """
    same = {one.name: getattr(finding, one.name) for one in fields(ConstantDiffers)}
    return kind(**same, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class OneBitDiffers(ConstantFinding):
    """One bit of one value differs, and nothing else in the model: the file was damaged."""

    code: ClassVar[CauseCode] = CauseCode.CONVERSION_WEIGHTS
    pattern: Literal["one_bit"] = "one_bit"
    bit: int
    at: int
    reference: float
    candidate: float

    def fix(self) -> Fix:
        """Convert again."""
        return TensorFix(action=CONVERT_AGAIN, tensor=self.constant)

    def words(self) -> tuple[str, ...]:
        """Which bit of which value."""
        return (
            f"one bit of {self.title} differs: bit {self.bit} of value {self.at}, {figure(self.candidate, '.6g')} "
            f"instead of {figure(self.reference, '.6g')}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _NonFiniteConstant(ConstantFinding):
    is_family: ClassVar[bool] = True
    pattern: Literal["non_finite"] = "non_finite"
    non_finite: ValueCount

    def words(self) -> tuple[str, ...]:
        """How many of its values."""
        return (f"{self.title} hold NaN or infinity: {self.non_finite.values} values",)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsNonFinite(_NonFiniteConstant):
    """A constant holds NaN or infinity. `too_large`: float16 made infinity of values that it cannot hold."""

    code: ClassVar[CauseCode] = CauseCode.CONVERSION_WEIGHTS
    too_large: bool = field(default=False, metadata=HIDDEN)

    def fix(self) -> Fix:
        """Convert again; in float32 where float16 is too small."""
        return TensorFix(action=KEEP_FLOAT32 if self.too_large else CONVERT_AGAIN, tensor=self.constant)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightScaleNonFinite(_NonFiniteConstant):
    """A scale of a constant is NaN or infinite, and its values with it."""

    code: ClassVar[CauseCode] = CauseCode.PARAMETERS

    def fix(self) -> Fix:
        """Quantize again."""
        return TensorFix(action=QUANTIZE_AGAIN, tensor=self.constant)
