"""`windtunnel submit --dry-run`: the cells of a run and their cost. Starts nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from windtunnel.cli.io.console import print_json
from windtunnel.errors import InvalidInput

if TYPE_CHECKING:
    from windtunnel.cli.home.farm_access import FarmAccess
    from windtunnel.plan import Plan


async def dry_run(model: str, plan: Path | None, plan_name: str | None, farms: Path | None, *, as_json: bool) -> int:
    """Plans the cells of each variant, and prints them with what they may cost.

    Args:
        model: as the user named it.
        plan: the plan's file; None: the stored plan, or the default plan.
        plan_name: of a stored plan; None: none.
        farms: farms.yaml to plan with; None: that of the running Windtunnel, or of the environment.
        as_json: print it as JSON.

    Returns:
        The exit code: 0, or 1 if nothing can run or a budget does not suffice.

    Raises:
        WindtunnelError: the plan cannot be read, or a farm does not answer.
    """
    from windtunnel.cli.home.farm_access import farm_access
    from windtunnel.cli.local.dry_run import dry_run_document

    async with farm_access(farms) as access:
        wanted = await _plan(access, plan, plan_name)
        planned = {one.name: await access.plan(one.name, wanted.devices) for one in wanted.variants}
    document = dry_run_document(model, wanted, planned)
    _print(document, as_json=as_json)
    return 1 if document["problems"] else 0


async def _plan(access: FarmAccess, plan: Path | None, plan_name: str | None) -> Plan:
    from windtunnel.client.uploads import read_plan
    from windtunnel.plan import DEFAULT_PLAN

    if plan is not None and plan_name:
        raise InvalidInput("--plan and --plan-name are given", hint="give one of them")
    if plan is not None:
        return read_plan(plan)
    return await access.stored_plan(plan_name) if plan_name else DEFAULT_PLAN


def _print(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    from windtunnel.cli.report.text.dry_run_text import dry_run_text

    click.echo(dry_run_text(document))
