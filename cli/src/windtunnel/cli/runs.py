"""`windtunnel report` and `windtunnel runs`."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from windtunnel.cli.completion import complete_models, complete_runs
from windtunnel.cli.context import json_option, print_json, run_async, say
from windtunnel.cli.outputs import force_option, require_outputs, write_whole

if TYPE_CHECKING:
    from windtunnel.client import RunFilter, RunSummary

_AGO: Final = re.compile(r"([0-9]{1,6})([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@click.command()
@click.argument("run_id", metavar="RUN", shell_complete=complete_runs)
@click.option("--html", type=click.Path(path_type=Path), help="Write a self-contained page to this file.")
@force_option
@json_option
def report(run_id: str, html: Path | None, force: bool, as_json: bool) -> int:
    """Shows the report of RUN: verdict, evidence and cause.

    The exit code is the verdict's: 0 passed, 1 failed, 2 could not run; 0 too while the run still goes on.

    \b
    windtunnel report r-0f3c
    windtunnel report r-0f3c --html report.html
    windtunnel report r-0f3c --json | jq .variants[].accuracy
    """
    require_outputs((html,), inputs=(), force=force)
    return run_async(_report(run_id, html, force=force, as_json=as_json))


async def _report(run_id: str, html: Path | None, *, force: bool, as_json: bool) -> int:
    from windtunnel.cli.home.reading import reading_client
    from windtunnel.cli.submit import exit_code, show_report

    async with reading_client() as client:
        found = await client.run(run_id).report()
    if html is not None:
        from windtunnel.cli.report_html import report_html

        write_whole(html, report_html(dict(found.json)).encode(), force=force)
        say(f"wrote {html}")
    if html is None or as_json:
        show_report(found, as_json=as_json)
    return exit_code(found)


@click.command()
@click.option("--model", help="Only runs of this model.", shell_complete=complete_models)
@click.option("--version", help="Only runs of this version of the model.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Only runs with this label; repeatable.")
@click.option("--state", type=click.Choice(["running", "completed"]), help="Only runs in this state.")
@click.option(
    "--verdict", type=click.Choice(["passed", "failed", "could_not_run"]), help="Only runs with this verdict."
)
@click.option("--since", metavar="TIME", help="Only runs started since: 36h, 7d, 2026-11-20, 2026-11-20T08:00Z.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many.")
@json_option
def runs(
    model: str | None,
    version: str | None,
    labels: tuple[str, ...],
    state: str | None,
    verdict: str | None,
    since: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Lists runs, newest first; all filters must hold.

    \b
    windtunnel runs --model ssd --verdict failed
    windtunnel runs --label team=edge --label branch=main --since 7d
    windtunnel runs --json --limit 1000
    """
    from windtunnel.client import RunFilter

    wanted = RunFilter(
        model=model or "",
        version=version or "",
        labels=dict(label_of(text) for text in labels),
        state=state or "",
        verdict=verdict or "",
        since=None if since is None else since_of(since, datetime.now(UTC)),
    )
    found = run_async(_runs(wanted, limit))
    if as_json:
        print_json([dataclasses.asdict(run) for run in found])
        return
    for run in found:
        shown = run.verdict or run.state
        said = "  ".join(f"{name}={value}" for name, value in run.labels.items())
        click.echo(f"{run.run_id:<24} {shown:<14} {run.model} {run.version}  {run.started_at or ''}  {said}".rstrip())
    if not found:
        say("no runs")


async def _runs(wanted: RunFilter, limit: int) -> list[RunSummary]:
    from windtunnel.cli.home.reading import reading_client

    async with reading_client() as client:
        return await client.runs(wanted, limit=limit)


def label_of(text: str) -> tuple[str, str]:
    """Name and value of a label KEY=VALUE. Raises BadParameter."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--label")
    return key, value


def since_of(text: str, now: datetime) -> datetime:
    """The instant that `text` names: minutes, hours, days or weeks before `now`, a date or a time. Raises BadParameter.

    A date is its midnight, and a time without a zone is one, in local time.
    """
    if match := _AGO.fullmatch(text.strip()):
        return now - timedelta(**{_UNITS[match[2]]: float(match[1])})
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is not a time; give 36h, 7d, 2026-11-20 or 2026-11-20T08:00Z", param_hint="--since"
        ) from None
