"""`windtunnel submit` and `windtunnel watch`."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from windtunnel.cli.completion import complete_plans, complete_runs
from windtunnel.cli.context import json_option, print_json, run_async, say
from windtunnel.cli.outputs import progress_bytes
from windtunnel.cli.runs import label_of

if TYPE_CHECKING:
    from windtunnel.client import AsyncRun, Progress, Report

_EXIT_OF_VERDICT = {None: 0, "passed": 0, "failed": 1, "could_not_run": 2}


@click.command()
@click.argument("model")
@click.option("--plan", type=click.Path(path_type=Path), help="The plan, a YAML file.")
@click.option("--plan-name", help="A stored plan instead (see `windtunnel plans`).", shell_complete=complete_plans)
@click.option("--name", help="Name of the model; the file's name otherwise.")
@click.option("--version", help="Version of the model; from its content otherwise.")
@click.option("--sha256", metavar="HEX", help="SHA-256 of what the URI must hold; https:// needs it.")
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
    sha256: str | None,
    model_format: str | None,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    labels: tuple[str, ...],
    run_id: str | None,
    wait: bool,
    as_json: bool,
) -> int:
    """Announces MODEL (a file, folder, checkpoint prefix or URI) and so starts a run.

    With --wait the exit code is the verdict's: 0 passed, 1 failed, 2 could not run. A Windtunnel that is starting is
    waited for. Where none runs, an embedded one is started for the life of this command; then --wait is implied. A
    `windtunnel up` takes over from it. Ctrl-C stops the command, not the run.

    \b
    windtunnel submit model.keras --plan plan.yaml --wait
    windtunnel submit saved_model/ --plan-name nightly --label team=edge
    windtunnel submit s3://models/ssd.zip --name ssd --version 2026-11-20.3 --wait --json
    windtunnel submit https://models.example.com/ssd.keras --sha256 9f86d081884c7d65... --wait
    """
    options = {
        "plan": plan,
        "plan_name": plan_name,
        "name": name,
        "version": version,
        "sha256": sha256,
        "format": model_format,
        "inputs": inputs,
        "outputs": outputs,
        "labels": dict(label_of(text) for text in labels),
        "run_id": run_id,
    }
    return run_async(_submit(model, options, wait=wait, as_json=as_json))


async def _submit(model: str, options: dict[str, Any], *, wait: bool, as_json: bool) -> int:
    from windtunnel.cli.home.session import Connection, with_windtunnel

    check_arguments(model, options)
    # The same for every try: where the first one was announced before it broke, the next one is no second run.
    event_id = uuid.uuid4().hex
    announced: list[str] = []

    async def work(on: Connection) -> int:
        if not announced:
            with progress_bytes("uploading") as progress:
                run = await on.client.submit(model, event_id=event_id, on_upload=progress, **options)
            announced.append(run.run_id)
            tell_run(run.run_id)
        run = on.client.run(announced[0])
        if wait or on.embedded:
            return await follow(run, as_json=as_json)
        if as_json:
            print_json({"run_id": run.run_id})
        else:
            click.echo(run.run_id)
        return 0

    return await with_windtunnel(work, lambda *, embedded: tell_interrupted(announced, embedded=embedded))


def tell_run(run_id: str) -> None:
    """The id of a run that has begun, and what can be done with it."""
    say(f"run {run_id}; `windtunnel watch {run_id}` follows it, `windtunnel cancel {run_id}` ends it")


def tell_interrupted(announced: Sequence[str], *, embedded: bool) -> None:
    """What becomes of the run, where the command that follows it is interrupted."""
    if not announced:
        say("interrupted before the model was announced: no run was started")
        return
    run_id = announced[0]
    if embedded:
        say(f"run {run_id} is not finished; it pauses with this command and goes on when Windtunnel runs again:")
        say(f"  `windtunnel watch {run_id}` resumes and follows it, `windtunnel up` resumes it in the background")
    else:
        say(f"run {run_id} goes on:")
        say(f"  `windtunnel watch {run_id}` follows it")
    say(f"  `windtunnel cancel {run_id}` ends it")


def check_arguments(model: str, options: dict[str, Any]) -> None:
    """What can be told before anything is started. Raises what the submission itself would raise."""
    from windtunnel.announcement import check_run_id
    from windtunnel.client.uploads import find_model, read_plan

    find_model(model, options["sha256"])
    if options["plan"] is not None:
        read_plan(options["plan"])
    if options["run_id"]:
        check_run_id(options["run_id"])


@click.command()
@click.argument("run_id", metavar="RUN", shell_complete=complete_runs)
@json_option
def watch(run_id: str, as_json: bool) -> int:
    """Shows the progress of RUN until its verdict, then its report; the exit code is the verdict's.

    Where no Windtunnel runs, an embedded one resumes a run that is not finished, for the life of this command.

    \b
    windtunnel watch r-0f3c
    windtunnel watch r-0f3c --json
    """
    return run_async(_watch(run_id, as_json))


async def _watch(run_id: str, as_json: bool) -> int:
    from windtunnel.cli.home.session import Connection, with_windtunnel

    ended = await _report_without_server(run_id)
    if ended is not None:
        show_report(ended, as_json=as_json)
        return exit_code(ended)

    async def work(on: Connection) -> int:
        return await follow(on.client.run(run_id), as_json=as_json)

    return await with_windtunnel(work, lambda *, embedded: tell_interrupted([run_id], embedded=embedded))


async def _report_without_server(run_id: str) -> Report | None:
    """The report of a run that has ended, where no Windtunnel runs. None: there is something to watch.

    Raises NotFound for a run that is not in the home, Unavailable where there is no home either.
    """
    from windtunnel.cli.home.reading import reading_client, reads_home

    if not reads_home():
        return None
    async with reading_client() as client:
        report = await client.run(run_id).report()
    return report if report.verdict is not None else None


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
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    console = Console(file=sys.stderr)
    if not console.is_terminal:
        async for step in run.watch():
            if step.text:
                say(f"[{step.steps_done}/{step.steps_known}] {progress_words(step)}")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=console) as progress:
        task = progress.add_task(run.run_id, total=None)
        async for step in run.watch():
            progress.update(task, completed=step.steps_done, total=step.steps_known or None)
            if step.text:
                progress.console.print(progress_words(step), markup=False, highlight=False)


def progress_words(step: Progress) -> str:
    """What a step of a run says; of the verdict only its name: its reasons head the report, which follows."""
    verdict = "" if step.verdict is None else str(step.verdict)
    return verdict if verdict and step.text.startswith(f"{verdict}; ") else step.text


def show_report(report: Report, *, as_json: bool) -> None:
    """The report on standard output."""
    if as_json:
        print_json(report.json)
        return
    from rich.console import Console

    from windtunnel.cli.report_text import render_report

    render_report(dict(report.json), Console())
