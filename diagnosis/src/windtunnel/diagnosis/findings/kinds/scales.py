"""One scale for parts of very different range: channels of weights, parts of a tensor, values next to a mask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.document import HIDDEN, in_fix
from windtunnel.diagnosis.findings.fixes import ConstantFix, Fix, TensorFix
from windtunnel.diagnosis.findings.kinds.phrases import span
from windtunnel.diagnosis.findings.kinds.ranges import FileScale
from windtunnel.plain_text import figure, layer_title

# What the parts of a tensor are.
PartKind = Literal["concatenation", "channels"]
_PARTS_SHOWN: Final = 6
_SEPARATE: Final = (
    "give each part an output of its own, scale the parts to one range, or keep this op in float; calibrating again "
    "does not help, because the parts share the scale"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PerTensorTooCoarse(CauseFinding):
    """Weights have one scale for channels whose ranges differ widely.

    `channels`: how many; `largest_to_median_channel`: of their largest values; `median_bits_lost`: by the median
    channel; `worst_channel_relative_error`: rounding error of the worst one as a share of its own root mean square.
    """

    code: ClassVar[CauseCode] = CauseCode.PER_TENSOR
    constant: str
    channels: int
    largest_to_median_channel: float
    median_bits_lost: float
    worst_channel_relative_error: float

    def fix(self) -> Fix:
        """One scale per channel."""
        return TensorFix(action="quantize the weights per channel", tensor=self.constant)

    def words(self) -> tuple[str, ...]:
        """How far the channels differ."""
        return (
            f"weights {layer_title(self.constant)} have one scale for {self.channels} channels: the largest is "
            f"{figure(self.largest_to_median_channel)} times the median one, which loses "
            f"{figure(self.median_bits_lost, '.1f')} bits by it",
        )


@dataclass(frozen=True, slots=True)
class LostPart:
    """A part that the scale does not resolve: `channels` are its first and last one, `range` what it reaches.

    `steps`: quantization steps in its own range. `constant`: all its values are rounded to one, `value`.
    """

    layer: str
    channels: tuple[int, int]
    range: tuple[float, float]
    steps: float
    constant: bool
    value: float | None

    def words(self) -> str:
        """What is lost of it."""
        low, high = self.channels
        channels = f"channel {low} is" if low == high else f"channels {low}-{high} are"
        value = "" if self.value is None else f" {figure(self.value)}"
        rest = f"constant{value}" if self.constant else f"left with {figure(self.steps)} quantization steps"
        return f"{channels} lost ({rest}): {layer_title(self.layer)} reaches {span(self.range)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedScale(CauseFinding):
    """One scale for parts of a tensor, some of which are `lost`; `others` is the range that another part needs.

    `tensor`: the one whose scale it is. `fewest_steps`: a part with fewer steps than this is lost.
    """

    code: ClassVar[CauseCode] = CauseCode.SHARED_SCALE
    kind: PartKind
    lost: tuple[LostPart, ...]
    scale: FileScale
    others: tuple[float, float]
    fewest_steps: float
    tensor: str = field(default="", metadata=in_fix("tensor"))

    def fix(self) -> Fix:
        """Separate the parts."""
        return TensorFix(action=_SEPARATE, tensor=self.tensor)

    def words(self) -> tuple[str, ...]:
        """What is lost, and why."""
        return (
            *(one.words() for one in self.lost[:_PARTS_SHOWN]),
            f"one scale, {figure(self.scale.file)}, for parts of very different range: another part has "
            f"{span(self.others)}",
        )


@dataclass(frozen=True, slots=True)
class MaskConstant:
    """A constant of the reference of extreme size; `size` None: it is infinite."""

    constant: str
    size: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskScale(CauseFinding):
    """A mask of extreme size sets the scale of a tensor; `rest` is the range of its other values, in `steps`.

    `smaller`: the size of a mask that does the same; None: a value at the end of the data does.
    """

    code: ClassVar[CauseCode] = CauseCode.SHARED_SCALE
    kind: Literal["mask_constant"] = "mask_constant"
    mask: MaskConstant
    rest: tuple[float, float]
    steps: float
    scale: FileScale
    smaller: float | None = field(default=None, metadata=HIDDEN)

    def fix(self) -> Fix:
        """A smaller mask, or float."""
        if self.smaller is None:
            low, high = self.rest
            action = (
                f"use a value at the end of the data ({low:.3g} to {high:.3g}) in place of the constant, or keep "
                "this op in float; calibrating again does not help, because the constant sets the scale"
            )
        else:
            action = (
                f"use a mask of about -{self.smaller:g} in place of the constant, or keep this op and the softmax "
                "behind it in float; calibrating again does not help, because the mask sets the scale"
            )
        return ConstantFix(action=action, constant=self.mask.constant)

    def words(self) -> tuple[str, ...]:
        """What the mask leaves of the rest."""
        return tuple(self._words())

    def _words(self) -> Iterator[str]:
        size = "infinite" if self.mask.size is None else f"{figure(self.mask.size)} in size"
        yield (
            f"the mask constant {layer_title(self.mask.constant)} is {size} and sets the scale: the rest, "
            f"{span(self.rest)}, is left with {figure(self.steps)} quantization steps"
        )
