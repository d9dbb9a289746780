"""Between the rows of a run and its record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Row, Table, select

from windtunnel.farms.properties import FarmProperties
from windtunnel.metrics_store.adapters import tables
from windtunnel.metrics_store.adapters.codec import from_document, to_document
from windtunnel.metrics_store.adapters.database import from_micros
from windtunnel.metrics_store.domain import facts
from windtunnel.metrics_store.domain.record import (
    AppState,
    CellState,
    JobKey,
    Repeat,
    RunRecord,
    VariantState,
    first_measured,
)
from windtunnel.metrics_store.domain.values import (
    Blob,
    CellSpec,
    Device,
    Failure,
    FarmRun,
    Latency,
    Measurement,
    Quality,
)
from windtunnel.run_conditions import RunConditions

AnyRow = Row[Any]
T = TypeVar("T")
# Characters of a name that an index holds; PostgreSQL refuses an entry of more than 2704 bytes.
LONGEST_NAME: Final = 300
_LATENCY = ("p50_ms", "p95_ms", "mean_ms", "min_ms", "max_ms", "std_ms", "samples")
_OTHER = ("init_ms", "memory_mb", "delegate", "nodes_delegated", "nodes_total", "partitions")


def load_record(connection: Connection, run: AnyRow) -> RunRecord:
    """The record of a run.

    Args:
        connection: open.
        run: its row.

    Returns:
        The record.
    """
    specs = {row.cell_id: row for row in _of_run(connection, tables.cells, run.run_id)}
    measured: dict[str, facts.Measured] = {}
    for row in _of_run(connection, tables.measurements, run.run_id):
        fact = read_measured(row, read_cell_spec(specs[row.cell_id]))
        measured[row.cell_id] = first_measured(measured.get(row.cell_id), fact)
    return RunRecord(
        run_id=run.run_id,
        seen=read_seen(run),
        canceled=from_document(facts.Canceled, run.canceled),
        converted=from_document(facts.Converted, run.converted),
        not_converted=from_document(Failure, run.not_converted),
        variants={row.name: _variant(row) for row in _of_run(connection, tables.variants, run.run_id)},
        cells={id: _cell(row, measured.get(id)) for id, row in specs.items()},
        apps={(row.variant, row.platform): _app(row) for row in _of_run(connection, tables.apps, run.run_id)},
    )


def _of_run(connection: Connection, table: Table, run_id: str) -> Iterable[AnyRow]:
    return connection.execute(select(table).where(table.c.run_id == run_id)).all()


def read_seen(row: AnyRow) -> facts.Seen:
    """What the announcement of a run said.

    Args:
        row: of the run.

    Returns:
        The fact.
    """
    return facts.Seen(
        started_at=from_micros(row.started_at),
        sure=row.started_sure,
        model_name=row.model_name,
        model_version=row.model_version,
        model_sha256=row.model_sha256,
        plan=from_document(Blob, row.plan),
        labels=row.labels,
        trace_id=row.trace_id,
    )


def _variant(row: AnyRow) -> VariantState:
    return VariantState(
        name=row.name,
        ready=from_document(facts.Ready, row.ready),
        not_made=from_document(Failure, row.not_made),
        compared=from_document(facts.Compared, row.compared),
        not_compared=from_document(Failure, row.not_compared),
        planned=row.planned,
        not_planned=from_document(Failure, row.not_planned),
    )


def variant_row(run_id: str, state: VariantState) -> dict[str, Any]:
    """The row of a variant.

    Args:
        run_id: of the run.
        state: of the variant.

    Returns:
        Values by column.
    """
    compared = state.compared
    layers = None if compared is None else compared.layers
    return {
        "run_id": run_id,
        "name": state.name,
        "ready": to_document(state.ready),
        "not_made": to_document(state.not_made),
        "compared": to_document(compared),
        "not_compared": to_document(state.not_compared),
        "planned": state.planned,
        "not_planned": to_document(state.not_planned),
        "size_bytes": None if state.model is None else state.model.size_bytes,
        "accuracy": None if compared is None else _share(compared.candidate),
        "loss": None if compared is None else compared.candidate.loss,
        "max_nrmse": None if layers is None else layers.max_nrmse,
    }


def _share(quality: Quality) -> float | None:
    """The accuracy where it is a share of samples; the figures of other tasks are in the document."""
    return quality.accuracy if quality.task in ("", "classification", "audio", "text") else None


def _app(row: AnyRow) -> AppState:
    package, failure = from_document(Blob, row.package), from_document(Failure, row.not_built)
    return AppState(row.variant, row.platform, package, failure)


def app_row(run_id: str, app: AppState) -> dict[str, Any]:
    """The row of an app.

    Args:
        run_id: of the run.
        app: its state.

    Returns:
        Values by column.
    """
    return {
        "run_id": run_id,
        "variant": app.variant,
        "platform": app.platform,
        "package": to_document(app.package),
        "not_built": to_document(app.not_built),
    }


def read_cell_spec(row: AnyRow) -> CellSpec:
    """A cell from its row.

    Args:
        row: of the cell.

    Returns:
        The cell.
    """
    return CellSpec(
        row.cell_id,
        row.variant,
        row.farm,
        row.device,
        row.platform,
        row.os_version,
        row.accelerator,
        row.threads,
        from_document(FarmProperties, row.farm_properties),
        {name: tuple(shape) for name, shape in (row.cell_shapes or {}).items()},
        row.run_as,
    )


def _cell(row: AnyRow, measured: facts.Measured | None) -> CellState:
    return CellState(
        spec=read_cell_spec(row),
        planned=row.planned,
        skip_reason=row.skip_reason,
        skip_kind=row.skip_kind,
        measured=measured,
        not_run=from_document(facts.NotRun, row.not_run),
        attempts=row.attempts,
        requests=tuple(_present(facts.RepeatsRequested, row.requests)),
        repeats=read_repeats(row),
        farm_runs=read_farm_runs(row),
        recorded=row.recorded,
        diagnosed=from_document(facts.Diagnosed, row.diagnosed),
    )


def read_farm_runs(row: AnyRow) -> dict[JobKey, FarmRun]:
    """What carried the attempts of a cell, from its row.

    Args:
        row: of the cell.

    Returns:
        By repeat, whether it is of the baseline, and attempt.
    """
    stored = ((tuple(key), from_document(FarmRun, found)) for *key, found in row.farm_runs or ())
    return {(repeat, of_baseline, attempt): one for (repeat, of_baseline, attempt), one in stored if one is not None}


def _present(kind: type[T], documents: Sequence[Any] | None) -> Iterator[T]:
    for document in documents or ():
        fact = from_document(kind, document)
        if fact is not None:
            yield fact


def read_repeats(row: AnyRow) -> dict[tuple[int, bool], Repeat]:
    """The repeats of a cell from its row.

    Args:
        row: of the cell.

    Returns:
        By number and whether it is of the baseline.
    """
    stored = row.repeats or {}
    found: list[Repeat] = list(_present(facts.Measured, stored.get("measured")))
    found += _present(facts.NotRun, stored.get("not_run"))
    return {(fact.repeat, fact.of_baseline): fact for fact in found}


def _repeats_document(repeats: Mapping[tuple[int, bool], Repeat]) -> dict[str, list[Any]] | None:
    if not repeats:
        return None
    in_order = [fact for _, fact in sorted(repeats.items())]
    return {
        "measured": [to_document(fact) for fact in in_order if isinstance(fact, facts.Measured)],
        "not_run": [to_document(fact) for fact in in_order if isinstance(fact, facts.NotRun)],
    }


def cell_row(run_id: str, cell: CellState) -> dict[str, Any]:
    """The row of a cell.

    Args:
        run_id: of the run.
        cell: its state.

    Returns:
        Values by column.
    """
    spec = cell.spec
    return {
        "run_id": run_id,
        "cell_id": spec.id,
        "variant": spec.variant,
        "farm": spec.farm,
        "device": spec.device,
        "platform": spec.platform,
        "os_version": spec.os_version,
        "accelerator": spec.accelerator,
        "threads": spec.threads,
        "farm_properties": to_document(spec.farm_properties),
        "cell_shapes": {name: list(shape) for name, shape in spec.input_shapes.items()} or None,
        "run_as": spec.run_as,
        "planned": cell.planned,
        "skip_reason": cell.skip_reason,
        "skip_kind": cell.skip_kind,
        "not_run": to_document(cell.not_run),
        "attempts": cell.attempts,
        "requests": [to_document(one) for one in cell.requests] or None,
        "repeats": _repeats_document(cell.repeats),
        "farm_runs": [[*key, to_document(one)] for key, one in sorted(cell.farm_runs.items())] or None,
        "recorded": cell.recorded,
        "diagnosed": to_document(cell.diagnosed),
    }


def read_measured(row: AnyRow, spec: CellSpec) -> facts.Measured:
    """A measurement from its row.

    Args:
        row: of the measurement.
        spec: its cell.

    Returns:
        The fact.
    """
    values = row._mapping
    measurement = Measurement(
        latency=Latency(*(values[name] for name in _LATENCY)),
        **{name: values[name] for name in _OTHER},
        input_shapes={name: tuple(shape) for name, shape in (row.input_shapes or {}).items()},
        shapes_known=row.shapes_known,
        conditions=from_document(RunConditions, row.conditions),
    )
    device = from_document(Device, row.device_facts) or Device()
    return facts.Measured(spec, row.attempt, measurement, device, tuple(row.anomalies))


def measurement_row(run_id: str, fact: facts.Measured, measured_at: int) -> dict[str, Any]:
    """The row of a measurement.

    Args:
        run_id: of the run.
        fact: the measurement.
        measured_at: microseconds since 1970 UTC.

    Returns:
        Values by column.
    """
    latency, other = fact.measurement.latency, fact.measurement
    figures = {name: getattr(latency, name.removesuffix("_ms")) for name in _LATENCY}
    return {
        "run_id": run_id,
        "cell_id": fact.cell.id,
        "attempt": fact.attempt,
        **figures,
        **{name: getattr(other, name) for name in _OTHER},
        "input_shapes": {name: list(shape) for name, shape in other.input_shapes.items()},
        "shapes_known": other.shapes_known,
        "conditions": to_document(other.conditions),
        "device_facts": to_document(fact.device),
        "anomalies": list(fact.anomalies),
        "measured_at": measured_at,
    }
