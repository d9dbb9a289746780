"""Migrations and the engine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import inspect, text

from support.metrics_store import metrics_store
from support.run_events import RunEvents
from windtunnel.errors import InvalidInput, Unavailable
from windtunnel.metrics_store.adapters import tables
from windtunnel.metrics_store.adapters.database import alembic_config, migrate, open_database


def test_migrations_make_the_tables_of_the_models(url: str) -> None:
    database = open_database(url)
    try:
        migrate(database.engine)
        with database.engine.begin() as connection:
            assert set(inspect(connection).get_table_names()) == {*tables.metadata.tables, "alembic_version"}
            # Raises where a model has changed and no migration has that.
            command.check(alembic_config(connection))
    finally:
        database.engine.dispose()


def test_migrations_go_down_and_up_again(url: str) -> None:
    database = open_database(url)
    try:
        with database.engine.begin() as connection:
            command.downgrade(alembic_config(connection), "base")
            assert inspect(connection).get_table_names() == ["alembic_version"]
        migrate(database.engine)
        with database.engine.begin() as connection:
            command.check(alembic_config(connection))
    finally:
        database.engine.dispose()


def test_replicas_may_start_together(url: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        databases = list(threads.map(open_database, [url] * 4))
    for database in databases:
        database.engine.dispose()


async def test_opening_again_keeps_everything(url: str) -> None:
    async with metrics_store(url) as store:
        await store.record(RunEvents().converted())
    async with metrics_store(url) as store:
        stored = await store.repository.load("run-1")
        assert stored is not None and stored.record.converted is not None


def test_sqlite_is_in_wal_mode_and_syncs(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'deep' / 'metrics.db'}")
    try:
        with database.engine.connect() as connection:
            found = {
                name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")
            }
        assert found == {"journal_mode": "wal", "synchronous": 2}
    finally:
        database.engine.dispose()


@pytest.mark.parametrize("bad", ["", "metrics.db", "mysql://u:secret@h/d", "sqlite://", "postgresql+psycopg2://h/d"])
def test_a_url_that_cannot_be_used_is_refused(bad: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_database(bad)

    assert "secret" not in str(caught.value)


def test_a_server_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable) as caught:
        open_database("postgresql://windtunnel:secret@127.0.0.1:9/postgres")

    assert "secret" not in str(caught.value)
