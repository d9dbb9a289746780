"""`windtunnel report`: the report of one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from windtunnel.cli.commands.completion import complete_runs
from windtunnel.cli.io.console import json_option, run_async, say
from windtunnel.cli.io.files import write_whole
from windtunnel.cli.io.output_guard import force_option, require_outputs

if TYPE_CHECKING:
    pass


@click.command()
@click.argument("run_id", metavar="RUN", shell_complete=complete_runs)
@click.option("--html", type=click.Path(path_type=Path), help="Write a self-contained page to this file.")
@force_option
@json_option
def report(run_id: str, html: Path | None, force: bool, as_json: bool) -> int:
    """Shows the report of RUN: verdict, evidence and cause.

    The exit code is the verdict's: 0 passed, 1 failed, 2 could not run. It is 0 while the run is not finished.

    \b
    windtunnel report r-0f3c
    windtunnel report r-0f3c --html report.html
    windtunnel report r-0f3c --json | jq .variants[].accuracy
    """
    require_outputs((html,), inputs=(), force=force)
    return run_async(_report(run_id, html, force=force, as_json=as_json))


async def _report(run_id: str, html: Path | None, *, force: bool, as_json: bool) -> int:
    from windtunnel.cli.commands.runs.watch import exit_code, show_report
    from windtunnel.cli.home.reading import reading_client

    async with reading_client() as client:
        found = await client.run(run_id).report()
    if html is not None:
        from windtunnel.cli.report.html.report_page import report_html

        write_whole(html, report_html(dict(found.json)).encode(), force=force)
        say(f"wrote {html}")
    if html is None or as_json:
        show_report(found, as_json=as_json)
    return exit_code(found)
