"""`windtunnel submit` and `windtunnel watch`."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from windtunnel.cli.context import json_option, print_json, run_async, say
from windtunnel.errors import Unavailable

if TYPE_CHECKING:
    from windtunnel.client import AsyncClient, AsyncRun, Endpoints, Report

_EXIT_OF_VERDICT = {None: 0, "passed": 0, "failed": 1, "could_not_run": 2}


@click.command()
@click.argument("model")
@click.option("--plan", type=click.Path(path_type=Path), help="The plan, a YAML file.")
@click.option("--plan-name", help="A stored plan instead (see `windtunnel plans`).")
@click.option("--name", help="Name of the model; the file's name otherwise.")
@click.option("--version", help="Version of the model; from its content otherwise.")
@click.option("--format", "model_format", help="Format of the model; told from its content otherwise.")
@click.option("--input", "inputs", multiple=True, help="Input tensor of a graph that does not say; may be repeated.")
@click.option("--output", "outputs", multiple=True, help="Output tensor likewise.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label of the run; may be repeated.")
@click.option("--run-id", help="Id of the run: letters, digits, '-' and '_'.")
@click.option("--wait", is_flag=True, help="Wait for the verdict, with progress, and print the report.")
@json_option
def submit(
    model: str,
    plan: Path | None,
    plan_name: str | None,
    name: str | None,
    version: str | None,
    model_format: str | None,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    labels: tuple[str, ...],
    run_id: str | None,
    wait: bool,
    as_json: bool,
) -> int:
    """Announces MODEL (a file, folder, checkpoint prefix or URI) and so starts a run.

    With --wait the exit code is the verdict's: 0 passed, 1 failed, 2 could not run. Where no Windtunnel runs, an
    embedded one is started for the life of this command; then --wait is implied.

    \b
    windtunnel submit model.keras --plan plan.yaml --wait
    windtunnel submit saved_model/ --plan-name nightly --label team=edge
    windtunnel submit s3://models/ssd.zip --name ssd --version 2026-11-20.3 --wait --json
    """
    options = {
        "plan": plan,
        "plan_name": plan_name,
        "name": name,
        "version": version,
        "format": model_format,
        "inputs": inputs,
        "outputs": outputs,
        "labels": dict(_label(text) for text in labels),
        "run_id": run_id,
    }
    return run_async(_submit(model, options, wait=wait, as_json=as_json))


def _label(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--label")
    return key, value


async def _submit(model: str, options: dict[str, Any], *, wait: bool, as_json: bool) -> int:
    check_arguments(model, options)
    async with connected() as (client, embedded):
        run = await client.submit(model, **options)
        if wait or embedded:
            return await follow(run, as_json=as_json)
        if as_json:
            print_json({"run_id": run.run_id})
        else:
            click.echo(run.run_id)
            say(f"follow it with `windtunnel watch {run.run_id}`")
        return 0


def check_arguments(model: str, options: dict[str, Any]) -> None:
    """What can be told before anything is started. Raises what the submission itself would raise."""
    from windtunnel.announcement import check_run_id
    from windtunnel.client.uploads import find_model, read_plan

    find_model(model)
    if options["plan"] is not None:
        read_plan(options["plan"])
    if options["run_id"]:
        check_run_id(options["run_id"])


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[AsyncClient, bool]]:
    """A client of the running Windtunnel, or of an embedded one that lives as long as the context."""
    from windtunnel.cli.supervisor import Supervisor, require_services
    from windtunnel.client import AsyncClient, find_endpoints
    from windtunnel.client.endpoints import home_folder

    async with contextlib.AsyncExitStack() as stack:
        endpoints = await _running_endpoints()
        embedded = endpoints is None
        if endpoints is None:
            require_services()
            say(f"no Windtunnel runs: starting an embedded one in {home_folder()} for this command")
            await stack.enter_async_context(Supervisor(home_folder(), on_event=say))
            endpoints = find_endpoints()
        yield await stack.enter_async_context(AsyncClient(endpoints)), embedded


async def _running_endpoints() -> Endpoints | None:
    """The running Windtunnel; one that is just starting is waited for. None: nothing runs."""
    from windtunnel.cli.supervisor import is_starting_or_running
    from windtunnel.client import find_endpoints
    from windtunnel.client.endpoints import home_folder

    waiting = False
    while True:
        try:
            return find_endpoints()
        except Unavailable:
            if not is_starting_or_running(home_folder()):
                return None
        if not waiting:
            say(f"waiting for the Windtunnel that starts in {home_folder()}")
            waiting = True
        await asyncio.sleep(0.2)


@click.command()
@click.argument("run_id", metavar="RUN")
@json_option
def watch(run_id: str, as_json: bool) -> int:
    """Shows the progress of RUN until its verdict, then its report; the exit code is the verdict's.

    \b
    windtunnel watch r-0f3c
    """
    return run_async(_watch(run_id, as_json))


async def _watch(run_id: str, as_json: bool) -> int:
    from windtunnel.client import AsyncClient

    async with AsyncClient() as client:
        return await follow(client.run(run_id), as_json=as_json)


async def follow(run: AsyncRun, *, as_json: bool) -> int:
    """Progress on standard error, the report on standard output, the verdict as exit code."""
    await _show_progress(run)
    report = await run.report()
    show_report(report, as_json=as_json)
    return exit_code(report)


def exit_code(report: Report) -> int:
    """0 passed, 1 failed, 2 could not run; 0 while the run goes on."""
    return _EXIT_OF_VERDICT[report.verdict]


async def _show_progress(run: AsyncRun) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(file=sys.stderr)
    if not console.is_terminal:
        async for step in run.watch():
            if step.text:
                say(f"[{step.steps_done}/{step.steps_known}] {step.text}")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(run.run_id, total=None)
        async for step in run.watch():
            progress.update(task, completed=step.steps_done, total=step.steps_known or None)
            if step.text:
                progress.console.print(step.text, markup=False, highlight=False)


def show_report(report: Report, *, as_json: bool) -> None:
    """The report on standard output."""
    if as_json:
        print_json(report.json)
        return
    from rich.console import Console

    from windtunnel.cli.report_text import render_report

    render_report(dict(report.json), Console())
