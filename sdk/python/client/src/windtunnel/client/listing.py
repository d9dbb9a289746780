"""Lists of runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from google.protobuf.timestamp_pb2 import Timestamp

from windtunnel.enum_words import RUN_STATE
from windtunnel.errors import InvalidInput
from windtunnel.v1 import metrics_store_pb2, types_pb2

if TYPE_CHECKING:
    from windtunnel.client.client import AsyncClient

_PAGE: Final = 1000
VERDICTS: Final = ("passed", "failed", "could_not_run")


@dataclass(frozen=True, slots=True)
class RunFilter:
    """A filter of runs. An empty field matches everything; a run must have all `labels`, and start after `since`."""

    model: str = ""
    version: str = ""
    state: str = ""
    verdict: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in a list. `state`: running or completed; `verdict` None: none yet; times are RFC 3339, in UTC."""

    run_id: str
    model: str
    version: str
    state: str
    verdict: str | None
    started_at: str | None
    ended_at: str | None
    labels: Mapping[str, str]


async def list_runs(client: AsyncClient, wanted: RunFilter, limit: int) -> list[RunSummary]:
    """Lists runs.

    Args:
        client: connected.
        wanted: which runs.
        limit: at most so many.

    Returns:
        The newest first.

    Raises:
        InvalidInput: the filter is not valid.
        Unavailable: the services do not answer.
    """
    found: list[RunSummary] = []
    request = _request(wanted)
    while len(found) < limit:
        request.page_size = min(_PAGE, limit - len(found))
        page = await client.call(client.store.ListRuns, request)
        found += map(_summary, page.runs)
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    return found


def verdict_name(verdict: types_pb2.Verdict.ValueType) -> str | None:
    """The name of a verdict.

    Args:
        verdict: of a message.

    Returns:
        passed, failed, could_not_run; None: no verdict yet.
    """
    if verdict == types_pb2.VERDICT_UNSPECIFIED:
        return None
    return types_pb2.Verdict.Name(verdict).removeprefix("VERDICT_").lower()


def _request(wanted: RunFilter) -> metrics_store_pb2.ListRunsRequest:
    for name, value, known in (("state", wanted.state, RUN_STATE.words), ("verdict", wanted.verdict, VERDICTS)):
        if value and value not in known:
            raise InvalidInput(f"{name} is {value!r}", hint=f"known are {', '.join(known)}")
    request = metrics_store_pb2.ListRunsRequest(
        model_name=wanted.model,
        model_version=wanted.version,
        state=wanted.state,
        run_state=RUN_STATE.number(wanted.state),
        verdict=types_pb2.Verdict.Value(f"VERDICT_{wanted.verdict.upper()}")
        if wanted.verdict
        else types_pb2.VERDICT_UNSPECIFIED,
        labels=wanted.labels,
    )
    if wanted.since is not None:
        request.started_after.FromDatetime(wanted.since)
    return request


def _summary(run: metrics_store_pb2.Run) -> RunSummary:
    return RunSummary(
        run_id=run.run_id,
        model=run.model_name,
        version=run.model_version,
        state=RUN_STATE.read(run.run_state, run.state),
        verdict=verdict_name(run.verdict),
        started_at=_instant(run.started_at) if run.HasField("started_at") else None,
        ended_at=_instant(run.ended_at) if run.HasField("ended_at") else None,
        labels=dict(run.labels),
    )


def _instant(message: Timestamp) -> str:
    return str(message.ToJsonString())
