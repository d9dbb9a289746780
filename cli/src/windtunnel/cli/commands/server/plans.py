"""`windtunnel plans`: stored plans, for events that give `plan_name`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from windtunnel.cli.commands.completion import complete_plans
from windtunnel.cli.io.console import json_option, print_json, run_async, say

if TYPE_CHECKING:
    from windtunnel.plan import Plan


@click.group()
def plans() -> None:
    """Stores plans under a name, so that events can give `plan_name`.

    \b
    windtunnel plans put nightly plan.yaml
    windtunnel plans list
    """


@plans.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def check(file: Path, as_json: bool) -> None:
    """Checks the plan in FILE. Errors name line and column. Needs no server.

    \b
    windtunnel plans check plan.yaml
    """
    from windtunnel.plan import plan_to_dict

    document = plan_to_dict(_read(file))
    if as_json:
        print_json(document)
    else:
        click.echo(f"{file} is a plan")


@plans.command()
@click.argument("name", shell_complete=complete_plans)
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def put(name: str, file: Path, as_json: bool) -> None:
    """Stores the plan in FILE as NAME, or replaces it. Files that it names become artifacts.

    \b
    windtunnel plans put nightly plan.yaml
    """
    sha256 = run_async(_put(name, file))
    if as_json:
        print_json({"name": name, "sha256": sha256})
    else:
        click.echo(f"{name} is plan sha256:{sha256}")


async def _put(name: str, file: Path) -> str:
    from windtunnel.client import AsyncClient
    from windtunnel.client.uploads import upload_plan_files
    from windtunnel.plan import plan_to_json
    from windtunnel.v1 import metrics_store_pb2

    plan = _read(file)
    async with AsyncClient() as client:
        plan = await upload_plan_files(await client.services_store(), plan, file.parent)
        request = metrics_store_pb2.PutPlanRequest(name=name, plan_yaml=plan_to_json(plan).decode())
        response = await client.call(client.store.PutPlan, request)
    return str(response.plan.sha256)


def _read(file: Path) -> Plan:
    """The plan in `file`. The files that it names on this machine are checked too."""
    from windtunnel.client.uploads import check_plan_files, read_plan

    plan = read_plan(file)
    check_plan_files(plan, file.parent)
    return plan


@plans.command()
@click.argument("name", shell_complete=complete_plans)
@json_option
def get(name: str, as_json: bool) -> None:
    """Prints the plan NAME as YAML, or JSON.

    \b
    windtunnel plans get nightly > plan.yaml
    """
    document = run_async(_get(name))
    if as_json:
        print_json(document)
    else:
        click.echo(yaml.safe_dump(document, sort_keys=False), nl=False)


async def _get(name: str) -> Any:
    from windtunnel.client import AsyncClient
    from windtunnel.v1 import metrics_store_pb2

    async with AsyncClient() as client:
        response = await client.call(client.store.GetPlan, metrics_store_pb2.GetPlanRequest(name=name))
        return json.loads(await client.served.read_bytes(response.artifact.sha256))


@plans.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Lists the stored plans.

    \b
    windtunnel plans list --json
    """
    names = run_async(_list())
    if as_json:
        print_json(names)
        return
    for name in names:
        click.echo(name)
    if not names:
        say("no plans are stored")


async def _list() -> list[str]:
    from windtunnel.client import AsyncClient
    from windtunnel.v1 import metrics_store_pb2

    async with AsyncClient() as client:
        response = await client.call(client.store.ListPlans, metrics_store_pb2.ListPlansRequest())
        return list(response.names)


@plans.command()
@click.argument("name", shell_complete=complete_plans)
@json_option
def delete(name: str, as_json: bool) -> None:
    """Removes the plan NAME. Runs that already use it are not affected.

    \b
    windtunnel plans delete nightly
    """
    run_async(_delete(name))
    if as_json:
        print_json({"name": name, "deleted": True})


async def _delete(name: str) -> None:
    from windtunnel.client import AsyncClient
    from windtunnel.v1 import metrics_store_pb2

    async with AsyncClient() as client:
        await client.call(client.store.DeletePlan, metrics_store_pb2.DeletePlanRequest(name=name))
