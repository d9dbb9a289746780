"""`windtunnel submit`: announces a model, which starts a run."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from windtunnel.cli.commands.completion import complete_plans
from windtunnel.cli.commands.options import farms_option, label_of
from windtunnel.cli.commands.runs.dry_run import dry_run as dry_run_of
from windtunnel.cli.commands.runs.watch import follow, print_interrupted
from windtunnel.cli.io.console import json_option, print_json, run_async, say
from windtunnel.cli.io.progress import progress_bytes

if TYPE_CHECKING:
    pass


@click.command()
@click.argument("model")
@click.option("--plan", type=click.Path(path_type=Path), help="The plan, a YAML file.")
@click.option("--plan-name", help="A stored plan instead (see `windtunnel plans`).", shell_complete=complete_plans)
@click.option("--name", help="Name of the model; default: the file's name.")
@click.option("--version", help="Version of the model; default: from its content.")
@click.option("--sha256", metavar="HEX", help="SHA-256 of the content of the URI; required for https://.")
@click.option("--format", "model_format", help="Format of the model; default: from its content.")
@click.option("--input", "inputs", multiple=True, help="Input tensor, if the file does not name it; may be repeated.")
@click.option("--output", "outputs", multiple=True, help="Output tensor, in the same way; may be repeated.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label of the run; may be repeated.")
@click.option("--run-id", help="Id of the run: letters, digits, '-' and '_'.")
@click.option("--wait", is_flag=True, help="Wait for the verdict, with progress, and print the report.")
@click.option("--dry-run", is_flag=True, help="Print the cells and what they may cost; start nothing.")
@farms_option
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
    dry_run: bool,
    farms: Path | None,
    as_json: bool,
) -> int:
    """Announces MODEL (a file, folder, checkpoint prefix or URI), which starts a run.

    With --wait the exit code is the verdict's: 0 passed, 1 failed, 2 could not run. If Windtunnel is starting, the
    command waits for it. If it is not running, the command starts an embedded one for its own lifetime; --wait is then
    implied. A `windtunnel up` that starts later takes over. Ctrl-C stops the command, not the run.

    With --dry-run nothing is started: the farms are asked for their devices, and the command prints the cells of each
    variant, why cells would be skipped, and what each farm may cost, with the budgets. If Windtunnel is not running, or
    with --farms, it asks the farms of farms.yaml itself. Exit code 1: nothing can run, or a budget does not suffice.

    \b
    windtunnel submit model.keras --plan plan.yaml --wait
    windtunnel submit saved_model/ --plan-name nightly --label team=edge
    windtunnel submit s3://models/ssd.zip --name ssd --version 2026-11-20.3 --wait --json
    windtunnel submit https://models.example.com/ssd.keras --sha256 9f86d081884c7d65... --wait

    What a run would do and cost:

    \b
    windtunnel submit model.keras --plan plan.yaml --dry-run --farms farms.yaml
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
    if dry_run:
        check_arguments(model, options)
        return run_async(dry_run_of(model, plan, plan_name, farms, as_json=as_json))
    if farms is not None:
        raise click.UsageError("--farms needs --dry-run; `windtunnel up --farms FILE` sets the farms of runs")
    return run_async(_submit(model, options, wait=wait, as_json=as_json))


async def _submit(model: str, options: dict[str, Any], *, wait: bool, as_json: bool) -> int:
    from windtunnel.cli.home.session import Connection, with_windtunnel

    check_arguments(model, options)
    # The same id for every try: if the first one was announced before it failed, the next one is not a second run.
    event_id = uuid.uuid4().hex
    announced: list[str] = []

    async def work(on: Connection) -> int:
        if not announced:
            with progress_bytes("uploading") as progress:
                run = await on.client.submit(model, event_id=event_id, on_upload=progress, **options)
            announced.append(run.run_id)
            print_started(run.run_id)
        run = on.client.run(announced[0])
        if wait or on.embedded:
            return await follow(run, as_json=as_json)
        if as_json:
            print_json({"run_id": run.run_id})
        else:
            click.echo(run.run_id)
        return 0

    return await with_windtunnel(work, lambda *, embedded: print_interrupted(announced, embedded=embedded))


def print_started(run_id: str) -> None:
    """Prints the id of a run that has started, and the commands for it.

    Args:
        run_id: id of the run.
    """
    say(f"run {run_id}; `windtunnel watch {run_id}` follows it, `windtunnel cancel {run_id}` ends it")


def check_arguments(model: str, options: dict[str, Any]) -> None:
    """Checks the arguments before anything is started. Raises what the submission itself would raise.

    Args:
        model: as the user gave it.
        options: arguments of the submission.
    """
    from windtunnel.client.uploads import find_model, read_plan
    from windtunnel.service.announcement import check_run_id

    find_model(model, options["sha256"])
    if options["plan"] is not None:
        read_plan(options["plan"])
    if options["run_id"]:
        check_run_id(options["run_id"])
