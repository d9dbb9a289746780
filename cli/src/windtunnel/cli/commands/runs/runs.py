"""`windtunnel runs`: the list of runs."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import click

from windtunnel.cli.commands.completion import complete_models
from windtunnel.cli.commands.options import label_of
from windtunnel.cli.io.console import json_option, print_json, run_async, say

if TYPE_CHECKING:
    from windtunnel.client import RunFilter, RunSummary

_AGO: Final = re.compile(r"([0-9]{1,6})([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@click.command()
@click.option("--model", help="Only runs of this model.", shell_complete=complete_models)
@click.option("--version", help="Only runs of this version of the model.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Only runs with this label; repeatable.")
@click.option("--state", type=click.Choice(["running", "completed"]), help="Only runs in this state.")
@click.option(
    "--verdict", type=click.Choice(["passed", "failed", "could_not_run"]), help="Only runs with this verdict."
)
@click.option("--since", metavar="TIME", help="Only runs started since then: 36h, 7d, 2026-11-20, 2026-11-20T08:00Z.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most this many.")
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
    """Lists the runs that match all filters, newest first.

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


def since_of(text: str, now: datetime) -> datetime:
    """The time that a text names: minutes, hours, days or weeks ago, a date or a time.

    A date means its midnight. Dates, and times without a zone, are in local time.

    Args:
        text: what the user typed, for example 2h or 2026-05-01.
        now: the current time, with its zone.

    Returns:
        The time, with its zone.

    Raises:
        BadParameter: it is not a time.
    """
    if match := _AGO.fullmatch(text.strip()):
        return now - timedelta(**{_UNITS[match[2]]: float(match[1])})
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is not a time; give 36h, 7d, 2026-11-20 or 2026-11-20T08:00Z", param_hint="--since"
        ) from None
