"""The report of a run, `windtunnel.report/1`. What is not known is null, never 0."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.metrics_store.domain import GateResult, Judgment, RunRecord, VariantJudgment, Verdict
from windtunnel.metrics_store.domain.facts import Measured
from windtunnel.metrics_store.domain.gates import LATENCY_VS, accuracy_drop
from windtunnel.metrics_store.domain.measurement_warnings import cell_warnings, fallen_back
from windtunnel.metrics_store.domain.record import CellState
from windtunnel.metrics_store.domain.run_findings import accuracy_reason
from windtunnel.metrics_store.domain.steps import CellFailure, cell_failure, explain
from windtunnel.metrics_store.domain.values import Latency, Measurement, Quality, Tensor

SCHEMA: Final = "windtunnel.report/1"
_EMULATED: Final = "it ran, but times and memory under emulation mean nothing"
_LAYERS: Final = ("compared", "total", "max_nrmse", "first_over")


@dataclass(frozen=True, slots=True)
class Ending:
    """How and when a run ended. `verdict` None: it has not."""

    verdict: Verdict | None = None
    reasons: tuple[str, ...] = ()
    ended_at: datetime | None = None
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Diagnoses:
    """What `windtunnel.diagnosis/1` says of each variant, and why one cannot be read."""

    found: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def causes(self) -> dict[str, str]:
        """The most likely cause for each variant, in words."""
        texts = {name: _cause_text(diagnosis) for name, diagnosis in self.found.items()}
        return {name: text for name, text in texts.items() if text}


def build_report(run: RunRecord, judgment: Judgment, diagnoses: Diagnoses, ending: Ending) -> dict[str, Any]:
    """Makes the report of a run.

    Args:
        run: its record.
        judgment: on what is known now.
        diagnoses: of the variants.
        ending: whether and when the run ended.

    Returns:
        JSON values.
    """
    seen = run.seen
    names = [variant.name for variant in judgment.variants]
    judged = {variant.name: variant for variant in judgment.variants}
    return {
        "schema": SCHEMA,
        "run_id": run.run_id,
        "model": {
            "name": seen.model_name or None if seen else None,
            "version": seen.model_version or None if seen else None,
            "sha256": seen.model_sha256 or None if seen else None,
        },
        "verdict": None if ending.verdict is None else ending.verdict.value,
        "reasons": list(ending.reasons),
        "cost_usd": _cost_of(run),
        "canceled": run.canceled is not None,
        "started_at": _instant(run.started_at),
        "ended_at": _instant(ending.ended_at),
        "revision": ending.revision,
        "labels": dict(seen.labels) if seen else {},
        "trace_id": seen.trace_id or None if seen else None,
        "plan_sha256": run.plan_sha256 or None,
        "conversion": _conversion(run),
        "variants": [
            _variant(run, name, judged.get(name), diagnoses, ended=ending.verdict is not None)
            for name in names or sorted(run.variants)
        ],
        "findings": [one.to_json() for one in judgment.findings],
    }


def with_later_facts(report: dict[str, Any], run: RunRecord) -> bool:
    """Brings costs, farm runs and diagnoses of apps in a stored report up to date.

    Farms bill what they cancel after the verdict, and no verdict depends on the diagnosis of an app.

    Args:
        report: of the run; it is changed.
        run: its record.

    Returns:
        Whether anything has changed.
    """
    shown = [cell for variant in report["variants"] for cell in variant["cells"] if cell["id"] in run.cells]
    now = [(cell, _later(run.cells[cell["id"]])) for cell in shown]
    now.append((report, {"cost_usd": _cost_of(run)}))
    changed = any(part.get(key) != value for part, values in now for key, value in values.items())
    for part, values in now:
        part.update(values)
    return changed


def _cause_text(diagnosis: Mapping[str, Any]) -> str:
    causes = diagnosis.get("causes")
    if not isinstance(causes, list) or not causes or not isinstance(causes[0], Mapping):
        return ""
    first = causes[0]
    place = first.get("place")
    layer = place.get("layer") if isinstance(place, Mapping) else None
    return f"{first.get('code')} at layer {layer}" if layer else str(first.get("code") or "")


def _instant(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _conversion(run: RunRecord) -> dict[str, Any]:
    """The check of the conversion; all figures null if none was made."""
    converted = run.converted
    check = None if converted is None else converted.check
    passed = None if check is None else check.passed
    message = None if check is None else check.message or None
    if converted is None and run.not_converted is not None:
        passed, message = False, explain(run.not_converted)
    return {
        "model_sha256": None if converted is None else converted.model.sha256,
        "tool_versions": {} if converted is None else dict(converted.tool_versions),
        "passed": passed,
        "message": message,
        "original": _quality(None if check is None else check.original),
        "converted": _quality(None if check is None else check.converted),
        "agreement": None if check is None else check.agreement,
        "output_nrmse": None if check is None else check.output_nrmse,
        "synthetic_samples": None if check is None else check.synthetic_samples,
        "findings": [] if check is None else [one.to_json() for one in check.findings],
    }


def _quality(quality: Quality | None) -> dict[str, Any] | None:
    if quality is None:
        return None
    return {
        "top1": quality.top1,
        "precision": quality.precision,
        "recall": quality.recall,
        "loss": quality.loss,
        "element_accuracy": quality.element_accuracy,
        "samples": quality.samples,
        **_task(quality),
    }


def _task(quality: Quality | None) -> dict[str, Any]:
    """The task, its main metric, and every figure of it that is known."""
    if quality is None:
        return {"task": None, "metric": None, "figures": {}}
    return {"task": quality.task or None, "metric": quality.metric or None, "figures": dict(quality.figures)}


def _variant(
    run: RunRecord, name: str, judgment: VariantJudgment | None, diagnoses: Diagnoses, *, ended: bool
) -> dict[str, Any]:
    state = run.variant(name)
    compared, model = state.compared, state.model
    figures = None if compared is None else compared.candidate
    layers = None if compared is None else compared.layers
    return {
        "name": name,
        "sha256": None if model is None else model.sha256,
        "size_bytes": None if model is None else model.size_bytes,
        "accuracy": None if figures is None else figures.accuracy,
        "accuracy_reason": accuracy_reason(run, name),
        "element_accuracy": None if figures is None else figures.element_accuracy,
        "accuracy_drop": accuracy_drop(run, name),
        **_task(figures),
        "loss": None if figures is None else figures.loss,
        "precision": None if figures is None else figures.precision,
        "recall": None if figures is None else figures.recall,
        "agreement": None if compared is None else compared.agreement,
        "samples": None if figures is None else figures.samples,
        "synthetic_samples": None if compared is None else compared.synthetic_samples,
        "inputs": None if state.ready is None else _tensors(state.ready.inputs),
        "outputs": None if state.ready is None else _tensors(state.ready.outputs),
        "tool_versions": {} if state.ready is None else dict(state.ready.tool_versions),
        "calibration_samples": None if state.ready is None else state.ready.calibration_samples,
        "calibration_from_samples": None if state.ready is None else state.ready.calibration_from_samples,
        "layers": {name: getattr(layers, name, None) for name in _LAYERS},
        "diagnosis": diagnoses.found.get(name),
        "diagnosis_problem": diagnoses.unreadable.get(name),
        "passed": judgment.passed if ended and judgment is not None else None,
        "problems": list(judgment.problems) if ended and judgment is not None else [],
        "findings": [] if compared is None else [one.to_json() for one in compared.findings],
        "cells": [_cell(run, cell, ended=ended) for cell in run.cells_of(name)],
        "gates": [] if judgment is None else [_gate(gate) for gate in judgment.gates],
    }


def _tensors(tensors: Sequence[Tensor]) -> list[dict[str, Any]] | None:
    """The inputs or outputs of a model; None where the event did not say them."""
    found = [
        {
            "name": tensor.name,
            "tensor": tensor.tensor,
            "shape": list(tensor.shape),
            "dtype": tensor.dtype,
            "scale": _one_or_all(tensor.scale),
            "zero_point": _one_or_all(tensor.zero_point),
        }
        for tensor in tensors
    ]
    return found or None


def _one_or_all(values: Sequence[float]) -> float | list[float] | None:
    """None for no value, the value for one, a list for one per channel."""
    return (values[0] if len(values) == 1 else list(values)) if values else None


def _cell(run: RunRecord, cell: CellState, *, ended: bool) -> dict[str, Any]:
    spec, measured = cell.spec, cell.measured
    status, reason, failure = _status(run, cell, ended=ended)
    found = None if measured is None else measured.measurement
    latency = Latency() if found is None else found.latency
    return {
        "id": spec.id,
        "farm": spec.farm or None,
        "device": spec.device or None,
        "platform": spec.platform or None,
        "os_version": spec.os_version or None,
        "accelerator": spec.accelerator or None,
        "threads": spec.threads or None,
        "status": status,
        "latency_ms": dataclasses.asdict(latency),
        "init_ms": None if found is None else found.init_ms,
        "memory_mb": None if found is None else found.memory_mb,
        "delegate": None if found is None else found.delegate,
        "nodes_delegated": None if found is None else found.nodes_delegated,
        "nodes_total": None if found is None else found.nodes_total,
        "partitions": None if found is None else found.partitions,
        "fell_back": None if found is None else fallen_back(spec, found),
        "repeats": _repeats(cell),
        **_circumstances(found),
        "warnings": list(cell_warnings(cell)),
        "attempts": cell.attempts,
        "reason": reason,
        "failure": None if failure is None else {"kind": failure.kind.value, "message": failure.message},
        "run_as": spec.run_as or None,
        **_carried(cell),
        "device_facts": None if measured is None else dataclasses.asdict(measured.device),
        "diagnosis": _app_diagnosis(cell),
    }


def _app_diagnosis(cell: CellState) -> dict[str, Any] | None:
    """What an app recorded in the cell, compared with its reference; None: it recorded nothing, or it is not known."""
    found = cell.diagnosed
    if found is None:
        return None
    return {
        "verdict": found.verdict or None,
        "problem": None if found.failure is None else explain(found.failure),
        "causes": [
            {
                "code": cause.code,
                "place": {"layer": cause.layer or None, "op_index": cause.op_index},
                "confidence": cause.confidence,
                "verified": cause.verified,
                "words": list(cause.words),
            }
            for cause in found.causes
        ],
        "frames": found.frames,
        "gaps": list(found.gaps),
        "attempt": found.attempt,
        "sha256": None if found.diagnosis is None else found.diagnosis.sha256,
    }


def _carried(cell: CellState) -> dict[str, Any]:
    """The farm's own job that carried a cell, and what all its jobs cost."""
    found = cell.farm_run
    return {
        "cost_usd": _usd([cell.cost_micro_usd]),
        "farm_run": None if found is None else found.id or None,
        "url": None if found is None else found.url or None,
        "reused": None if found is None else found.reused,
    }


def _later(cell: CellState) -> dict[str, Any]:
    """What may become known of a cell after the verdict."""
    return {**_carried(cell), "diagnosis": _app_diagnosis(cell)}


def _cost_of(run: RunRecord) -> float | None:
    return _usd([cell.cost_micro_usd for cell in run.cells.values()])


def _usd(micros: Iterable[int | None]) -> float | None:
    """US dollars; None: no farm bills anything."""
    known = [one for one in micros if one is not None]
    return sum(known) / 1_000_000 if known else None


def _repeats(cell: CellState) -> list[dict[str, Any]]:
    """The jobs that were run again for a gate: of the variant, and of its baseline."""
    return [
        {
            "repeat": number,
            "of_baseline": of_baseline,
            "latency_ms_p50": one.measurement.latency.p50 if isinstance(one, Measured) else None,
            "reason": None if isinstance(one, Measured) else explain(one.failure),
        }
        for (number, of_baseline), one in sorted(cell.repeats.items())
    ]


def _circumstances(found: Measurement | None) -> dict[str, Any]:
    """In which shapes a cell was measured, and under which load."""
    if found is None:
        return dict.fromkeys(("input_shapes", "shapes_known", "unstable", "conditions"))
    return {
        "input_shapes": {name: list(shape) for name, shape in found.input_shapes.items()} or None,
        "shapes_known": found.shapes_known,
        "unstable": found.unstable,
        "conditions": None if found.conditions is None else dataclasses.asdict(found.conditions),
    }


def _status(run: RunRecord, cell: CellState, *, ended: bool) -> tuple[str | None, str | None, CellFailure | None]:
    """Status, reason and failure. Of a run that has not ended, a cell that may still be measured has none of them."""
    if cell.measured is not None:
        return "measured", None if cell.spec.times_count else _EMULATED, None
    failure = cell_failure(run, cell)
    if failure is None and ended:
        canceled = run.canceled is not None
        words = "the run was canceled" if canceled else "there is no measurement"
        # A run that still waited for a cell has ended at its deadline.
        failure = CellFailure(FailureKind.CANCELLED, words, skipped=canceled)
    if failure is None:
        return None, None, None
    return "skipped" if failure.skipped else "failed", failure.message, failure


def _gate(gate: GateResult) -> dict[str, Any]:
    return {
        "gate": gate.gate,
        "limit": gate.limit,
        "measured": gate.measured,
        "passed": gate.passed,
        "place": gate.place or None,
        "bound": "at_least" if gate.at_least else "at_most",
        "why": gate.why or None,
        "judged_at": gate.judged_at,
        **(_compared(gate) if gate.gate == LATENCY_VS else {}),
    }


def _compared(gate: GateResult) -> dict[str, Any]:
    """What a gate that compares with a baseline says in addition."""
    return {
        "baseline": gate.baseline or None,
        "interval": None if gate.interval is None else list(gate.interval),
        "noise": gate.noise,
    }
