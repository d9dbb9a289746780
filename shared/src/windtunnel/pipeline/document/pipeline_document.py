"""pipeline.json as a pydantic model; its JSON Schema is generated from it (tools/generate_schemas.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, Self, get_args

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, WithJsonSchema, model_validator

from windtunnel.documents import Document, nearest, problem
from windtunnel.documents.field_types import AsList, with_error
from windtunnel.pipeline.document import SCHEMA
from windtunnel.pipeline.document.audio_steps import Frame, Log, Mel, Resample, Spectrogram, Window
from windtunnel.pipeline.document.field_types import WithoutNull, Word
from windtunnel.pipeline.document.image_steps import (
    CentralCrop,
    ChannelOrder,
    Gamma,
    Layout,
    Letterbox,
    Mirror,
    Resize,
    Rotate,
    YuvToRgb,
)
from windtunnel.pipeline.document.number_steps import Cast, Normalize, Pad
from windtunnel.pipeline.document.op import Op
from windtunnel.pipeline.document.postprocess_document import SsdDocument
from windtunnel.pipeline.document.text_steps import Lowercase, Mask, NormalizeUnicode, Tokenize
from windtunnel.pipeline.ops.kinds import KINDS

MAX_STEPS: Final = 100

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
    | YuvToRgb
    | Gamma
    | Mask
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


Steps = Annotated[list[StepDocument], Field(max_length=MAX_STEPS), AsList]


class InputDocument(Document):
    """The steps of one input of a model."""

    called: ClassVar[str] = "an input"
    camel_case: ClassVar[bool] = False
    missing_is_null: ClassVar[bool] = False

    steps: Steps


class PipelineDocument(Document):
    """Preprocessing as data: from raw samples to what the model takes; for detectors also what follows the model."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["steps"]}, {"required": ["inputs"]}]})
    called: ClassVar[str] = "a pipeline"
    camel_case: ClassVar[bool] = False

    schema_: Annotated[
        Literal["windtunnel.pipeline/1"],
        with_error(lambda value: problem(f"is {value!r}", f"this version reads {SCHEMA!r}")),
    ] = Field(alias="schema")
    task: _OptionalText = None
    steps: Annotated[Steps | None, WithoutNull] = None
    inputs: Annotated[
        Annotated[dict[Word, InputDocument], Field(min_length=1)] | None,
        WithoutNull,
        Field(description="of a model with several inputs: the steps of each, by its name"),
    ] = None
    postprocess: Annotated[SsdDocument | None, WithoutNull] = None
    name: _OptionalText = None
    description: _OptionalText = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.steps is not None and self.inputs is not None:
            raise problem(
                "is given in addition to 'steps'", "a pipeline has steps, or inputs with steps each", ("inputs",)
            )
        if self.steps is None and self.inputs is None:
            raise problem("is missing", at=("steps",))
        if self.steps is not None:
            _check_kinds(self.steps, self.task, ("steps",))
        for name, one in (self.inputs or {}).items():
            _check_kinds(one.steps, None, ("inputs", name, "steps"))
        return self


def _check_kinds(steps: Sequence[Op], task: str | None, at: tuple[str, ...]) -> None:
    """One sequence of steps works on one kind of sample.

    Raises:
        PydanticCustomError: it does not.
    """
    kinds = [(index, step, KINDS[step.op]) for index, step in enumerate(steps) if KINDS[step.op] != "any"]
    for index, step, kind in kinds[1:]:
        if kind != kinds[0][2]:
            raise problem(
                f"works on {kind}, step {kinds[0][0]} on {kinds[0][2]}",
                "one pipeline works on one kind of sample",
                (*at, index, step.op),
            )
    if kinds and task in ("audio", "text") and kinds[0][2] != task:
        raise problem(f"is {task!r}, but step {kinds[0][0]} works on {kinds[0][2]}", at=("task",))
