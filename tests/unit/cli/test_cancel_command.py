"""`windtunnel cancel` of a run that has ended, in a home in which nothing runs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from windtunnel.cli.home import reading
from windtunnel.cli.run_commands.cancel import cancel
from windtunnel.client import Report


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
