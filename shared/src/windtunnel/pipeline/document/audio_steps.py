"""The steps that work on audio: waveforms, frames, spectra."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from windtunnel.documents import problem
from windtunnel.pipeline.document.field_types import Length, NotNegative, Positive, Rate, WithoutNull
from windtunnel.pipeline.document.op import Op


class Resample(Op):
    """Another sample rate. polyphase: as scipy.signal.resample_poly by default; linear: without a filter."""

    op: Literal["resample"]
    to: Rate = Field(description="Hz, a whole number")
    method: Literal["polyphase", "linear"] = "polyphase"


class Frame(Op):
    """Cuts into frames; lengths in samples, no padding."""

    op: Literal["frame"]
    length: Length
    step: Length


class Window(Op):
    """Weights each frame, as scipy.signal.get_window; periodic: one period, otherwise symmetric."""

    op: Literal["window"]
    kind: Literal["hann", "hamming", "none"] = "hann"
    periodic: bool = True


class Spectrogram(Op):
    """|FFT| ** power of each frame; FFT length = frame length, unless `fft_length` says another."""

    op: Literal["spectrogram"]
    power: Positive = 2.0
    fft_length: Annotated[Length | None, WithoutNull] = Field(
        None, description="zeros are appended to each frame; absent: the frame length"
    )


class Mel(Op):
    """As tf.signal.linear_to_mel_weight_matrix, at the sample rate in force."""

    op: Literal["mel"]
    bins: Length
    low: NotNegative = Field(description="Hz")
    high: Positive = Field(description="Hz, at most half the sample rate")

    @model_validator(mode="after")
    def _rising(self) -> Any:
        if self.low >= self.high:
            raise problem(f"is {self.low:g}, not below 'high', which is {self.high:g}", at=("low",))
        return self


class Log(Op):
    """Of max(x, floor); db is 10 log10."""

    op: Literal["log"]
    kind: Literal["ln", "log10", "db"] = "ln"
    floor: NotNegative = 0.0
