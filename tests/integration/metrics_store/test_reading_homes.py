"""Reading a home in which nothing runs: by the service's own code, on a database that is only read."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import create_engine

from support.metrics_store import Store, metrics_store, with_plan
from support.run_events import RunEvents
from support.servers import free_port
from windtunnel.artifacts import LocalStore
from windtunnel.cli.home import locks
from windtunnel.cli.home.reading import reading_client, reads_home
from windtunnel.client import RunFilter
from windtunnel.errors import InvalidInput, NotFound, Unavailable
from windtunnel.metrics_store.adapters.database import alembic_config, open_database


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "a home with spaces?#%41"
    folder.mkdir()
    monkeypatch.setenv("WINDTUNNEL_HOME", str(folder))
    for name in ("NATS_URL", "METRICS_STORE_ADDRESS", "ARTIFACTS_URL", "DATABASE_URL"):
        monkeypatch.delenv(f"WINDTUNNEL_{name}", raising=False)
    return folder


async def fill(database: Path, home: Path) -> None:
    """A run that has ended, and one that has not ended."""
    # An SQLAlchemy URL cannot name every path that a home may have.
    made = database.parent.parent / "made.db"
    async with metrics_store(f"sqlite:///{made}") as store:
        ended = await with_plan(store, RunEvents("ended", labels={"team": "edge"}))
        await store.record(*ended.all())
        await store.record(RunEvents("going-on").converted())
        await copy_artifacts(store, home)
    made.rename(database)


async def copy_artifacts(store: Store, home: Path) -> None:
    kept = LocalStore(home / "artifacts")
    stored = await store.repository.load("ended")
    assert stored is not None and stored.report_sha256 is not None
    for sha256 in (stored.report_sha256, stored.record.plan_sha256):
        await kept.put_bytes(await store.artifacts.read_bytes(sha256))


@pytest.fixture
async def filled(home: Path) -> AsyncIterator[Path]:
    await fill(home / "metrics.db", home)
    yield home / "metrics.db"


async def check(database: Path) -> None:
    before = hashlib.sha256(database.read_bytes()).hexdigest()
    assert reads_home()
    async with reading_client() as client:
        assert (await client.run("ended").report()).verdict == "passed"
        assert (await client.run("going-on").report()).verdict is None
        assert {run.run_id for run in await client.runs()} == {"ended", "going-on"}
        assert [run.run_id for run in await client.runs(RunFilter(state="completed"))] == ["ended"]
        (report,) = await client.run("ended").artifacts(kind="report")
        assert b"windtunnel.report/1" in await client.served.read_bytes(report.sha256)
        assert (await client.compare("ended", "ssd@3")).rows
        with pytest.raises(NotFound, match="no-such-run"):
            await client.run("no-such-run").report()
    assert hashlib.sha256(database.read_bytes()).hexdigest() == before


async def test_a_home_is_read_and_not_written(filled: Path) -> None:
    await check(filled)


async def test_tables_of_an_older_version_are_read_too(filled: Path) -> None:
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(filled))
    with engine.begin() as connection:
        command.downgrade(alembic_config(connection), "0004")
    engine.dispose()
    await check(filled)


async def test_a_database_elsewhere(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    await fill(tmp_path / "elsewhere" / "m.db", home)
    monkeypatch.setenv("WINDTUNNEL_DATABASE_URL", f"sqlite:///{tmp_path}/elsewhere/m.db")
    await check(tmp_path / "elsewhere" / "m.db")
    monkeypatch.setenv("WINDTUNNEL_DATABASE_URL", "postgresql://user@db/windtunnel")
    assert not reads_home()
    with pytest.raises(Unavailable, match="Windtunnel is not running"):
        async with reading_client():
            pass


async def test_a_home_without_runs(home: Path) -> None:
    assert not reads_home()
    with pytest.raises(Unavailable, match="no runs yet: Windtunnel is not running in") as error:
        async with reading_client():
            pass
    assert "windtunnel submit" in str(error.value.hint)


async def test_a_home_that_somebody_supervises_is_not_taken_for_idle(filled: Path) -> None:
    lock = await locks.take_for_up(filled.parent, print)
    assert not reads_home()
    lock.release()
    assert reads_home()


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"this is not a database" * 100, r"metrics\.db is not a database"), (b"", r"metrics\.db is empty")],
)
async def test_a_file_that_is_not_a_database(home: Path, content: bytes, words: str) -> None:
    (home / "metrics.db").write_bytes(content)
    with pytest.raises(InvalidInput, match=words):
        async with reading_client():
            pass


async def test_a_database_of_a_newer_version(filled: Path) -> None:
    with closing(sqlite3.connect(filled)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0099'")
        connection.commit()
    with pytest.raises(InvalidInput, match=r"a newer Windtunnel wrote .*a home.*metrics\.db: .*0099"):
        async with reading_client():
            pass
    other = filled.rename(filled.parent.parent / "newer.db")
    with pytest.raises(InvalidInput, match=r"a newer Windtunnel wrote sqlite:///.*newer\.db: .*0099"):
        open_database(f"sqlite:///{other}")


async def test_an_address_at_which_nothing_answers(home: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    # The process id of a Windtunnel that was killed, given to another process since.
    written = {"nats": "nats://127.0.0.1:1", "grpc": {"metrics_store": address}, "pids": {"up": os.getpid()}}
    (home / "endpoints.json").write_text(json.dumps(written))
    began = time.monotonic()
    async with reading_client() as client:
        with pytest.raises(Unavailable, match=f"nothing answers at {address}.*endpoints.json"):
            await client.runs()
    assert time.monotonic() - began < 12


async def test_an_installation_without_the_service_says_what_is_missing(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windtunnel.cli.home.reading.importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        NotFound, match=r"metrics_store, which reads runs without it, is not installed.*windtunnel-cli\[up\]"
    ):
        async with reading_client():
            pass
