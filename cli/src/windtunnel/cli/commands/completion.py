"""What a shell completes for RUN, models, variants, plans and dead letters. It is fast, and never prints an error.

For a home on this machine it reads the database, which takes milliseconds; for a remote Windtunnel it calls the API.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from windtunnel.cli.home.database import runs_database

_MOST: Final = 100
_CALL_S: Final = 1.0
# A shell that waits longer than this for a completion feels broken.
_LIMIT_S: Final = 2.0
_RUNS: Final = (
    "SELECT run_id, model_name || ' ' || model_version || ' ' || coalesce(verdict, state) FROM runs "
    "WHERE substr(run_id, 1, ?) = ? ORDER BY started_at DESC LIMIT ?"
)
_VARIANTS: Final = "SELECT name FROM variants WHERE run_id = ? ORDER BY name"
_MODELS: Final = "SELECT DISTINCT model_name FROM runs WHERE model_name <> '' ORDER BY model_name"

Found = list[CompletionItem]


def complete_runs(context: click.Context, parameter: click.Parameter, incomplete: str) -> Found:
    """Completes ids of runs, newest first, with model, version and verdict.

    Args:
        context: the command line so far.
        parameter: the one to complete.
        incomplete: what is typed.

    Returns:
        What fits; nothing if runs cannot be read.
    """
    return _quietly(lambda: [CompletionItem(id, help=words) for id, words in _runs(incomplete)])


def complete_models(context: click.Context, parameter: click.Parameter, incomplete: str) -> Found:
    """Completes names of models that have runs.

    Args:
        context: the command line so far.
        parameter: the one to complete.
        incomplete: what is typed.

    Returns:
        What fits; nothing if runs cannot be read.
    """
    return _quietly(lambda: _starting(_models(), incomplete))


def complete_farms(context: click.Context, parameter: click.Parameter, incomplete: str) -> Found:
    """Completes names of farms: those of the farms.yaml on the command line or in WINDTUNNEL_FARMS_FILE.

    Args:
        context: the command line so far.
        parameter: the one to complete.
        incomplete: what is typed.

    Returns:
        What fits; nothing if the file cannot be read.
    """
    return _quietly(lambda: _starting(_farms(context), incomplete))


def complete_devices(context: click.Context, parameter: click.Parameter, incomplete: str) -> Found:
    """Completes FARM/DEVICE: names of farms, and the device of this host.

    Args:
        context: the command line so far.
        parameter: the one to complete.
        incomplete: what is typed.

    Returns:
        What fits. Devices of other farms are not asked for: that takes longer than a shell may wait.
    """
    return _quietly(lambda: _starting((f"{farm}/" for farm in _farms(context)), incomplete))


def _farms(context: click.Context) -> list[str]:
    import yaml

    given = context.params.get("farms") or os.environ.get("WINDTUNNEL_FARMS_FILE")
    if not given:
        return os.environ.get("WINDTUNNEL_FARMS", "local").split(",")
    # Only the names: checking the whole file takes longer than a shell may wait.
    document = yaml.safe_load(Path(given).read_text(encoding="utf-8"))
    return [str(farm["name"]) for farm in document["farms"]]


def complete_variants(context: click.Context, parameter: click.Parameter, incomplete: str) -> Found:
    """Completes the variants of the run on the command line; without a run, the variants built into Windtunnel.

    Args:
        context: the command line so far, with the run.
        parameter: the one to complete.
        incomplete: what is typed.

    Returns:
        What fits; nothing if the run cannot be read.
    """
    if not any(one.name == "run_id" for one in context.command.params):
        from windtunnel.plan import BUILTIN_VARIANTS

        return _starting(BUILTIN_VARIANTS, incomplete)
    # If an option still needs its value, click has not parsed the arguments yet.
    words = [str(context.params.get("run_id") or ""), *(word for word in context.args if not word.startswith("-"))]
    run_id = next(filter(None, words), "")
    return _quietly(lambda: _starting(_variants(run_id), incomplete))


def complete_plans(context: click.Context, parameter: click.Parameter, incomplete: str) -> Found:
    """Completes names of stored plans.

    Args:
        context: the command line so far.
        parameter: the one to complete.
        incomplete: what is typed.

    Returns:
        What fits; nothing if plans cannot be read.
    """
    return _quietly(lambda: _starting(_plans(), incomplete))


def complete_dead_letters(context: click.Context, parameter: click.Parameter, incomplete: str) -> Found:
    """Completes ids of dead letters, with their subjects.

    Args:
        context: the command line so far.
        parameter: the one to complete.
        incomplete: what is typed.

    Returns:
        What fits; nothing if dead letters cannot be read.
    """
    return _quietly(
        lambda: [CompletionItem(id, help=subject) for id, subject in _dead_letters() if id.startswith(incomplete)]
    )


def _starting(names: Iterable[str], incomplete: str) -> Found:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)][:_MOST]


def _quietly(ask: Callable[[], Found]) -> Found:
    """What `ask` returns in time; nothing if it fails or takes too long."""
    found: Found = []

    def work() -> None:
        # Windtunnel is not running, permission is denied, or the database is older: the shell completes nothing.
        with contextlib.suppress(Exception):
            found.extend(ask())

    with _no_words():
        thread = threading.Thread(target=work, daemon=True, name="completion")
        thread.start()
        thread.join(_LIMIT_S)
    return list(found)


@contextlib.contextmanager
def _no_words() -> Iterator[None]:
    """Discards standard error inside: native libraries write to it too, in the middle of a command line."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _database() -> Path | None:
    """The database of the home on this machine; None if a variable names a remote Windtunnel."""
    return None if os.environ.get("WINDTUNNEL_METRICS_STORE_ADDRESS") else runs_database(_home())


def _home() -> Path:
    # The same as windtunnel.client.endpoints.home_folder; importing the client takes half a second.
    return Path(os.environ.get("WINDTUNNEL_HOME") or "~/.windtunnel").expanduser().absolute()


def _require_endpoints() -> None:
    """Raises FileNotFoundError if no Windtunnel runs and no variable names one, before anything large is imported."""
    named = any(name.startswith("WINDTUNNEL_") and name.endswith(("_ADDRESS", "_NATS_URL")) for name in os.environ)
    if not named:
        (_home() / "endpoints.json").stat()


def _rows(path: Path, query: str, *values: object) -> list[Any]:
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0.5)) as connection:
        return connection.execute(query, values).fetchall()


def _runs(incomplete: str) -> list[tuple[str, str]]:
    if (path := _database()) is not None:
        return _rows(path, _RUNS, len(incomplete), incomplete, _MOST)
    return [
        (run.run_id, f"{run.model_name} {run.model_version} {_state(run)}")
        for run in _listed_runs()
        if run.run_id.startswith(incomplete)
    ]


def _state(run: Any) -> str:
    from windtunnel.enum_words import RUN_STATE

    return RUN_STATE.read(run.run_state, run.state)


def _models() -> list[str]:
    if (path := _database()) is not None:
        return [name for (name,) in _rows(path, _MODELS)]
    return sorted({run.model_name for run in _listed_runs() if run.model_name})


def _variants(run_id: str) -> list[str]:
    if (path := _database()) is not None:
        return [name for (name,) in _rows(path, _VARIANTS, run_id)]
    _require_endpoints()
    import json

    from windtunnel.v1 import metrics_store_pb2 as pb

    with _api() as store:
        answer = store.GetReport(pb.GetReportRequest(run_id=run_id), timeout=_CALL_S)
    return [variant["name"] for variant in json.loads(answer.report_json)["variants"]]


def _plans() -> list[str]:
    _require_endpoints()
    from windtunnel.v1 import metrics_store_pb2 as pb

    with _api() as store:
        return sorted(store.ListPlans(pb.ListPlansRequest(), timeout=_CALL_S).names)


def _listed_runs() -> list[Any]:
    _require_endpoints()
    from windtunnel.v1 import metrics_store_pb2 as pb

    with _api() as store:
        return list(store.ListRuns(pb.ListRunsRequest(page_size=_MOST), timeout=_CALL_S).runs)


@contextlib.contextmanager
def _api() -> Iterator[Any]:
    """The API of the metrics store of a running Windtunnel. Raises Unavailable if none is known."""
    _require_endpoints()
    from windtunnel.client.endpoints import find_endpoints

    address = find_endpoints().address_of("metrics_store")
    import grpc

    from windtunnel.v1 import metrics_store_pb2_grpc

    with grpc.insecure_channel(address) as channel:
        yield metrics_store_pb2_grpc.MetricsStoreServiceStub(channel)


def _dead_letters() -> list[tuple[str, str]]:
    _require_endpoints()
    import asyncio

    from windtunnel.bus.nats.jetstream import connect
    from windtunnel.client.endpoints import find_endpoints

    async def ask() -> list[tuple[str, str]]:
        bus = await connect(find_endpoints().nats, name="windtunnel-completion", wait_s=_CALL_S)
        try:
            return [(letter.id, letter.subject) for letter in await bus.dead_letters()]
        finally:
            await bus.close()

    return asyncio.run(ask())
