"""The steps that work on images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from windtunnel.documents.field_types import must_be
from windtunnel.pipeline.document.field_types import PerChannel, Positive, Size, whole_number
from windtunnel.pipeline.document.op import Op
from windtunnel.pipeline.ops.image.resize import Method


class Resize(Op):
    """As TensorFlow 2 tf.image.resize with half-pixel centers."""

    op: Literal["resize"]
    size: Size
    method: Method = "bilinear"
    antialias: bool = False


class CentralCrop(Op):
    """The odd pixel stays below and to the right."""

    op: Literal["central_crop"]
    size: Size


class Letterbox(Op):
    """Fits inside, centers and pads with `value`, as tf.image.resize_with_pad."""

    op: Literal["letterbox"]
    size: Size
    method: Method = "bilinear"
    antialias: bool = False
    value: PerChannel = Field(0, description="one number, or one per channel in the order they have at this step")


class Rotate(Op):
    """Counter-clockwise."""

    op: Literal["rotate"]
    degrees: Annotated[Literal[0, 90, 180, 270], BeforeValidator(whole_number), must_be("0, 90, 180 or 270")]


class Mirror(Op):
    """horizontal swaps left and right."""

    op: Literal["mirror"]
    axis: Literal["horizontal", "vertical"] = "horizontal"


class ChannelOrder(Op):
    """Puts the channels into this order."""

    op: Literal["channel_order"]
    to: Literal["RGB", "BGR"]


class Layout(Op):
    """Puts the dimensions into this order."""

    op: Literal["layout"]
    to: Literal["NHWC", "NCHW"]


class YuvToRgb(Op):
    """Reads Y, U, V (4:4:4); the result is clipped to 0..255 and not rounded."""

    op: Literal["yuv_to_rgb"]
    matrix: Literal["bt601", "bt709"] = "bt601"
    range: Literal["full", "video"] = "full"


class Gamma(Op):
    """255 * (x / 255) ** exponent."""

    op: Literal["gamma"]
    exponent: Positive
