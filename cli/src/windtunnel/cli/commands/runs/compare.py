"""`windtunnel compare`: compares runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from windtunnel.cli.commands.completion import complete_runs
from windtunnel.cli.io.console import json_option, print_json, run_async

if TYPE_CHECKING:
    from windtunnel.client import Comparison


@click.command()
@click.argument("targets", metavar="RUN...", nargs=-1, required=True, shell_complete=complete_runs)
@json_option
def compare(targets: tuple[str, ...], as_json: bool) -> None:
    """Compares two or more runs: every figure, and how it differs from that of the first RUN.

    RUN is the id of a run, or MODEL@VERSION for its newest completed run. Cells are matched by farm, device,
    OS, accelerator, threads and input shapes. The exit code says only whether the runs could be compared.

    \b
    windtunnel compare r-0f3c r-77ab
    windtunnel compare ssd@2026-11-19.1 ssd@2026-11-20.3
    windtunnel compare r-0f3c r-77ab --json | jq '.rows[] | select(.name == "accuracy")'
    """
    if len(targets) < 2:
        raise click.UsageError("only one run is given: name two or more")
    found = run_async(_compare(targets))
    if as_json:
        print_json(found.to_json())
        return
    from rich.console import Console

    from windtunnel.cli.report.text.run_comparison_text import render_comparison

    render_comparison(found, Console())


async def _compare(targets: tuple[str, ...]) -> Comparison:
    from windtunnel.cli.home.reading import reading_client

    async with reading_client() as client:
        return await client.compare(*targets)
