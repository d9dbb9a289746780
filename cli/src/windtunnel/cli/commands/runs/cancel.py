"""`windtunnel cancel`: ends a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from windtunnel.cli.commands.completion import complete_runs
from windtunnel.cli.io.console import json_option, print_json, run_async, say

if TYPE_CHECKING:
    from windtunnel.cli.home.session import Connection
    from windtunnel.v1.farm_dispatcher_pb2 import ActiveFarmRun


@click.command()
@click.argument("run_id", metavar="RUN", shell_complete=complete_runs)
@click.option("--reason", default="", help="Why, in words; shown in the report.")
@json_option
def cancel(run_id: str, reason: str, as_json: bool) -> int:
    """Ends RUN: its verdict becomes could_not_run, and services stop working for it.

    What it has on farms is canceled there, and listed. Canceling it again changes nothing. A run that has already ended
    is not changed; the exit code is then 2. If Windtunnel is not running, an embedded one is started to cancel an
    unfinished run, so that it never continues.

    \b
    windtunnel cancel r-0f3c
    windtunnel cancel r-0f3c --reason "wrong checkpoint"
    windtunnel cancel r-0f3c --json
    """
    answer = run_async(_cancel(run_id, reason))
    if as_json:
        print_json(answer)
    elif answer["canceled"]:
        click.echo(f"run {run_id} is canceled")
        for farm_run in answer.get("farm_runs", ()):
            click.echo(f"  {_words(farm_run)}")
    else:
        say(f"run {run_id} has already ended with verdict {answer['verdict']}; it is not changed")
    return 0 if answer["canceled"] else 2


def _farm_run(one: ActiveFarmRun) -> dict[str, Any]:
    return {
        "farm": one.farm,
        "device": one.device,
        "os_version": one.os_version,
        "cells": one.cells,
        "farm_run": one.info.id or None,
        "url": one.info.url or None,
    }


def _words(farm_run: Mapping[str, Any]) -> str:
    cells = "1 cell" if farm_run["cells"] == 1 else f"{farm_run['cells']} cells"
    named = [text for text in (farm_run["farm_run"], farm_run["url"]) if text]
    place = f"{farm_run['farm']}/{farm_run['device']}@{farm_run['os_version']}"
    id_and_page = f" ({', '.join(named)})" if named else ""
    return f"canceled on its farm: {place}, {cells}{id_and_page}"


async def _cancel(run_id: str, reason: str) -> dict[str, Any]:
    from windtunnel.cli.home.farm_runs import active_farm_runs
    from windtunnel.cli.home.reading import reading_client, reads_home
    from windtunnel.cli.home.session import with_windtunnel

    if reads_home():
        # Only an unfinished run needs a Windtunnel.
        async with reading_client() as client:
            report = await client.run(run_id).report()
        if report.verdict is not None:
            return {"run_id": run_id, "verdict": report.verdict, "canceled": report.canceled}

    async def work(on: Connection) -> dict[str, Any]:
        run = on.client.run(run_id)
        on_farms = await active_farm_runs(on.client, run_id)
        canceled = await run.cancel(reason)
        answer = {"run_id": run_id, "verdict": (await run.report()).verdict, "canceled": canceled}
        return {**answer, "farm_runs": [_farm_run(one) for one in on_farms]} if canceled else answer

    def interrupted(*, embedded: bool) -> None:
        say(f"interrupted: it is not known whether run {run_id} is canceled; run `windtunnel cancel {run_id}` again")

    return await with_windtunnel(work, interrupted, ending=run_id)
