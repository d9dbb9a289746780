"""From events to facts and lineage: the only place that reads the event messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.message import Message

from windtunnel.bus import Event, Malformed
from windtunnel.enum_words import APP_VERDICT, FAILURE_KIND, PLATFORM
from windtunnel.figures import rounded
from windtunnel.metrics_store.domain import facts
from windtunnel.metrics_store.domain.event_content import EventContent
from windtunnel.metrics_store.domain.facts import Fact
from windtunnel.metrics_store.domain.lineage import Execution, LineageArtifact
from windtunnel.metrics_store.domain.values import Blob
from windtunnel.metrics_store.messages.decode_values import (
    Figures,
    app_cause_of,
    blob,
    cell_spec,
    check_of,
    device_of,
    failure_of,
    farm_run_from,
    farm_run_of,
    layers_of,
    measurement_of,
    quality_of,
    required_blob,
    tensor_of,
)
from windtunnel.service.protobuf_values import findings_from_proto
from windtunnel.telemetry import traceparent_in
from windtunnel.v1 import events_pb2, types_pb2


def read_event(event: Event) -> EventContent:
    """Reads any event of a run other than `model.trained`, which training jobs publish.

    Args:
        event: as received.

    Returns:
        Facts and lineage.

    Raises:
        Malformed: the event cannot be read.
    """
    message: Any = event.message()
    context: types_pb2.RunContext = message.run
    if not context.run_id:
        raise Malformed(f"a {message.DESCRIPTOR.name} names no run", hint="run.run_id is empty")
    news, text, artifacts, work = _READERS[type(message)](message)
    plan = blob(context.plan)
    kept = [LineageArtifact(plan, "plan")] if plan is not None else []
    return EventContent(
        run_id=context.run_id,
        event_id=event.id,
        facts=(_seen(context), *news),
        text=text,
        artifacts=(*kept, *artifacts),
        execution=_execution(event, work) if work is not None else None,
    )


@dataclass(frozen=True, slots=True)
class _Work:
    """What an execution used and made."""

    kind: str
    inputs: tuple[Blob | None, ...]
    outputs: tuple[Blob | None, ...]
    variant: str = ""
    platform: str = ""
    cell_id: str = ""
    attempt: int = 0


_Read = tuple[tuple[Fact, ...], str, tuple[LineageArtifact, ...], _Work | None]


def _execution(event: Event, work: _Work) -> Execution:
    return Execution(
        id=event.id,
        kind=work.kind,
        service=event.source.rsplit("/", 1)[-1],
        event_id=event.id,
        inputs=tuple(sorted(item.sha256 for item in work.inputs if item is not None)),
        outputs=tuple(sorted(item.sha256 for item in work.outputs if item is not None)),
        variant=work.variant,
        platform=work.platform,
        cell_id=work.cell_id,
        attempt=work.attempt,
    )


def _seen(context: types_pb2.RunContext) -> facts.Seen:
    sure = context.HasField("started_at")
    try:
        started = context.started_at.ToDatetime(tzinfo=UTC) if sure else datetime.now(UTC)
    except (ValueError, OverflowError) as error:
        raise Malformed(f"run.started_at is not a time: {error}") from error
    return facts.Seen(
        started_at=started,
        sure=sure,
        model_name=context.model_name,
        model_version=context.model_version,
        model_sha256=context.model_sha256,
        plan=blob(context.plan),
        labels=_sorted(context.labels),
        trace_id=context.trace_id if traceparent_in(context.trace_id) else "",
    )


def _sorted(entries: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(entries.items()))


def _kept(**artifacts: Blob | None) -> tuple[LineageArtifact, ...]:
    return tuple(LineageArtifact(item, kind) for kind, item in artifacts.items() if item is not None)


def _converted(message: events_pb2.ModelConverted) -> _Read:
    figures = Figures()
    model, trained = required_blob(message.model, "model"), blob(message.trained)
    check = check_of(message.check, figures) if message.HasField("check") else None
    fact = facts.Converted(model, trained, check, _sorted(message.tool_versions), figures.anomalies)
    text = "the model is converted" if check is None or check.passed else "the conversion changed the model"
    kept = _kept(trained_model=trained, float_model=model)
    return (fact,), text, kept, _Work("convert", (trained, blob(message.run.plan)), (model,))


def _not_converted(message: events_pb2.ModelFailed) -> _Read:
    failure = failure_of(message.failure)
    return (facts.NotConverted(failure),), f"the model failed: {failure.message}", (), None


def _ready(message: events_pb2.VariantReady) -> _Read:
    variant = message.variant
    model, original = required_blob(variant.model, "variant.model"), blob(message.float_model)
    fact = facts.Ready(
        variant.name,
        model,
        variant.calibration_samples,
        variant.calibration_from_samples,
        _sorted(variant.tool_versions),
        inputs=tuple(map(tensor_of, variant.facts.inputs)),
        outputs=tuple(map(tensor_of, variant.facts.outputs)),
    )
    work = _Work("quantize", (original,), (model,), variant=variant.name)
    return (fact,), f"variant {variant.name} is made", _kept(variant=model, float_model=original), work


def _variant_failed(message: events_pb2.VariantFailed) -> _Read:
    failure, name = failure_of(message.failure), message.variant
    if message.step == events_pb2.VariantFailed.STEP_COMPARE:
        return (facts.NotCompared(name, failure),), f"comparing variant {name} failed: {failure.message}", (), None
    if message.step == events_pb2.VariantFailed.STEP_QUANTIZE:
        return (facts.NotMade(name, failure),), f"making variant {name} failed: {failure.message}", (), None
    raise Malformed(f"step of a VariantFailed is {message.step}", hint="STEP_QUANTIZE or STEP_COMPARE")


def _compared(message: events_pb2.VariantCompared) -> _Read:
    figures = Figures()
    model, diagnosis = blob(message.model), blob(message.diagnosis)
    fact = facts.Compared(
        variant=message.variant,
        reference=quality_of(message.reference, figures, "reference"),
        candidate=quality_of(message.candidate, figures, "candidate"),
        layers=layers_of(message.layers, figures) if message.HasField("layers") else None,
        agreement=figures.read(message, "agreement"),
        diagnosis=diagnosis,
        model=model,
        synthetic_samples=message.synthetic_samples,
        anomalies=figures.anomalies,
        findings=findings_from_proto(message.findings),
    )
    text = f"variant {message.variant} is compared"
    if fact.candidate.accuracy is not None:
        text += f": accuracy {fact.candidate.accuracy:.4f}"
    work = _Work("compare", (model,), (diagnosis,), variant=message.variant)
    return (fact,), text, _kept(variant=model, diagnosis=diagnosis), work


def _planned(message: events_pb2.CellsPlanned) -> _Read:
    cells = tuple(cell_spec(cell) for cell in message.cells)
    for cell in cells:
        if cell.variant != message.variant:
            raise Malformed(f"cell {cell.id} of variant {cell.variant!r} is planned for variant {message.variant!r}")
    skipped = {cell.id: cell.skip_reason for cell in message.cells if cell.skip_reason}
    counted = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
    text = f"{counted} of variant {message.variant} {'is' if len(cells) == 1 else 'are'} planned"
    kinds = {cell.id: FAILURE_KIND.read(cell.skip_kind, "") for cell in message.cells if cell.skip_reason}
    return (facts.Planned(message.variant, cells, skipped, kinds),), text, (), None


def _not_planned(message: events_pb2.CellsFailed) -> _Read:
    failure = failure_of(message.failure)
    text = f"planning the cells of variant {message.variant} failed: {failure.message}"
    return (facts.NotPlanned(message.variant, failure),), text, (), None


def _built(message: events_pb2.AppBuilt) -> _Read:
    package = required_blob(message.package, "package")
    platform = PLATFORM.read(message.device_platform, message.platform)
    fact = facts.Built(message.variant, platform, package)
    inside = Blob(message.model_sha256) if message.model_sha256 else None
    work = _Work("build", (inside,), (package,), variant=message.variant, platform=platform)
    return (fact,), f"the {platform} app of variant {message.variant} is built", _kept(app=package), work


def _not_built(message: events_pb2.AppFailed) -> _Read:
    failure = failure_of(message.failure)
    platform = PLATFORM.read(message.device_platform, message.platform)
    text = f"building the {platform} app of variant {message.variant} failed: {failure.message}"
    return (facts.NotBuilt(message.variant, platform, failure),), text, (), None


def _finished(message: events_pb2.DeviceRunFinished) -> _Read:
    cell, log, samples = cell_spec(message.cell), blob(message.log), blob(message.samples)
    which = message.repeat, message.of_baseline, farm_run_of(message)
    recorded = tuple(one for artifact in message.edge_logs if (one := blob(artifact)) is not None)
    fact = facts.Finished(cell, message.attempt, log, samples, *which, recorded)
    work = _Work("run", (), (log, samples, *recorded), cell.variant, cell.app_platform, cell.id, message.attempt)
    text = f"{cell.label} has run variant {cell.variant}{_repeat(message)}"
    kept = (*_kept(log=log, samples=samples), *(LineageArtifact(one, "edge_log") for one in recorded))
    return (fact,), text, kept, work


def _repeat(message: events_pb2.DeviceRunFinished | events_pb2.DeviceRunFailed | events_pb2.DeviceRunMeasured) -> str:
    """Which repeat an event is about, in words; empty for the cell's own measurement."""
    if not message.repeat:
        return ""
    return f", repeat {message.repeat}{' of the baseline' if message.of_baseline else ''}"


_STAGES: Final = {
    events_pb2.DeviceRunProgressed.STAGE_QUEUED: "waits for its farm",
    events_pb2.DeviceRunProgressed.STAGE_SUBMITTED: "is submitted",
    events_pb2.DeviceRunProgressed.STAGE_RUNNING: "runs",
    events_pb2.DeviceRunProgressed.STAGE_COLLECTING: "has ended, and its results are fetched",
}


def _progressed(message: events_pb2.DeviceRunProgressed) -> _Read:
    """Nothing that a verdict depends on: a line for those who watch the run, and the bill of a failed attempt."""
    cell, farm_run = cell_spec(message.cell), message.farm_run
    text = f"variant {cell.variant} on {cell.label} {_STAGES.get(message.stage, 'is under way')}"
    said = ", ".join(part for part in (message.reason, farm_run.words, farm_run.url) if part)
    text = f"{text} ({said})" if said else text
    queued_again = message.stage == events_pb2.DeviceRunProgressed.STAGE_QUEUED and message.attempt > 1
    if not (queued_again and message.HasField("farm_run")):
        return (), text, (), None
    failed = message.attempt - 1, farm_run_from(farm_run), message.repeat, message.of_baseline
    return (facts.TriedAgain(cell, *failed),), text, (), None


def _not_run(message: events_pb2.DeviceRunFailed) -> _Read:
    cell, failure = cell_spec(message.cell), failure_of(message.failure)
    text = f"{cell.label} failed on variant {cell.variant}{_repeat(message)}: {failure.message}"
    carried = farm_run_from(message.farm_run) if message.HasField("farm_run") else None
    fact = facts.NotRun(cell, message.attempt, failure, message.repeat, message.of_baseline, carried)
    return (fact,), text, (), None


def _measured(message: events_pb2.DeviceRunMeasured) -> _Read:
    figures = Figures()
    cell = cell_spec(message.cell)
    measurement = measurement_of(message.measurement, figures)
    fact = facts.Measured(
        cell,
        message.attempt,
        measurement,
        device_of(message.device),
        figures.anomalies,
        message.repeat,
        message.of_baseline,
        farm_run_of(message),
    )
    text = f"{cell.label} measured variant {cell.variant}{_repeat(message)}"
    if measurement.latency.p50 is not None:
        text += f": median {rounded(measurement.latency.p50)} ms"
    work = _Work("measure", (), (), cell.variant, cell.app_platform, cell.id, message.attempt)
    return (fact,), text, (), work


def _diagnosed(message: events_pb2.DeviceRunDiagnosed) -> _Read:
    cell, diagnosis = cell_spec(message.cell), blob(message.diagnosis)
    failure = failure_of(message.failure) if message.HasField("failure") else None
    verdict = APP_VERDICT.read(message.verdict, "")
    if not verdict and failure is None:
        raise Malformed("a DeviceRunDiagnosed has no verdict and no failure", hint="fill one of them")
    causes = tuple(map(app_cause_of, message.causes))
    gaps = tuple(message.gaps)
    fact = facts.Diagnosed(cell, message.attempt, verdict, causes, message.frames, gaps, diagnosis, failure)
    said = f"is {verdict}" if failure is None else f"could not be diagnosed: {failure.message}"
    text = f"the app of variant {cell.variant} on {cell.label} {said}"
    if causes:
        text += f" ({', '.join(one.code for one in causes)})"
    work = _Work("diagnose", (), (diagnosis,), cell.variant, cell.app_platform, cell.id, message.attempt)
    return (fact,), text, _kept(app_diagnosis=diagnosis), work


_READERS: Final[Mapping[type[Message], Callable[[Any], _Read]]] = {
    events_pb2.ModelConverted: _converted,
    events_pb2.ModelFailed: _not_converted,
    events_pb2.VariantReady: _ready,
    events_pb2.VariantFailed: _variant_failed,
    events_pb2.VariantCompared: _compared,
    events_pb2.CellsPlanned: _planned,
    events_pb2.CellsFailed: _not_planned,
    events_pb2.AppBuilt: _built,
    events_pb2.AppFailed: _not_built,
    events_pb2.DeviceRunFinished: _finished,
    events_pb2.DeviceRunFailed: _not_run,
    events_pb2.DeviceRunProgressed: _progressed,
    events_pb2.DeviceRunMeasured: _measured,
    events_pb2.DeviceRunDiagnosed: _diagnosed,
}
