"""Ranges of activations that do not fit the samples: of one tensor, or of all, which is the calibration's fault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.document import in_fix
from windtunnel.diagnosis.findings.fixes import CalibrationFix, Fix, TensorFix
from windtunnel.diagnosis.findings.kinds.phrases import percent, span
from windtunnel.plain_text import figure, layer_title

CALIBRATE_TENSOR = "calibrate the tensor again"


@dataclass(frozen=True, slots=True)
class FileAndFitting:
    """A scale or a zero point in the file, and the one that would fit the samples."""

    file: float
    fitting: float


@dataclass(frozen=True, slots=True)
class ZeroPoints:
    """The zero point in the file, and the one that would fit the samples."""

    file: int
    fitting: int


@dataclass(frozen=True, slots=True)
class FileScale:
    """A scale in the file; None: it is infinite or NaN."""

    file: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeFinding(CauseFinding):
    """The range of one tensor, and of those bound to share it, against the samples.

    `held`: the quantization range; `seen`: the observed range of the reference; both in real units. `held_to_seen`:
    width by width. `values_outside`: share of values outside the quantization range. `tensor`: the place.
    """

    is_family: ClassVar[bool] = True
    code: ClassVar[CauseCode] = CauseCode.PARAMETERS
    tensors: tuple[str, ...]
    held: tuple[float, float]
    seen: tuple[float, float]
    held_to_seen: float
    values_outside: float
    scale: FileAndFitting
    zero_point: ZeroPoints
    tensor: str = field(default="", metadata=in_fix("tensor"))

    @property
    def is_doubtful(self) -> bool:
        """Whether other samples may explain the range."""
        return False

    @property
    def follows_float(self) -> bool:
        """Whether it is the range of what a layer in floats gives."""
        return False

    def fix(self) -> Fix:
        """The scale and zero point that fit."""
        return TensorFix(
            action=CALIBRATE_TENSOR,
            tensor=self.tensor,
            scale=self.scale.fitting,
            zero_point=self.zero_point.fitting,
        )

    def words(self) -> tuple[str, ...]:
        """The range, and what would fit."""
        return tuple(self.sentences("the tensor"))

    def sentences(self, subject: str) -> Iterator[str]:
        """The finding as sentences.

        Args:
            subject: the subject of the first one.

        Yields:
            Each sentence.
        """
        yield f"{subject} {range_words(self.held, self.seen, self.values_outside)}"
        for name, pair in (("scale", self.scale), ("zero point", self.zero_point)):
            if pair.fitting != pair.file:
                yield f"its {name} is {figure(pair.file)}, {figure(pair.fitting)} would fit"


def range_words(held: tuple[float, float], seen: tuple[float, float], values_outside: float) -> str:
    """A quantization range and an observed range.

    Args:
        held: the quantization range, in real units.
        seen: the observed range, in real units.
        values_outside: share of the values, 0 to 1.

    Returns:
        Words for people, a verb phrase.
    """
    share = f"; {percent(values_outside)} of the values are outside" if values_outside > 0 else ""
    return f"represents {span(held)}, the observed range is {span(seen)}{share}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeClipped(RangeFinding):
    """The range is too small: it cuts values off."""

    kind: Literal["clipped"] = "clipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeTooWide(RangeFinding):
    """The range is too large: its steps are too coarse."""

    kind: Literal["wide"] = "wide"
    doubtful: bool
    behind_float: bool

    @property
    def is_doubtful(self) -> bool:
        """As in the document."""
        return self.doubtful

    @property
    def follows_float(self) -> bool:
        """As in the document."""
        return self.behind_float


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroPointShifted(RangeFinding):
    """The range is shifted: the zero point is `shift_steps` too high (negative: too low)."""

    kind: Literal["zero_point"] = "zero_point"
    shift_steps: int
    doubtful: bool
    starts_at_0: bool

    @property
    def is_doubtful(self) -> bool:
        """As in the document."""
        return self.doubtful


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationFinding(CauseFinding):
    """Many ranges are off, in one way: `ranges_off` of `ranges`; `first` is the first of them."""

    is_family: ClassVar[bool] = True
    ranges_off: int
    ranges: int
    median_held_to_seen: float
    first: RangeClipped | RangeTooWide

    def fix(self) -> Fix:
        """Calibrate with other samples."""
        return CalibrationFix(action="calibrate again", samples="about 100 samples like those that the model meets")

    def words(self) -> tuple[str, ...]:
        """How many, and the first."""
        return (
            f"{self.ranges_off} of {self.ranges} activation ranges are off; the median one is "
            f"{figure(self.median_held_to_seen)} times the observed range",
            *self.first.sentences("the first one"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationClipped(CalibrationFinding):
    """The calibrated ranges are too small for the samples."""

    code: ClassVar[CauseCode] = CauseCode.CALIBRATION_CLIPPED


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationTooWide(CalibrationFinding):
    """The calibrated ranges are too large for the samples."""

    code: ClassVar[CauseCode] = CauseCode.CALIBRATION_WIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleInvalid(CauseFinding):
    """The scale of an activation is zero, negative, NaN or infinite."""

    code: ClassVar[CauseCode] = CauseCode.PARAMETERS
    tensors: tuple[str, ...]
    scale: FileScale

    def fix(self) -> Fix:
        """Calibrate the tensor."""
        return TensorFix(action=CALIBRATE_TENSOR, tensor=self.tensors[0])

    def words(self) -> tuple[str, ...]:
        """The scale."""
        return (f"the scale of {layer_title(self.tensors[0])} is {figure(self.scale.file)}: it must be positive",)
