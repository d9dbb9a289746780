"""`windtunnel watch`: follows a run to its report. Other commands that wait for a run use the same functions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from windtunnel.cli.commands.completion import complete_runs
from windtunnel.cli.commands.runs.farm_summary import FarmSummary
from windtunnel.cli.io.console import json_option, print_json, run_async, say

if TYPE_CHECKING:
    from windtunnel.client import AsyncRun, Progress, Report
    from windtunnel.v1.farm_dispatcher_pb2 import ActiveFarmRun

_EXIT_OF_VERDICT = {None: 0, "passed": 0, "failed": 1, "could_not_run": 2}


@click.command()
@click.argument("run_id", metavar="RUN", shell_complete=complete_runs)
@json_option
def watch(run_id: str, as_json: bool) -> int:
    """Shows the progress of RUN until its verdict, then its report. The exit code is the verdict's.

    Cells on farms are shown with the farm's own state and page; of more than 20 of them, only counts for each farm.

    If Windtunnel is not running, an embedded one resumes an unfinished run for the lifetime of this command.

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

    return await with_windtunnel(work, lambda *, embedded: print_interrupted([run_id], embedded=embedded))


async def _report_without_server(run_id: str) -> Report | None:
    """The report of a run that has ended, if Windtunnel is not running. None: there is something to watch.

    Raises NotFound for a run that is not in the home, Unavailable if there is no home either.
    """
    from windtunnel.cli.home.reading import reading_client, reads_home

    if not reads_home():
        return None
    async with reading_client() as client:
        report = await client.run(run_id).report()
    return report if report.verdict is not None else None


async def follow(run: AsyncRun, *, as_json: bool) -> int:
    """Shows progress on standard error and, at the end, the report on standard output.

    Args:
        run: the run to wait for.
        as_json: print the report as JSON.

    Returns:
        The verdict's exit code.
    """
    await _show_progress(run)
    report = await run.report()
    show_report(report, as_json=as_json)
    return exit_code(report)


def exit_code(report: Report) -> int:
    """The exit code of a run.

    Args:
        report: of the run.

    Returns:
        0 passed, 1 failed, 2 could not run; 0 while the run is not finished.
    """
    return _EXIT_OF_VERDICT[report.verdict]


async def _show_progress(run: AsyncRun) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    console = Console(file=sys.stderr)
    if not console.is_terminal:
        summary = _summary(run, say)
        async for step in run.watch():
            if step.text and not await summary.counts(step):
                say(f"[{step.steps_done}/{step.steps_known}] {progress_words(step)}")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=console) as progress:

        def tell(text: str) -> None:
            progress.console.print(text, markup=False, highlight=False)

        summary = _summary(run, tell)
        task = progress.add_task(run.run_id, total=None)
        async for step in run.watch():
            progress.update(task, completed=step.steps_done, total=step.steps_known or None)
            if step.text and not await summary.counts(step):
                tell(progress_words(step))


def _summary(run: AsyncRun, tell: Callable[[str], None]) -> FarmSummary:
    async def farm_runs_of(run_id: str) -> Sequence[ActiveFarmRun]:
        from windtunnel.cli.home.farm_runs import active_farm_runs

        return await active_farm_runs(run.client, run_id)

    return FarmSummary(run, farm_runs_of, tell)


def progress_words(step: Progress) -> str:
    """A step of a run in words.

    Args:
        step: as the SDK reports it.

    Returns:
        One line. Of the verdict only its name: the report, which follows, begins with the reasons.
    """
    verdict = "" if step.verdict is None else str(step.verdict)
    return verdict if verdict and step.text.startswith(f"{verdict}; ") else step.text


def show_report(report: Report, *, as_json: bool) -> None:
    """Prints the report to standard output.

    Args:
        report: of the run.
        as_json: print it as JSON.
    """
    if as_json:
        print_json(report.json)
        return
    from rich.console import Console

    from windtunnel.cli.report.text.report_text import render_report

    render_report(dict(report.json), Console())


def print_interrupted(announced: Sequence[str], *, embedded: bool) -> None:
    """Prints what happens to the run if the command that follows it is interrupted.

    Args:
        announced: id of the run that the command follows; empty if none was started.
        embedded: the command's own Windtunnel stops too.
    """
    if not announced:
        say("interrupted before the model was announced: no run was started")
        return
    run_id = announced[0]
    if embedded:
        say(f"run {run_id} is not finished; it stops with this command and continues when Windtunnel runs again:")
        say(f"  `windtunnel watch {run_id}` resumes and follows it, `windtunnel up` resumes it in the background")
    else:
        say(f"run {run_id} continues:")
        say(f"  `windtunnel watch {run_id}` follows it")
    say(f"  `windtunnel cancel {run_id}` ends it")
