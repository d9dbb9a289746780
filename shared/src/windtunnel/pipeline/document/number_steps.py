"""The steps that work on numbers of any kind."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from windtunnel.pipeline.document.field_types import DType, Length, Number, PerChannel, Scale
from windtunnel.pipeline.document.op import Op


class Normalize(Op):
    """y = x * scale + offset in float32; a number, or one per channel in the order the channels have at this step."""

    op: Literal["normalize"]
    scale: Scale = Field(1.0, description="not 0")
    offset: PerChannel = 0.0


class Cast(Op):
    """Another element type."""

    op: Literal["cast"]
    to: DType
    rounding: Literal["truncate", "nearest"] = "truncate"
    saturate: bool = False


class Pad(Op):
    """Appends `value` to ids or waveforms up to `length`; cuts the end of what is longer."""

    op: Literal["pad"]
    length: Length
    value: Number = 0
