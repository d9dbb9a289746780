"""`windtunnel demo`: a complete run, on a small model that it trains first."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from windtunnel.cli.io.console import json_option, run_async, say
from windtunnel.cli.io.files import create_folder, write_whole


@click.command()
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("windtunnel-demo"),
    show_default=True,
    help="Folder for all data.",
)
@json_option
def demo(home: Path, as_json: bool) -> int:
    """Trains a small model on scikit-learn's digits, starts all services, and takes the model to its verdict.

    \b
    windtunnel demo
    windtunnel demo --home /tmp/wt
    """
    return run_async(_demo(home.absolute(), as_json=as_json))


async def _demo(home: Path, *, as_json: bool) -> int:
    from windtunnel.cli.commands.runs.watch import follow
    from windtunnel.cli.home.supervisor import Supervisor, require_services
    from windtunnel.cli.local.digits_model import PLAN
    from windtunnel.cli.report.html.report_page import report_html
    from windtunnel.client import AsyncClient, find_endpoints

    require_services()
    folder = home / "model"
    create_folder(folder)
    say("1/3  training a depthwise network on scikit-learn's handwritten digits")
    accuracy = await _train(folder)
    say(f"     accuracy on 360 test images: {accuracy:.3f}")
    write_whole(folder / "plan.yaml", PLAN.encode())
    say(f"2/3  starting nats-server and seven services in {home}")
    async with Supervisor(home, on_event=say), AsyncClient(find_endpoints(home)) as client:
        say("3/3  submitting the model: five variants, compared layer by layer and measured on this machine")
        run = await client.submit(folder / "digits.keras", plan=folder / "plan.yaml", labels={"demo": "digits"})
        code = await follow(run, as_json=as_json)
        page = home / "report.html"
        write_whole(page, report_html(dict((await run.report()).json)).encode())
    click.echo(f"report: {page}", err=as_json)
    return code


async def _train(folder: Path) -> float:
    from windtunnel.cli.local import digits_model
    from windtunnel.isolation import ChildPool, Progress

    def show(progress: Progress) -> None:
        end = "\r" if sys.stderr.isatty() else "\n"
        click.echo(f"     {progress.text:<50}", err=True, nl=False)
        click.echo(end, err=True, nl=False)

    async with ChildPool(
        timeout_s=600, memory_mb=8000, env={"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    ) as pool:
        return await pool.run(digits_model.train, folder, on_progress=show)
