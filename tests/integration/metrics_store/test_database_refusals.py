"""A database that cannot be used is reported; at once, if waiting does not help."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from sqlalchemy import make_url

from support.servers import free_port
from windtunnel.errors import InvalidInput, Unavailable
from windtunnel.metrics_store.adapters.database import wait_for_database


async def refused(url: str) -> str:
    """What it says within a moment."""
    began = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        await wait_for_database(url, wait_s=60)
    assert time.monotonic() - began < 10
    return caught.value.message


async def test_a_database_or_a_user_that_is_not_there(postgres: str) -> None:
    url = make_url(postgres)
    missing = url.set(database="nobody_made_it").render_as_string(hide_password=False)
    assert "does not exist" in await refused(missing)
    stranger = url.set(username="stranger", password="secretpw").render_as_string(hide_password=False)
    said = await refused(stranger)
    assert "stranger" in said and "secretpw" not in said


async def test_a_server_that_is_late_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    with pytest.raises(Unavailable):
        await wait_for_database(f"postgresql://u:secretpw@127.0.0.1:{port}/x", wait_s=4)
    told = [record.getMessage() for record in caplog.records if "trying again" in record.getMessage()]
    assert len(told) >= 2
    assert f"u:***@127.0.0.1:{port}" in told[0] and "secretpw" not in "".join(told)


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="cannot be made"):
        await wait_for_database(f"sqlite:///{tmp_path}/file/x/metrics.db")
    await asyncio.sleep(0)
