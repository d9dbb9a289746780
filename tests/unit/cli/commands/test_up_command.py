"""`windtunnel up`: what it says when everything is ready."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from windtunnel.cli.commands.server import up
from windtunnel.errors import InvalidInput


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


def test_the_catalog_reaches_the_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    async def started(*_: Any, **__: Any) -> None:
        seen.append(os.environ["WINDTUNNEL_CATALOG_FILE"])

    monkeypatch.setattr(up, "_up", started)
    monkeypatch.setenv("WINDTUNNEL_CATALOG_FILE", "another.yaml")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text("apiVersion: windtunnel/v1\nentries: []")
    up.up.main(["--catalog", "c.yaml"], standalone_mode=False)
    assert seen == [str(tmp_path / "c.yaml")]
    (tmp_path / "c.yaml").write_text("apiVersion: windtunnel/v1")
    with pytest.raises(InvalidInput, match="entries"):
        up.up.main(["--catalog", "c.yaml"], standalone_mode=False)
    assert len(seen) == 1
