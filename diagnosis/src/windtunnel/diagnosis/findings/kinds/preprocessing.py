"""What an app does to a sample on the way to the model, and the pipeline says otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.document import OPTIONAL, in_fix
from windtunnel.diagnosis.findings.fixes import Fix
from windtunnel.plain_text import figure, layer_title

_DIGITS: Final = ".4g"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a replay showed: the nRMSE of the input without and with the difference, and with the fix.

    `before`: of what the app fed, against the pipeline. `without`: of the best explanation in which this is right.
    `explained`: of the whole explanation. `frames`: how many were replayed.
    """

    before: float
    without: float
    explained: float
    frames: int

    def words(self) -> str:
        """For people."""
        return (
            f"replayed on {self.frames} frames, the explanation leaves an nRMSE of {figure(self.explained, '.2g')}; "
            f"without this difference {figure(self.without, '.2g')}; the input differs by {figure(self.before, '.2g')}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessingFinding(CauseFinding):
    """The base of all: `app` and `pipeline` say in words what each does; `how` is the action that fixes it.

    `input`: of a model with several inputs.
    """

    is_family: ClassVar[bool] = True
    app: str
    pipeline: str
    proof: Proof
    input: str | None = field(default=None, metadata=OPTIONAL)
    how: str = field(default="", metadata=in_fix("action"))

    def fix(self) -> Fix:
        """What makes the app do as the pipeline says."""
        return Fix(action=self.how)

    def words(self) -> tuple[str, ...]:
        """Both sides, and the replay."""
        where = "" if self.input is None else f"input {layer_title(self.input)}: "
        return (f"{where}app: {self.app}; pipeline: {self.pipeline}", self.proof.words())


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOrderFinding(PreprocessingFinding):
    """The channels are in another order, for example BGR."""

    code: ClassVar[CauseCode] = CauseCode.PREPROCESSING_CHANNEL_ORDER
    order: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutFinding(PreprocessingFinding):
    """The memory is in the other order, whatever shape it carries."""

    code: ClassVar[CauseCode] = CauseCode.PREPROCESSING_LAYOUT


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeFinding(PreprocessingFinding):
    """Another method of resizing, or antialiasing."""

    code: ClassVar[CauseCode] = CauseCode.PREPROCESSING_RESIZE
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CropFinding(PreprocessingFinding):
    """Another part of the image, or another aspect."""

    code: ClassVar[CauseCode] = CauseCode.PREPROCESSING_CROP
    framing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRangeFinding(PreprocessingFinding):
    """Values of another range: reference = value * `scale` + `offset`, one number or one per channel."""

    code: ClassVar[CauseCode] = CauseCode.PREPROCESSING_RANGE
    scale: tuple[float, ...]
    offset: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrientationFinding(PreprocessingFinding):
    """Images that are turned or mirrored: all, or some (`frames_turned` of `frames`)."""

    code: ClassVar[CauseCode] = CauseCode.PREPROCESSING_ORIENTATION
    turned: int
    of_frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DtypeFinding(PreprocessingFinding):
    """Values that are rounded or truncated on the way."""

    code: ClassVar[CauseCode] = CauseCode.PREPROCESSING_DTYPE
    rounding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorFinding(PreprocessingFinding):
    """Another YUV matrix or range, gamma, gray."""

    code: ClassVar[CauseCode] = CauseCode.PREPROCESSING_COLOR
    change: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrogramFinding(PreprocessingFinding):
    """Another audio front end. `step`: the op of the pipeline that differs."""

    code: ClassVar[CauseCode] = CauseCode.PREPROCESSING_SPECTROGRAM
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResamplingFinding(PreprocessingFinding):
    """Audio of another rate, or resampled by another method."""

    code: ClassVar[CauseCode] = CauseCode.PREPROCESSING_RESAMPLING
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFinding(PreprocessingFinding):
    """Another way from text to ids. `step`: the op of the pipeline that differs."""

    code: ClassVar[CauseCode] = CauseCode.PREPROCESSING_TEXT
    step: str
