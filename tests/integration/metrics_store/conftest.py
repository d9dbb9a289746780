"""Both databases: SQLite in a file, and a real PostgreSQL server with a database for each test."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.metrics_store import Store, metrics_store
from support.postgres import NoPostgres, fresh_database, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    try:
        with postgres_server() as url:
            yield url
    except NoPostgres as error:
        pytest.skip(f"no PostgreSQL: {error}")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'metrics.db'}"
        return
    with fresh_database(request.getfixturevalue("postgres"), f"test_{uuid.uuid4().hex}") as fresh:
        yield fresh


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with metrics_store(url) as opened:
        yield opened
