"""`pipeline.json` to a Pipeline and back."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.pipeline import image
from windtunnel.pipeline.fields import OPS, REQUIRED, Op

SCHEMA = "windtunnel.pipeline/1"
_KEYS = ("schema", "task", "steps", "name", "description")
_MAX_STEPS = 100


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
        """Read the content of a pipeline.json. Raises InvalidInput naming the step, counted from 0, and the field."""
        if not isinstance(obj, Mapping):
            raise InvalidInput(
                f"a pipeline is an object, not {type(obj).__name__}", hint=f'{{"schema": "{SCHEMA}", ...}}'
            )
        _known("pipeline", "field", obj, _KEYS)
        if obj.get("schema") != SCHEMA:
            raise InvalidInput(f"pipeline: schema is {obj.get('schema')!r}", hint=f"this version reads {SCHEMA!r}")
        steps = obj.get("steps")
        if not isinstance(steps, list | tuple) or len(steps) > _MAX_STEPS:
            raise InvalidInput("pipeline: steps is missing or no list", hint=f"a list of at most {_MAX_STEPS} steps")
        parsed = tuple(_step(index, step) for index, step in enumerate(steps))
        texts = {key: _text(key, obj.get(key)) for key in ("task", "name", "description")}
        pipeline = cls(parsed, **texts)
        pipeline._check_kinds()
        return pipeline

    def to_json(self) -> dict[str, Any]:
        """The same as the content of a pipeline.json; `parse` reads it back equal."""
        texts = {"task": self.task, "name": self.name, "description": self.description}
        return {
            "schema": SCHEMA,
            **{key: value for key, value in texts.items() if value is not None},
            "steps": [{"op": step.op, **step.fields} for step in self.steps],
        }

    def apply(self, raw: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> NDArray[Any]:
        """Run the steps on raw images: uint8 RGB, (N, H, W, 3) or a list of (H, W, 3) of any sizes.

        Steps that work value by value (`normalize`, `cast`, and `channel_order` of 3 channels) take an array (N, ...)
        of numbers of any shape and type. Returns (N, H', W', 3), or (N, 3, H', W') after `layout` NCHW; float32 after
        resize, letterbox and normalize, otherwise uint8 or what `cast` says. Raises InvalidInput (also where results
        differ in shape), Unsupported for audio and text.
        """
        for index, step in enumerate(self.steps):
            if OPS[step.op].kind in {"audio", "text"}:
                raise Unsupported(
                    f"pipeline: step {index} ({step.op}) works on {OPS[step.op].kind}",
                    hint="preprocess the samples beforehand and leave the pipeline out",
                )
        return image.run([(step.op, step.fields) for step in self.steps], raw)

    def _check_kinds(self) -> None:
        first: tuple[int, str] | None = None
        for index, step in enumerate(self.steps):
            kind = OPS[step.op].kind
            if kind == "any":
                continue
            if first is None:
                first = (index, kind)
            elif kind != first[1]:
                raise InvalidInput(
                    f"pipeline: step {index} ({step.op}) works on {kind}, step {first[0]} on {first[1]}",
                    hint="one pipeline works on one kind of sample",
                )
        if first is not None and self.task == "audio" and first[1] != "audio":
            raise InvalidInput(f"pipeline: task is 'audio', but step {first[0]} works on {first[1]}")


def _step(index: int, obj: Any) -> Step:
    if not isinstance(obj, Mapping) or not isinstance(obj.get("op"), str):
        raise InvalidInput(
            f"pipeline: step {index} has no field 'op'", hint='for example {"op": "rotate", "degrees": 90}'
        )
    name = obj["op"]
    where = f"pipeline: step {index}"
    _known(where, "op", [name], OPS)
    where = f"{where} ({name})"
    op = OPS[name]
    given = {key: value for key, value in obj.items() if key != "op"}
    if op.open:
        return Step(name, given)
    _known(where, "field", given, op.fields)
    return Step(name, _values(where, op, given))


def _values(where: str, op: Op, given: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, field in op.fields.items():
        if key not in given:
            if field.default is REQUIRED:
                raise InvalidInput(f"{where}: field {key!r} is missing")
            values[key] = field.default
            continue
        try:
            values[key] = field.check(given[key])
        except ValueError as error:
            raise InvalidInput(f"{where}: field {key!r} {error}, not {str(given[key])[:80]!r}") from None
    return values


def _known(where: str, what: str, given: Iterable[Any], known: Iterable[str]) -> None:
    names = list(known)
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
            raise InvalidInput(f"{where}: unknown {what} {str(name)[:80]!r}", hint=hint)


def _text(key: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InvalidInput(f"pipeline: {key} must be a text, not {type(value).__name__}")
    return value
