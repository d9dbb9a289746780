"""`pipeline.json` to a Pipeline and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.pipeline import image_steps as image

SCHEMA: Final = "windtunnel.pipeline/1"


@dataclass(frozen=True, slots=True)
class Step:
    """One op with all its fields, defaults filled in."""

    op: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Preprocessing as data: from raw samples to what the model takes."""

    steps: tuple[Step, ...]
    task: str | None = None
    name: str | None = None
    description: str | None = None

    @classmethod
    def parse(cls, obj: Mapping[str, Any]) -> Pipeline:
        """Reads the content of a pipeline.json.

        Args:
            obj: the decoded JSON.

        Returns:
            The pipeline.

        Raises:
            InvalidInput: the first thing that is wrong; it names the step, counted from 0, and the field.
        """
        if not isinstance(obj, Mapping):
            raise InvalidInput(
                f"a pipeline is an object, not {type(obj).__name__}", hint=f'{{"schema": "{SCHEMA}", ...}}'
            )
        # Here, not at the top: pydantic takes 0.1 s to import.
        from windtunnel.documents import DocumentRefused, validated
        from windtunnel.pipeline.pipeline_document import PipelineDocument

        try:
            document = validated(PipelineDocument, obj)
        except DocumentRefused as refused:
            raise InvalidInput(_with_place(refused.message, refused.path), hint=refused.hint) from None
        steps = tuple(Step(step.op, step.values()) for step in document.steps)
        return cls(steps, document.task, document.name, document.description)

    def to_json(self) -> dict[str, Any]:
        """The pipeline as the content of a pipeline.json; `parse` reads it back equal.

        Returns:
            An object of JSON, with all defaults filled in.
        """
        texts = {"task": self.task, "name": self.name, "description": self.description}
        return {
            "schema": SCHEMA,
            **{key: value for key, value in texts.items() if value is not None},
            "steps": [{"op": step.op, **step.fields} for step in self.steps],
        }

    def apply(self, raw: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> NDArray[Any]:
        """Runs the steps on raw images.

        Steps that work value by value (`normalize`, `cast`, and `channel_order` of 3 channels) take numbers of any
        shape and type too.

        Args:
            raw: uint8 RGB, (N, H, W, 3) or a list of (H, W, 3) of any sizes; for steps that work value by value numbers
                (N, ...).

        Returns:
            (N, H', W', 3), or (N, 3, H', W') after `layout` NCHW; float32 after resize, letterbox and normalize,
            otherwise uint8 or what `cast` says.

        Raises:
            InvalidInput: the images do not fit the steps, or results differ in shape.
            Unsupported: a step works on audio or text.
        """
        from windtunnel.pipeline.pipeline_document import OPS

        for index, step in enumerate(self.steps):
            if (kind := OPS[step.op].works_on) in ("audio", "text"):
                raise Unsupported(
                    f"pipeline: step {index} ({step.op}) works on {kind}",
                    hint="preprocess the samples beforehand and leave the pipeline out",
                )
        return image.run([(step.op, step.fields) for step in self.steps], raw)


def _with_place(message: str, path: tuple[str | int, ...]) -> str:
    """What is wrong with a pipeline, as a sentence: the step and the field, and what is the matter with it."""
    where, field = "pipeline", path
    if path[:1] == ("steps",) and len(path) > 1:
        op, field = (f" ({path[2]})" if len(path) > 2 else ""), path[3:]
        where = f"pipeline: step {path[1]}{op}"
    if message.startswith("unknown "):
        return f"{where}: {message}"
    if not field:
        return f"{where} {message}"
    item = "".join(f", item {part}," for part in field[1:])
    return f"{where}: field {field[0]!r}{item} {message}"
