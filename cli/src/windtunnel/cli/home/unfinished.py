"""Unfinished runs of an earlier Windtunnel in this home: they continue when Windtunnel runs again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from windtunnel.client import AsyncClient
from windtunnel.errors import Unavailable
from windtunnel.v1 import metrics_store_pb2

_NAMED: Final = 5


async def print_unfinished_runs(client: AsyncClient, say: Callable[[str], None], *, ending: str = "") -> None:
    """Prints which runs continue now. Prints nothing if the metrics store does not answer; the runs continue anyway.

    Args:
        client: connected to the Windtunnel that continues them.
        say: prints a line.
        ending: id of a run that the command is about to end; it is not printed.
    """
    # Both fields: an older metrics store reads only the text.
    request = metrics_store_pb2.ListRunsRequest(
        state="running", run_state=metrics_store_pb2.RUN_STATE_RUNNING, page_size=1000
    )
    runs: Sequence[metrics_store_pb2.Run] = ()
    with contextlib.suppress(Unavailable):
        found = (await client.call(client.store.ListRuns, request)).runs
        runs = [run for run in found if run.run_id != ending]
    if not runs:
        return
    named = ", ".join(f"{run.run_id} ({run.model_name} {run.model_version})" for run in runs[:_NAMED])
    more = f" and {len(runs) - _NAMED} more" if len(runs) > _NAMED else ""
    what = "an unfinished run continues" if len(runs) == 1 else f"{len(runs)} unfinished runs continue"
    say(f"{what}: {named}{more}; `windtunnel watch RUN` follows one, `windtunnel cancel RUN` ends it")
