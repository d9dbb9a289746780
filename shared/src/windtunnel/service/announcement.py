"""Reading `model.trained`: whoever trains publishes it, so nothing in it is taken on trust."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from google.protobuf import json_format

from windtunnel.bus import Bucket, Event, Malformed
from windtunnel.errors import InvalidPlan, WindtunnelError
from windtunnel.formats import FORMATS
from windtunnel.plan import Plan, parse_plan, plan_from_proto
from windtunnel.telemetry import note_job
from windtunnel.v1 import events_pb2

_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class RunIdTaken(Malformed):
    """Another event has this run id already."""

    code = "run_id_taken"


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model as a training job announces it; see windtunnel.v1.Model."""

    name: str
    version: str
    uri: str
    sha256: str | None = None
    format: str | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    # Figures of the training itself, by name; `accuracy` is a share of 0 to 1.
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """The run of an event. `started_at`: when a service first took the event up, in UTC."""

    run_id: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a `model.trained` event asks for. At most one of plan, plan_uri and plan_name is given."""

    model: TrainedModel
    plan: Plan | None
    plan_uri: str | None
    plan_name: str | None
    labels: Mapping[str, str]


def read_announcement(event: Event) -> Announcement:
    """Reads the data of a `model.trained` event, protobuf or JSON.

    Args:
        event: as received.

    Returns:
        The model, and how to get its plan.

    Raises:
        Malformed: the data is not an announcement.
        InvalidPlan: only the plan in it is wrong.
    """
    message, plan = _from_json(event) if event.is_json else _from_protobuf(event)
    given = [
        name
        for name, value in (("plan", plan), ("plan_uri", message.plan_uri), ("plan_name", message.plan_name))
        if value
    ]
    if len(given) > 1:
        raise InvalidPlan(f"{' and '.join(given)} are given", hint="give one of them")
    return Announcement(
        model=read_model(message.model),
        plan=plan,
        plan_uri=message.plan_uri or None,
        plan_name=message.plan_name or None,
        labels=dict(message.labels),
    )


def _from_protobuf(event: Event) -> tuple[events_pb2.ModelTrained, Plan | None]:
    message = event.message()
    assert isinstance(message, events_pb2.ModelTrained)
    return message, plan_from_proto(message.plan) if message.HasField("plan") else None


def _from_json(event: Event) -> tuple[events_pb2.ModelTrained, Plan | None]:
    body = _object(event)
    # An inline plan has the form of plan.yaml, which is friendlier than the message's own JSON mapping.
    plan = body.pop("plan", None)
    try:
        message = json_format.ParseDict(body, events_pb2.ModelTrained(), ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError, RecursionError) as error:
        raise Malformed(f"data is not a ModelTrained: {error}") from error
    read_model(message.model)
    return message, None if plan is None else parse_plan(plan)


def _object(event: Event) -> dict[str, Any]:
    body = event.json()
    if not isinstance(body, dict):
        raise Malformed(f"data must be an object, this is {type(body).__name__}")
    return dict(body)


def read_model(message: Any) -> TrainedModel:
    """Reads the model in a windtunnel.v1.Model.

    Args:
        message: of that type.

    Returns:
        The model.

    Raises:
        Malformed: a field is missing or wrong; the message names it.
    """
    for name in ("name", "version", "uri"):
        if not getattr(message, name):
            raise Malformed(f"model.{name} is missing", hint="a model has a name, a version and a uri")
    if message.format and message.format not in FORMATS:
        raise Malformed(f"model.format is {message.format!r}", hint=f"known are {', '.join(FORMATS)}")
    if message.sha256 and not re.fullmatch("[0-9a-fA-F]{64}", message.sha256):
        raise Malformed(f"model.sha256 is {message.sha256!r}", hint="64 hex digits")
    return TrainedModel(
        name=message.name,
        version=message.version,
        uri=message.uri,
        sha256=message.sha256.lower() or None,
        format=message.format or None,
        inputs=tuple(message.inputs),
        outputs=tuple(message.outputs),
        metrics=_metrics(message.metrics),
    )


def _metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    accuracy = metrics.get("accuracy")
    if accuracy is not None and not 0.0 <= accuracy <= 1.0:
        hint = f"{accuracy:g} % is {accuracy / 100:g}" if 1.0 < accuracy <= 100.0 else ""
        raise Malformed(f"model.metrics.accuracy is {accuracy:g}, not a share from 0 to 1", hint=hint)
    return dict(metrics)


def derived_run_id(event: Event) -> str:
    """The run id of an event that asks for none.

    Args:
        event: as received.

    Returns:
        The same for every delivery of the event.
    """
    return derived_run_id_of(event.source, event.id)


def derived_run_id_of(source: str, id: str) -> str:
    """The run id that follows from source and id of an event.

    Args:
        source: of the event.
        id: of the event.

    Returns:
        The same for the same source and id.
    """
    return f"r-{_owner(source, id)[:20]}"


def _owner(source: str, id: str) -> str:
    return hashlib.sha256(f"{source}\0{id}".encode()).hexdigest()


def wanted_run_id(event: Event) -> str:
    """The run id that an event asks for; if it asks for none, the derived one.

    Args:
        event: as received.

    Returns:
        The id.

    Raises:
        Malformed: the id is not allowed.
    """
    wanted = _given_run_id(event)
    if not wanted:
        return derived_run_id(event)
    return check_run_id(wanted)


def check_run_id(wanted: Any) -> str:
    """Makes sure that a text may be the id of a run.

    Args:
        wanted: any value.

    Returns:
        The same text.

    Raises:
        Malformed: it may not.
    """
    if not isinstance(wanted, str) or not _RUN_ID.match(wanted):
        raise Malformed(f"run_id is {wanted!r}", hint="letters, digits, '-' and '_', at most 64")
    return wanted


def _given_run_id(event: Event) -> Any:
    if event.is_json:
        body = _object(event)
        return body.get("run_id") or body.get("runId")
    message = event.message()
    assert isinstance(message, events_pb2.ModelTrained)
    return message.run_id


async def claim_run(runs: Bucket, event: Event) -> ClaimedRun:
    """The run of an event and its start, the same for every service and every redelivery.

    An event that cannot be read has the derived run id, under which its failure is reported.

    Args:
        runs: the bucket of claims.
        event: as received.

    Returns:
        The run.

    Raises:
        RunIdTaken: another event has the wanted id.
        Unavailable: the bus does not answer.
    """
    try:
        wanted = wanted_run_id(event)
    except WindtunnelError:
        wanted = derived_run_id(event)
    owner = _owner(event.source, event.id)
    now = datetime.now(UTC)
    claim = json.dumps({"run_id": wanted, "at": now.isoformat()}).encode()
    run = _claimed(await runs.create(f"event.{owner}", claim), now)
    note_job(run_id=run.run_id)
    first = (await runs.create(f"run.{run.run_id}", owner.encode())).decode()
    if first != owner:
        raise RunIdTaken(f"run_id {run.run_id!r} is taken by another event", hint="leave it out, or choose another")
    return run


def _claimed(stored: bytes, now: datetime) -> ClaimedRun:
    """Reads the claim of an event. A claim may be the run id alone, without a time: then `now` is taken."""
    text = stored.decode()
    if not text.startswith("{"):
        return ClaimedRun(text, now)
    value = json.loads(text)
    return ClaimedRun(value["run_id"], datetime.fromisoformat(value["at"]))
