"""`windtunnel history`: a figure of a model over its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from windtunnel.cli.commands.completion import complete_models
from windtunnel.cli.io.console import json_option, print_json, run_async

if TYPE_CHECKING:
    from windtunnel.client import History


@click.command()
@click.argument("model", shell_complete=complete_models)
@click.option(
    "--figure",
    required=True,
    metavar="PATH",
    help="Path of the figure in the report: variants by name, gates by gate, cells by id or"
    " farm/device/os_version/accelerator/threads.",
)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most this many runs.")
@json_option
def history(model: str, figure: str, limit: int, as_json: bool) -> None:
    """Shows a figure in the newest completed runs of MODEL, oldest first.

    \b
    windtunnel history ssd --figure "variants[int8].accuracy"
    windtunnel history ssd --figure "variants[int8].cells[local/host/12/xnnpack/1].latency_ms.p50"
    windtunnel history ssd --figure "variants[int8].size_bytes" --limit 200 --json
    """
    found = run_async(_history(model, figure, limit))
    if as_json:
        print_json(found.to_json())
        return
    from rich.console import Console

    from windtunnel.cli.report.text.run_comparison_text import render_history

    render_history(found, Console())


async def _history(model: str, figure: str, limit: int) -> History:
    from windtunnel.cli.home.reading import reading_client

    async with reading_client() as client:
        return await client.history(model, figure, limit=limit)
