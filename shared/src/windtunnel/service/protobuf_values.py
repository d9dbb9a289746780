"""Between plain values and the shared protobuf types."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

from google.protobuf.message import Message

from windtunnel.artifacts import ArtifactRef
from windtunnel.datacheck.classifier_scores import Scores
from windtunnel.datacheck.findings import Finding
from windtunnel.enum_words import PLATFORM
from windtunnel.errors import InvalidInput, JobFailed, WindtunnelError
from windtunnel.farms.properties import FarmProperties, properties_of
from windtunnel.tasks.task_sums import TaskFigures
from windtunnel.tflite import ModelFacts, TensorFacts, precision
from windtunnel.v1 import types_pb2

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# Characters of a failure's message and hint.
LONGEST_TEXT: Final = 2000
# Characters of a finding's evidence.
LONGEST_EVIDENCE: Final = 16_000
_LEFT_OUT_NAMED: Final = 10

M = TypeVar("M", bound=Message)
V = TypeVar("V", bound="DataclassInstance")


def message_of(kind: type[M], value: DataclassInstance) -> M:
    """A flat value as a message whose fields have the same names.

    Args:
        kind: message type.
        value: None fields are absent in the message.

    Returns:
        The message.

    Raises:
        ValueError: the message does not have a field, or a field cannot hold its number.
    """
    return kind(**{field.name: getattr(value, field.name) for field in fields(value)})


def value_of(kind: type[V], message: Message) -> V:
    """A message as a flat value whose fields have the same names.

    Args:
        kind: dataclass.
        message: any message.

    Returns:
        Absent fields are None.
    """
    known = message.DESCRIPTOR.fields_by_name
    return kind(
        **{
            field.name: None
            if known[field.name].has_presence and not message.HasField(field.name)
            else getattr(message, field.name)
            for field in fields(kind)
        }
    )


def farm_properties_to_proto(properties: FarmProperties) -> types_pb2.FarmProperties:
    """The properties of a farm on the wire.

    Args:
        properties: of the farm.

    Returns:
        The message.
    """
    return types_pb2.FarmProperties(
        platform=PLATFORM.number(properties.platform),
        emulated=properties.emulated,
        times_count=properties.times_count,
    )


def farm_properties_of(cell: types_pb2.Cell) -> FarmProperties:
    """What a cell says of its farm.

    Args:
        cell: of the matrix.

    Returns:
        What the farm's name says if the cell says nothing.
    """
    if not cell.HasField("farm_properties"):
        return properties_of(cell.farm)
    found = cell.farm_properties
    return FarmProperties(PLATFORM.read(found.platform, ""), found.emulated, found.times_count)


def artifact_to_proto(ref: ArtifactRef | None, media_type: str = "") -> types_pb2.Artifact:
    """An artifact on the wire.

    Args:
        ref: None: there is none.
        media_type: of the artifact.

    Returns:
        An empty message if there is none.
    """
    if ref is None:
        return types_pb2.Artifact()
    return types_pb2.Artifact(sha256=ref.sha256, size_bytes=ref.size_bytes, media_type=media_type)


def artifact_from_proto(message: types_pb2.Artifact) -> ArtifactRef:
    """The artifact that a message names.

    Args:
        message: from the wire.

    Returns:
        Its reference.

    Raises:
        InvalidInput: it names none.
    """
    if not message.sha256:
        raise InvalidInput("an artifact is missing: its sha256 is empty")
    return ArtifactRef(message.sha256, message.size_bytes)


def failure_to_proto(error: WindtunnelError, service: str) -> types_pb2.Failure:
    """What a `.failed` event says of an error. Texts are cut, so that the event always fits into a message.

    Args:
        error: of the job.
        service: its name.

    Returns:
        The message.
    """
    detail = error.stderr if isinstance(error, JobFailed) else ""
    return types_pb2.Failure(
        code=error.code,
        message=cut_text(error.message),
        hint=cut_text(error.hint),
        service=service,
        detail=detail[-4000:],
    )


def cut_text(text: str) -> str:
    """A text for an event.

    Args:
        text: of any length.

    Returns:
        At most LONGEST_TEXT characters.
    """
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def facts_to_proto(facts: ModelFacts) -> types_pb2.ModelFacts:
    """Inputs, outputs and op list of a model on the wire.

    Args:
        facts: of the model.

    Returns:
        The message.
    """
    return types_pb2.ModelFacts(
        inputs=[_tensor(tensor, facts.input_name(tensor)) for tensor in facts.inputs],
        outputs=[_tensor(tensor, facts.output_name(tensor)) for tensor in facts.outputs],
        ops=[op.name for op in facts.ops],
        precision=precision(facts),
    )


def _tensor(tensor: TensorFacts, signature_name: str | None) -> types_pb2.TensorInfo:
    quantization = tensor.quantization
    return types_pb2.TensorInfo(
        name=tensor.name,
        shape=tensor.shape_signature,
        dtype=tensor.dtype,
        scale=quantization.scales if quantization else (),
        zero_point=quantization.zero_points if quantization else (),
        signature_name=signature_name or "",
    )


def scores_to_proto(
    scores: Scores | None,
    samples: int,
    elements: float | None = None,
    spread: float | None = None,
    task: TaskFigures | None = None,
) -> types_pb2.QualityFigures:
    """The figures of one model on samples.

    Args:
        scores: of a classifier; None: it cannot be scored.
        samples: how many.
        elements: share of right elements, if labels are masks.
        spread: standard deviation of a sample's share.
        task: figures of the model's task; None: it is not known.

    Returns:
        The message; what is not known is absent.
    """
    found = types_pb2.QualityFigures(samples=samples, element_accuracy=elements, element_spread=spread)
    if scores is not None:
        found = types_pb2.QualityFigures(
            top1=scores.top1, precision=scores.precision, recall=scores.recall, loss=scores.loss, samples=scores.count
        )
    if task is not None:
        known = {name: value for name, value in task.figures.items() if value is not None}
        of_task = types_pb2.QualityFigures(task=task.task, metric=task.metric, main=task.main, figures=known)
        found.MergeFrom(of_task)
    return found


def findings_to_proto(findings: Iterable[Finding]) -> list[types_pb2.Finding]:
    """Findings on the wire. Texts and evidence are cut, so that the event fits into a message.

    Args:
        findings: in their order.

    Returns:
        The messages.
    """
    return [
        types_pb2.Finding(
            code=one.code,
            message=cut_text(one.message),
            fix=cut_text(one.fix),
            evidence_json=_evidence_text(one.evidence),
        )
        for one in findings
    ]


def _evidence_text(evidence: Mapping[str, Any]) -> str:
    """Evidence as JSON; of too much of it the longest figures are left out, and `left_out` names them."""
    texts = {name: json.dumps(value, ensure_ascii=False) for name, value in evidence.items()}
    kept, left = dict(evidence), []
    sizes = {name: len(name) + len(text) for name, text in texts.items()}
    total = sum(sizes.values())
    for name in sorted(sizes, key=lambda one: sizes[one], reverse=True):
        if total <= LONGEST_EVIDENCE:
            break
        del kept[name]
        left.append(name)
        total -= sizes[name]
    if left:
        kept["left_out"] = [cut_text(name) for name in left[:_LEFT_OUT_NAMED]]
    return json.dumps(kept, ensure_ascii=False) if kept else ""


def findings_from_proto(messages: Iterable[types_pb2.Finding]) -> tuple[Finding, ...]:
    """Findings from the wire.

    Args:
        messages: in their order.

    Returns:
        Evidence that is not a JSON object is left out.
    """
    return tuple(Finding(one.code, one.message, one.fix, _evidence(one.evidence_json)) for one in messages)


def _evidence(text: str) -> dict[str, Any]:
    try:
        # A report holds finite numbers only: other words of Python's JSON become null.
        found = json.loads(text, parse_constant=lambda _: None) if text else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
