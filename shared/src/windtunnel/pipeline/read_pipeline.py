"""`pipeline.json` to a Pipeline and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.pipeline.document import SCHEMA
from windtunnel.pipeline.ops.kinds import Kind
from windtunnel.pipeline.postprocess.ssd import SsdPostprocess
from windtunnel.pipeline.run_steps import Raw, advance, begin, finished, kind_of
from windtunnel.pipeline.steps import Step, StepFunction

if TYPE_CHECKING:
    from windtunnel.pipeline.document.pipeline_document import PipelineDocument

__all__ = ["SCHEMA", "Pipeline", "Step"]
# Tasks that say what their raw samples are.
_KINDS: Mapping[str, Kind] = {"audio": "audio", "text": "text"}


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Preprocessing as data: from raw samples to what the model takes; for detectors also what follows the model.

    `inputs`: the steps of each input by its name, for a model with several; then `steps` is empty.
    """

    steps: tuple[Step, ...]
    task: str | None = None
    name: str | None = None
    description: str | None = None
    inputs: Mapping[str, tuple[Step, ...]] = field(default_factory=lambda: MappingProxyType({}))
    postprocess: SsdPostprocess | None = None

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
        from windtunnel.pipeline.document.pipeline_document import PipelineDocument

        try:
            return _pipeline(validated(PipelineDocument, obj))
        except DocumentRefused as refused:
            raise InvalidInput(_with_place(refused.message, refused.path), hint=refused.hint) from None

    @classmethod
    def of_function(cls, function: StepFunction, task: str | None = None) -> Pipeline:
        """A pipeline that is a Python function. It works in this process only: pipeline.json cannot carry it.

        Args:
            function: from raw samples (N, ...) to what the model takes (N, ...).
            task: what the model does.

        Returns:
            The pipeline.
        """
        return cls((Step.of_function(function),), task)

    def to_json(self) -> dict[str, Any]:
        """The pipeline as the content of a pipeline.json; `parse` reads it back equal.

        Returns:
            An object of JSON, with all defaults filled in.

        Raises:
            Unsupported: a step is a Python function.
        """
        texts = {"task": self.task, "name": self.name, "description": self.description}
        steps: dict[str, Any] = {"steps": _steps_to_json(self.steps)}
        if self.inputs:
            steps = {"inputs": {name: {"steps": _steps_to_json(one)} for name, one in self.inputs.items()}}
        after = {} if self.postprocess is None else {"postprocess": {"kind": "ssd", **asdict(self.postprocess)}}
        return {
            "schema": SCHEMA,
            **{key: value for key, value in texts.items() if value is not None},
            **steps,
            **after,
        }

    @property
    def kind(self) -> Kind:
        """What the raw samples are; "any" if neither the steps nor the task say it. Of the first input if several."""
        steps = next(iter(self.inputs.values()), self.steps)
        return kind_of(steps, _KINDS.get(self.task or ""))

    def steps_of(self, name: str) -> tuple[Step, ...]:
        """The steps that prepare an input.

        Args:
            name: of the input; does not matter for a pipeline without `inputs`.

        Returns:
            The steps.

        Raises:
            InvalidInput: the pipeline does not name this input.
        """
        if not self.inputs:
            return self.steps
        if name not in self.inputs:
            raise InvalidInput(
                f"pipeline: there is no input {name!r}", hint=f"it has steps for {', '.join(map(repr, self.inputs))}"
            )
        return self.inputs[name]

    def apply(self, raw: Raw, *, sample_rate_hz: float | None = None, name: str = "") -> NDArray[Any]:
        """Runs the steps on raw samples.

        Steps that work value by value (`normalize`, `cast`, `pad`, and `channel_order` of 3 channels) take numbers of
        any shape and type too.

        Args:
            raw: images uint8 RGB, (N, H, W, 3) or a list of (H, W, 3) of any sizes. Waveforms are float (N, samples)
                in [-1, 1], or a list of (samples,) of any lengths. Texts are (N,) of str.
            sample_rate_hz: of waveforms; None: not known.
            name: of the input, for a pipeline with `inputs`.

        Returns:
            (N, ...): images (N, H', W', 3), or (N, 3, H', W') after `layout` NCHW, float32 after resize, letterbox and
            normalize, otherwise uint8 or what `cast` says; audio float32; ids int32.

        Raises:
            InvalidInput: the samples do not fit the steps, or results differ in shape.
        """
        steps = self.steps_of(name)
        place = f"pipeline: input {name!r}," if self.inputs else "pipeline:"
        values = begin(raw, steps, sample_rate_hz=sample_rate_hz, kind=_KINDS.get(self.task or ""), place=place)
        return finished(advance(values, steps))


def _pipeline(document: PipelineDocument) -> Pipeline:
    inputs = {name: _steps(one.steps) for name, one in (document.inputs or {}).items()}
    after = document.postprocess
    values = (
        {} if after is None else {name: getattr(after, name) for name in type(after).model_fields if name != "kind"}
    )
    return Pipeline(
        _steps(document.steps or ()),
        document.task,
        document.name,
        document.description,
        inputs,
        None if after is None else SsdPostprocess(**values),
    )


def _steps(documents: Sequence[Any]) -> tuple[Step, ...]:
    return tuple(Step(one.op, one.values()) for one in documents)


def _steps_to_json(steps: Sequence[Step]) -> list[dict[str, Any]]:
    for index, step in enumerate(steps):
        if step.function is not None:
            raise Unsupported(
                f"pipeline: step {index} is a Python function, which pipeline.json cannot carry",
                hint="use it in the process that made it, or express it in ops",
            )
    return [
        {"op": step.op, **{name: value for name, value in step.fields.items() if value is not None}} for step in steps
    ]


def _with_place(message: str, path: tuple[str | int, ...]) -> str:
    """What is wrong with a pipeline, as a sentence: the step and the field, and what is the matter with it."""
    where, field = "pipeline", path
    if path[:1] == ("inputs",) and len(path) > 2:
        where, path = f"pipeline: input {str(path[1])!r}", path[2:]
        field = path
    if path[:1] == ("steps",) and len(path) > 1:
        op, field = (f" ({path[2]})" if len(path) > 2 else ""), path[3:]
        where = f"{where}{',' if 'input' in where else ':'} step {path[1]}{op}"
    elif path[:1] == ("postprocess",) and len(path) > 1:
        where, field = "pipeline: postprocess", path[1:]
    if message.startswith("unknown "):
        return f"{where}: {message}"
    if not field:
        return f"{where} {message}"
    item = "".join(f", item {part}," for part in field[1:])
    return f"{where}: field {field[0]!r}{item} {message}"
