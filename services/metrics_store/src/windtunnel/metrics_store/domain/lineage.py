"""Lineage: artifacts, and the executions that made them from others (the model of ML Metadata)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from windtunnel.metrics_store.domain.values import Blob


@dataclass(frozen=True, slots=True)
class LineageArtifact:
    """An artifact and its part in a run.

    Parts are trained_model, plan, float_model, variant, diagnosis, app, log, samples, edge_log, app_diagnosis and
    report.
    """

    artifact: Blob
    kind: str


@dataclass(frozen=True, slots=True)
class Execution:
    """One job that a service did. `inputs` and `outputs` are SHA-256s, sorted.

    Variant, platform, cell and attempt say what it worked on, as far as that applies.
    """

    id: str
    kind: str
    service: str
    event_id: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    variant: str = ""
    platform: str = ""
    cell_id: str = ""
    attempt: int = 0
    at: datetime | None = None


def with_implied_inputs(executions: Sequence[Execution], packages: Mapping[tuple[str, str], str]) -> list[Execution]:
    """The executions with the inputs that their events do not name.

    They are the app of a device run, and the log of a measurement or of the diagnosis of an app.

    Args:
        executions: of a run.
        packages: the app's SHA-256 by variant and platform.

    Returns:
        The executions.
    """
    logs = {(e.cell_id, e.attempt): e.outputs for e in executions if e.kind == "run"}
    result = []
    for execution in executions:
        implied: tuple[str, ...] = ()
        if execution.kind == "run" and (execution.variant, execution.platform) in packages:
            implied = (packages[execution.variant, execution.platform],)
        elif execution.kind in ("measure", "diagnose"):
            implied = logs.get((execution.cell_id, execution.attempt), ())
        inputs = tuple(sorted({*execution.inputs, *implied}))
        result.append(dataclasses.replace(execution, inputs=inputs))
    return result
