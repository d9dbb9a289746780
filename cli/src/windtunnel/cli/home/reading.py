"""Reading runs, reports and artifacts: from a running Windtunnel, or directly from the home if none runs.

The metrics store reads the home, in this process. It opens the database read-only.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from windtunnel.cli.home.database import runs_database
from windtunnel.cli.home.locks import is_taken
from windtunnel.client import AsyncClient, Endpoints, find_endpoints
from windtunnel.client.endpoints import home_folder
from windtunnel.errors import NotFound, Unavailable

_SERVICE: Final = "metrics_store"


@contextlib.asynccontextmanager
async def reading_client() -> AsyncIterator[AsyncClient]:
    """A client that reads.

    Raises Unavailable if nothing runs and the home has no database, NotFound if it has one but the metrics store is not
    installed.
    """
    async with contextlib.AsyncExitStack() as stack:
        try:
            endpoints = find_endpoints()
        except Unavailable as error:
            endpoints = await stack.enter_async_context(_served_home(home_folder(), error))
        yield await stack.enter_async_context(AsyncClient(endpoints))


def reads_home() -> bool:
    """Whether `reading_client` reads the home itself: nothing runs there, and nothing starts."""
    try:
        find_endpoints()
    except Unavailable:
        return not is_taken(home_folder()) and runs_database(home_folder()) is not None
    return False


@contextlib.asynccontextmanager
async def _served_home(home: Path, nothing_runs: Unavailable) -> AsyncIterator[Endpoints]:
    """A metrics store in this process that reads `home`.

    Raises:
        Unavailable: `nothing_runs`, if the home has no database.
        NotFound: the services are not installed.
    """
    database = runs_database(home)
    if database is None:
        if os.environ.get("WINDTUNNEL_DATABASE_URL"):
            raise nothing_runs
        raise Unavailable(
            f"no runs yet: Windtunnel is not running in {home}, and the folder has no earlier runs",
            hint="start a run with `windtunnel submit MODEL`, or set WINDTUNNEL_HOME to a folder with runs",
        )
    if importlib.util.find_spec(f"windtunnel.{_SERVICE}") is None:
        raise NotFound(
            f"Windtunnel is not running in {home}, and {_SERVICE}, which reads runs without it, is not installed",
            hint="pip install 'windtunnel-cli[up]'",
        )
    from windtunnel.metrics_store.read_only import open_to_read
    from windtunnel.rpc import RpcServer

    artifacts = os.environ.get("WINDTUNNEL_ARTIFACTS_URL") or str(home / "artifacts")
    # The path of a socket is limited to 107 characters: the home may be too long.
    with tempfile.TemporaryDirectory(prefix="wt-") as folder:
        async with open_to_read(database, artifacts, home / "cache") as servicers:
            server = RpcServer(servicers)
            address = f"unix:{folder}/s"
            await server.start_at(address)
            try:
                yield Endpoints("", {_SERVICE: address}, artifacts, home)
            finally:
                await server.stop(0)
