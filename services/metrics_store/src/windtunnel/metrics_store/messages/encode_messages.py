"""From values to messages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from windtunnel.enum_words import EXECUTION_KIND, PLATFORM, RUN_AS, RUN_STATE
from windtunnel.metrics_store.domain import Judgment, RunRecord, Verdict
from windtunnel.metrics_store.domain.facts import RepeatsRequested
from windtunnel.metrics_store.domain.latency_vs import CellComparison
from windtunnel.metrics_store.domain.lineage import Execution
from windtunnel.metrics_store.domain.listings import MeasuredCell, RunSummary
from windtunnel.metrics_store.domain.record import CellState
from windtunnel.metrics_store.domain.values import Blob, CellSpec, Measurement
from windtunnel.plan import shapes_to_proto
from windtunnel.service.protobuf_values import farm_properties_to_proto, message_of
from windtunnel.v1 import events_pb2, metrics_store_pb2, types_pb2

VERDICTS: Final = {
    Verdict.PASSED: types_pb2.VERDICT_PASSED,
    Verdict.FAILED: types_pb2.VERDICT_FAILED,
    Verdict.COULD_NOT_RUN: types_pb2.VERDICT_COULD_NOT_RUN,
}
# An event has at most so many reasons, of so many characters each.
_REASONS: Final = 50
_REASON_LENGTH: Final = 500
VERDICT_OF: Final = {number: verdict for verdict, number in VERDICTS.items()}


def timestamp(instant: datetime) -> Timestamp:
    """An instant on the wire.

    Args:
        instant: UTC.

    Returns:
        The message.
    """
    message = Timestamp()
    message.FromDatetime(instant)
    return message


def artifact(blob: Blob | None) -> types_pb2.Artifact:
    """An artifact on the wire.

    Args:
        blob: None: there is none.

    Returns:
        An empty message if there is none.
    """
    if blob is None:
        return types_pb2.Artifact()
    return types_pb2.Artifact(sha256=blob.sha256, size_bytes=blob.size_bytes, media_type=blob.media_type)


def _event_reasons(reasons: Sequence[str]) -> list[str]:
    """The reasons as far as an event holds them: it must fit into a message. The report has all of them."""
    kept = [reason if len(reason) <= _REASON_LENGTH else f"{reason[: _REASON_LENGTH - 1]}…" for reason in reasons]
    left = len(kept) - _REASONS
    return kept if left <= 0 else [*kept[:_REASONS], f"and {left} more, see the report"]


def completed_event(run: RunRecord, judgment: Judgment, report: Blob, ended_at: datetime) -> events_pb2.RunCompleted:
    """The event that publishes a verdict.

    Args:
        run: its record.
        judgment: the verdict.
        report: its artifact.
        ended_at: UTC.

    Returns:
        The message.
    """
    message = events_pb2.RunCompleted(
        run=run_context(run),
        verdict=VERDICTS[judgment.verdict],
        reasons=_event_reasons(judgment.reasons),
        report=artifact(report),
        ended_at=timestamp(ended_at),
    )
    for variant in judgment.variants:
        model = run.variant(variant.name).model
        outcome = message.variants.add(name=variant.name, passed=variant.passed)
        if model is not None:
            outcome.model.CopyFrom(artifact(model))
    return message


def repeats_event(
    run: RunRecord, cell: CellState, comparison: CellComparison, fact: RepeatsRequested
) -> events_pb2.RepeatsRequested:
    """The event that asks for more jobs of a cell and of its baseline.

    Args:
        run: its record.
        cell: of it.
        comparison: of the cell, with a baseline.
        fact: what is asked for.

    Returns:
        The message.
    """
    baseline = comparison.baseline
    assert baseline is not None
    return events_pb2.RepeatsRequested(
        run=run_context(run),
        cell=_cell_message(cell.spec),
        model=artifact(run.variant(cell.spec.variant).model),
        baseline_run_id=baseline.run_id,
        baseline_cell_id=baseline.cell_id,
        baseline_model=artifact(baseline.model),
        round=fact.round,
        first=fact.first,
        pairs=fact.pairs,
    )


def run_context(run: RunRecord) -> types_pb2.RunContext:
    """What every event of a run carries.

    Args:
        run: its record.

    Returns:
        The message.
    """
    context, seen = types_pb2.RunContext(run_id=run.run_id), run.seen
    if seen is not None:
        context.model_name = seen.model_name
        context.model_version = seen.model_version
        context.model_sha256 = seen.model_sha256
        context.labels.update(seen.labels)
        context.trace_id = seen.trace_id
        context.started_at.CopyFrom(timestamp(seen.started_at))
        if seen.plan is not None:
            context.plan.CopyFrom(artifact(seen.plan))
    return context


def run_message(run: RunSummary) -> metrics_store_pb2.Run:
    """A run in an answer.

    Args:
        run: to show.

    Returns:
        The message.
    """
    return metrics_store_pb2.Run(
        run_id=run.run_id,
        model_name=run.model_name,
        model_version=run.model_version,
        model_sha256=run.model_sha256,
        state=run.state,
        verdict=types_pb2.VERDICT_UNSPECIFIED if run.verdict is None else VERDICTS[run.verdict],
        reasons=run.reasons,
        started_at=timestamp(run.started_at),
        ended_at=None if run.ended_at is None else timestamp(run.ended_at),
        deadline=timestamp(run.deadline),
        labels=run.labels,
        steps_done=run.steps_done,
        steps_known=run.steps_known,
        run_state=RUN_STATE.number(run.state),
    )


def measured_cell_message(found: MeasuredCell) -> metrics_store_pb2.MeasuredCell:
    """A measured cell in an answer.

    Args:
        found: to show.

    Returns:
        The message.
    """
    return metrics_store_pb2.MeasuredCell(
        run_id=found.run_id,
        model_name=found.model_name,
        model_version=found.model_version,
        cell=_cell_message(found.fact.cell),
        measurement=measurement_message(found.fact.measurement),
        measured_at=timestamp(found.measured_at),
    )


def _cell_message(cell: CellSpec) -> types_pb2.Cell:
    return types_pb2.Cell(
        id=cell.id,
        variant=cell.variant,
        farm=cell.farm,
        device=cell.device,
        platform=cell.platform,
        os_version=cell.os_version,
        accelerator=cell.accelerator,
        threads=cell.threads,
        device_platform=PLATFORM.number(cell.platform),
        farm_properties=farm_properties_to_proto(cell.its_farm),
        input_shapes=shapes_to_proto(cell.input_shapes),
        run_as=RUN_AS.number(cell.run_as),
    )


def measurement_message(measurement: Measurement) -> types_pb2.Measurement:
    """A measurement in an answer.

    Args:
        measurement: to show.

    Returns:
        The message.
    """
    return types_pb2.Measurement(
        latency_ms=message_of(types_pb2.LatencyFigures, measurement.latency),
        init_ms=measurement.init_ms,
        memory_mb=measurement.memory_mb,
        delegate=measurement.delegate or "",
        nodes_delegated=measurement.nodes_delegated,
        nodes_total=measurement.nodes_total,
        partitions=measurement.partitions,
        input_shapes=shapes_to_proto(measurement.input_shapes),
        shapes_known=measurement.shapes_known,
        conditions=None
        if measurement.conditions is None
        else message_of(types_pb2.RunConditions, measurement.conditions),
    )


def execution_message(execution: Execution) -> metrics_store_pb2.Execution:
    """An execution in an answer.

    Args:
        execution: to show.

    Returns:
        The message.
    """
    return metrics_store_pb2.Execution(
        id=execution.id,
        kind=execution.kind,
        service=execution.service,
        input_sha256=execution.inputs,
        output_sha256=execution.outputs,
        event_id=execution.event_id,
        at=None if execution.at is None else timestamp(execution.at),
        execution_kind=EXECUTION_KIND.number(execution.kind),
    )
