"""`windtunnel up`: what it says when everything is ready."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from windtunnel.cli.commands.server import up


@pytest.mark.parametrize("quiet", [False, True])
async def test_it_says_that_it_is_ready_without_a_terminal(
    quiet: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @asynccontextmanager
    async def client(_: Any) -> AsyncIterator[None]:
        yield

    async def nothing(*_: Any) -> None:
        pass

    monkeypatch.setattr("windtunnel.client.AsyncClient", client)
    monkeypatch.setattr("windtunnel.cli.home.unfinished.print_unfinished_runs", nothing)
    supervisor: Any = SimpleNamespace(start=nothing, broken=nothing, endpoints={"nats": "x"}, addresses=None)

    await up._keep_up(supervisor, quiet=quiet)

    shown = capsys.readouterr()
    assert shown.out == '{"nats": "x"}\n'
    assert ("Windtunnel is ready" in shown.err) is not quiet
