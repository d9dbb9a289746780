"""The submission of a model: its files become artifacts, then `model.trained` is published."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from windtunnel.bus import Bus, Event, decode, encode, subjects
from windtunnel.client.served_store import OnProgress
from windtunnel.client.uploads import find_model, is_uri, names_local_files, read_plan, upload, upload_plan_files
from windtunnel.errors import Conflict, InvalidInput, Unavailable
from windtunnel.formats import FORMATS
from windtunnel.plan import Plan, plan_to_proto
from windtunnel.service.announcement import RunIdTaken, claim_run, derived_run_id_of, wanted_run_id
from windtunnel.telemetry import child_of
from windtunnel.v1 import events_pb2, metrics_store_pb2, types_pb2

if TYPE_CHECKING:
    from windtunnel.client.client import AsyncClient

SOURCE = "/windtunnel/client"
_PLAN_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Submission:
    """The arguments of `AsyncClient.submit`, with empty values for absent ones."""

    model: str
    plan: str | Path | Plan | None
    plan_name: str
    name: str
    version: str
    sha256: str
    format: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    labels: Mapping[str, str]
    metrics: Mapping[str, float]
    run_id: str
    event_id: str


async def submit(client: AsyncClient, given: Submission, on_upload: OnProgress | None) -> str:
    """Uploads the files of a submission, publishes it and returns the id of its run.

    Args:
        client: a connection to the services.
        given: the submission.
        on_upload: called with bytes sent and bytes in all, if files go through the services' API.

    Returns:
        The run id.

    Raises:
        InvalidInput: the arguments are not valid.
        InvalidPlan: the plan is not valid.
        NotFound: the model or the stored plan does not exist.
        Conflict: the run id is taken.
        Unavailable: a service does not answer.
    """
    if given.plan is not None and given.plan_name:
        raise InvalidInput("plan and plan_name are given", hint="give one of them")
    find_model(given.model, given.sha256 or None)
    declared = given.format or format_by_name(given.model)
    if declared and declared not in FORMATS:
        raise InvalidInput(f"unknown format {declared!r}", hint=f"known are {', '.join(FORMATS)}")
    if given.plan_name:
        await _require_plan(client, given.plan_name)
    uri = given.model
    if not is_uri(uri):
        uri = await upload(await client.services_store(on_upload), Path(given.model))
    message = events_pb2.ModelTrained(
        model=types_pb2.Model(
            name=given.name or Path(given.model.rstrip("/")).stem,
            version=given.version or version_of(uri),
            uri=uri,
            sha256=given.sha256,
            format=declared,
            inputs=given.inputs,
            outputs=given.outputs,
            metrics=given.metrics,
        ),
        plan_name=given.plan_name,
        labels=given.labels,
        run_id=given.run_id,
    )
    if given.plan is not None:
        message.plan.CopyFrom(plan_to_proto(await _uploaded(client, given.plan, on_upload)))
    return await _publish(await client.bus(), message, given.event_id)


async def _require_plan(client: AsyncClient, name: str) -> None:
    """Raises NotFound if a stored plan does not exist. Does not wait for a metrics store that does not answer."""
    with contextlib.suppress(Unavailable):
        await client.call(client.store.GetPlan, metrics_store_pb2.GetPlanRequest(name=name), timeout_s=_PLAN_TIMEOUT_S)


async def _uploaded(client: AsyncClient, plan: str | Path | Plan, on_upload: OnProgress | None) -> Plan:
    folder = Path.cwd()
    if not isinstance(plan, Plan):
        folder = Path(plan).parent
        plan = read_plan(Path(plan))
    if not names_local_files(plan, folder):
        # Nothing is stored: the services' store need not be reachable.
        return await upload_plan_files(client.artifacts, plan, folder)
    return await upload_plan_files(await client.services_store(on_upload), plan, folder)


async def _publish(bus: Bus, message: events_pb2.ModelTrained, id: str) -> str:
    run_id = message.run_id or derived_run_id_of(SOURCE, id)
    subject, headers, data = encode(message, id=id, source=SOURCE, run_id=run_id, traceparent=child_of(""))
    if message.run_id:
        await _claim(bus, decode(subject, headers, data))
    await bus.publish(subject, headers, data)
    return run_id


async def _claim(bus: Bus, event: Event) -> None:
    """Reserves the run id that the user wants, before the run is announced.

    Raises:
        Conflict: another event has it.
    """
    run_id = wanted_run_id(event)
    try:
        await claim_run(await bus.bucket(subjects.RUNS_BUCKET), event)
    except RunIdTaken:
        raise Conflict(f"run {run_id!r} already exists", hint="leave the run id out, or choose another") from None


def version_of(uri: str) -> str:
    """A version for a model that has none.

    Args:
        uri: of the model.

    Returns:
        The first digits of an artifact's hash; for other URIs, whose content is not known, the time.
    """
    if uri.startswith("sha256:"):
        return uri.removeprefix("sha256:")[:12]
    return datetime.now(UTC).strftime("%Y-%m-%d.%H%M%S")


def format_by_name(model: str) -> str:
    """The format of a model whose content does not show it.

    Args:
        model: path or URI.

    Returns:
        Empty: the content shows it.
    """
    # A GraphDef does not name its format, and an artifact has no file name: only here the name is still known.
    path = Path(model)
    return "frozen_graph" if path.suffix == ".pb" and path.name != "saved_model.pb" else ""
