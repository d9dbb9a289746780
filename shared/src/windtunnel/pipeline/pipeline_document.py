"""pipeline.json as pydantic models, one per op; its JSON Schema is generated from them (tools/generate_schemas.py).

To add an op, write its model here and list it in `_Ops`. Importing this takes 0.1 s: import it where a pipeline
is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from windtunnel.documents import Document, nearest, problem
from windtunnel.documents.field_types import MANY, ONE, AsList, AsWritten, how_many, must_be, with_error
from windtunnel.pipeline.read_pipeline import SCHEMA
from windtunnel.pipeline.resize import Method

MAX_SIDE: Final = 16_384
MAX_STEPS: Final = 100

# What an op works on.
Kind = Literal["image", "audio", "text", "any"]
DType = Literal["float32", "float16", "float64", "uint8", "int8", "uint16", "int16", "int32", "int64"]


def _whole(value: Any) -> Any:
    # A literal of pydantic's takes False for 0.
    if type(value) is not int:
        raise ValueError("not a whole number")
    return value


def _not_zero(value: float) -> float:
    if value == 0:
        raise problem("must not be 0, which would erase the image")
    return value


Side = Annotated[int, Field(ge=1, le=MAX_SIDE), must_be(f"a whole number from 1 to {MAX_SIDE}")]
Size = Annotated[
    list[Side],
    Field(min_length=2, max_length=2, description="[height, width] in pixels"),
    AsList,
    must_be("[height, width]"),
]
Number = Annotated[float, Field(allow_inf_nan=False), must_be("a finite number"), AsWritten]
Factor = Annotated[
    float,
    Field(allow_inf_nan=False, json_schema_extra={"not": {"const": 0}}),
    AfterValidator(_not_zero),
    must_be("a finite number"),
    AsWritten,
]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), must_be("a number above 0"), AsWritten]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), must_be("a number, 0 or more"), AsWritten]
Count = Annotated[int, Field(ge=1), must_be("a whole number above 0")]
Word = Annotated[str, Field(min_length=1)]
_three = with_error(lambda value: problem(f"must be one number or 3, one per channel; has {len(value)}"))
PerChannel = Annotated[
    Annotated[Number, Tag(ONE)] | Annotated[list[Number], Field(min_length=3, max_length=3), AsList, _three, Tag(MANY)],
    Discriminator(how_many),
    must_be("a finite number"),
]
Scale = Annotated[
    Annotated[Factor, Tag(ONE)] | Annotated[list[Factor], Field(min_length=3, max_length=3), AsList, _three, Tag(MANY)],
    Discriminator(how_many),
    must_be("a finite number"),
]


class Op(Document):
    """One step of a pipeline."""

    called: ClassVar[str] = "a step"
    camel_case: ClassVar[bool] = False
    missing_is_null: ClassVar[bool] = False
    works_on: ClassVar[Kind]

    op: str

    def values(self) -> dict[str, Any]:
        """The fields of the op, with the defaults of those that are not given.

        Returns:
            The values by name, without `op`.
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields if name != "op"}
        return fields | (self.model_extra or {})


class ImageOp(Op):
    """A step that works on images."""

    works_on: ClassVar[Kind] = "image"


class AudioOp(Op):
    """A step that works on audio."""

    works_on: ClassVar[Kind] = "audio"


class TextOp(Op):
    """A step that works on text."""

    works_on: ClassVar[Kind] = "text"


class AnyOp(Op):
    """A step that works on values of any kind."""

    works_on: ClassVar[Kind] = "any"


class Resize(ImageOp):
    """As TensorFlow 2 tf.image.resize with half-pixel centers."""

    op: Literal["resize"]
    size: Size
    method: Method = "bilinear"
    antialias: bool = False


class CentralCrop(ImageOp):
    """The odd pixel stays below and to the right."""

    op: Literal["central_crop"]
    size: Size


class Letterbox(ImageOp):
    """Fits inside, centers and pads with `value`, as tf.image.resize_with_pad."""

    op: Literal["letterbox"]
    size: Size
    method: Method = "bilinear"
    antialias: bool = False
    value: PerChannel = Field(0, description="one number, or one per channel in the order they have at this step")


class Rotate(ImageOp):
    """Counter-clockwise."""

    op: Literal["rotate"]
    degrees: Annotated[Literal[0, 90, 180, 270], BeforeValidator(_whole), must_be("0, 90, 180 or 270")]


class Mirror(ImageOp):
    """horizontal swaps left and right."""

    op: Literal["mirror"]
    axis: Literal["horizontal", "vertical"] = "horizontal"


class ChannelOrder(ImageOp):
    """Puts the channels into this order."""

    op: Literal["channel_order"]
    to: Literal["RGB", "BGR"]


class Layout(ImageOp):
    """Puts the dimensions into this order."""

    op: Literal["layout"]
    to: Literal["NHWC", "NCHW"]


class Normalize(AnyOp):
    """y = x * scale + offset in float32; a number, or one per channel in the order the channels have at this step."""

    op: Literal["normalize"]
    scale: Scale = Field(1.0, description="not 0")
    offset: PerChannel = 0.0


class Cast(AnyOp):
    """Another element type."""

    op: Literal["cast"]
    to: DType
    rounding: Literal["truncate", "nearest"] = "truncate"
    saturate: bool = False


class Resample(AudioOp):
    """Another sample rate."""

    op: Literal["resample"]
    to: Positive = Field(description="Hz")


class Frame(AudioOp):
    """Cuts into frames; lengths in samples, no padding."""

    op: Literal["frame"]
    length: Count
    step: Count


class Window(AudioOp):
    """Weights each frame."""

    op: Literal["window"]
    kind: Literal["hann", "hamming", "none"]
    periodic: bool = True


class Spectrogram(AudioOp):
    """FFT length = frame length."""

    op: Literal["spectrogram"]
    power: Positive = 2.0


class Mel(AudioOp):
    """As tf.signal.linear_to_mel_weight_matrix."""

    op: Literal["mel"]
    bins: Count
    low: NotNegative = Field(description="Hz")
    high: Positive = Field(description="Hz")


class Log(AudioOp):
    """Of max(x, floor); db is 10 log10."""

    op: Literal["log"]
    kind: Literal["ln", "log10", "db"] = "ln"
    floor: NotNegative = 0.0


class Lowercase(TextOp):
    """Lower case."""

    op: Literal["lowercase"]


class NormalizeUnicode(TextOp):
    """A Unicode normal form. Its fields are not checked."""

    model_config = ConfigDict(extra="allow")

    op: Literal["normalize_unicode"]


class Tokenize(TextOp):
    """Ids of tokens."""

    op: Literal["tokenize"]
    vocabulary: Word
    kind: Literal["wordpiece", "bpe", "whitespace"]


class Pad(TextOp):
    """Appends, or cuts what is longer. Its fields are not checked."""

    model_config = ConfigDict(extra="allow")

    op: Literal["pad"]


_Ops = (
    Resize
    | CentralCrop
    | Letterbox
    | Rotate
    | Mirror
    | ChannelOrder
    | Layout
    | Normalize
    | Cast
    | Resample
    | Frame
    | Window
    | Spectrogram
    | Mel
    | Log
    | Lowercase
    | NormalizeUnicode
    | Tokenize
    | Pad
)
OPS: Final[Mapping[str, type[Op]]] = {
    get_args(model.model_fields["op"].annotation)[0]: model for model in get_args(_Ops)
}


def _known_op(value: Any) -> Any:
    if not isinstance(value, Mapping) or not isinstance(value.get("op"), str):
        raise problem("has no field 'op'", 'for example {"op": "rotate", "degrees": 90}')
    if value["op"] not in OPS:
        raise problem(f"unknown op {value['op'][:80]!r}", nearest(value["op"], OPS))
    return dict(value)


StepDocument = Annotated[_Ops, Discriminator("op"), BeforeValidator(_known_op)]
# Null is read as absent, and no pipeline should say it.
_OptionalText = Annotated[str | None, WithJsonSchema({"type": "string"})]


class PipelineDocument(Document):
    """Preprocessing as data: from raw samples to what the model takes."""

    called: ClassVar[str] = "a pipeline"
    camel_case: ClassVar[bool] = False

    schema_: Annotated[
        Literal["windtunnel.pipeline/1"],
        with_error(lambda value: problem(f"is {value!r}", f"this version reads {SCHEMA!r}")),
    ] = Field(alias="schema")
    task: _OptionalText = None
    steps: Annotated[list[StepDocument], Field(max_length=MAX_STEPS), AsList]
    name: _OptionalText = None
    description: _OptionalText = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        # One pipeline works on one kind of sample.
        kinds = [(index, step) for index, step in enumerate(self.steps) if step.works_on != "any"]
        for index, step in kinds[1:]:
            first = kinds[0]
            if step.works_on != first[1].works_on:
                raise problem(
                    f"works on {step.works_on}, step {first[0]} on {first[1].works_on}",
                    "one pipeline works on one kind of sample",
                    ("steps", index, step.op),
                )
        if kinds and self.task == "audio" and kinds[0][1].works_on != "audio":
            raise problem(f"is 'audio', but step {kinds[0][0]} works on {kinds[0][1].works_on}", at=("task",))
        return self
