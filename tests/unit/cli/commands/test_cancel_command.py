"""`windtunnel cancel` of a run that has ended, in a home in which nothing runs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from windtunnel.cli.commands.runs.cancel import cancel
from windtunnel.cli.home import reading
from windtunnel.cli.home.unfinished import print_unfinished_runs
from windtunnel.client import Report
from windtunnel.v1 import metrics_store_pb2


@pytest.mark.parametrize(
    ("canceled", "reason", "code"),
    [(True, "canceled: wrong plan", 0), (True, "ended by request", 0), (False, "canceled.tflite is not a model", 2)],
)
def test_the_report_says_whether_the_run_was_canceled(
    monkeypatch: pytest.MonkeyPatch, canceled: bool, reason: str, code: int
) -> None:
    found = Report({"run_id": "r-1", "verdict": "could_not_run", "reasons": [reason], "canceled": canceled})

    async def report() -> Report:
        return found

    @contextlib.asynccontextmanager
    async def reading_client() -> AsyncIterator[SimpleNamespace]:
        yield SimpleNamespace(run=lambda run_id: SimpleNamespace(report=report))

    monkeypatch.setattr(reading, "reads_home", lambda: True)
    monkeypatch.setattr(reading, "reading_client", reading_client)
    result = CliRunner().invoke(cancel, ["r-1", "--json"], standalone_mode=False)
    assert json.loads(result.stdout) == {"run_id": "r-1", "verdict": "could_not_run", "canceled": canceled}
    assert result.return_value == code


@pytest.mark.parametrize(("ending", "named"), [("", "r-1 (ssd 1), r-2 (ssd 2)"), ("r-1", "r-2 (ssd 2)")])
async def test_the_run_that_is_canceled_is_not_said_to_go_on(ending: str, named: str) -> None:
    runs = [metrics_store_pb2.Run(run_id=f"r-{n}", model_name="ssd", model_version=str(n)) for n in (1, 2)]

    async def call(method: object, request: object) -> metrics_store_pb2.ListRunsResponse:
        return metrics_store_pb2.ListRunsResponse(runs=runs)

    said: list[str] = []
    client: Any = SimpleNamespace(call=call, store=SimpleNamespace(ListRuns=None))
    await print_unfinished_runs(client, said.append, ending=ending)
    assert len(said) == 1 and f": {named};" in said[0]
    del runs[1]
    said.clear()
    await print_unfinished_runs(client, said.append, ending="r-1")
    assert said == []
