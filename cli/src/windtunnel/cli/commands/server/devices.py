"""`windtunnel devices`: the devices that farms offer now."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from windtunnel.cli.commands.completion import complete_farms
from windtunnel.cli.commands.options import Finite, farms_option
from windtunnel.cli.io.console import json_option, print_json, run_async, say

if TYPE_CHECKING:
    from windtunnel.v1.farm_dispatcher_pb2 import ListDevicesResponse


@click.command()
@click.option("--farm", "farm", multiple=True, help="Only this farm; may be repeated.", shell_complete=complete_farms)
@click.option("--platform", type=click.Choice(["host", "android", "ios"]), help="Only this platform.")
@click.option("--os-version", default="", help="Only this version of the system; 14 means 14.1 too.")
@click.option(
    "--kind",
    type=click.Choice(["physical", "virtual", "emulated", "host"]),
    help="Only this kind of device.",
)
@click.option("--accelerator", default="", help="Only devices that have it: xnnpack, builtin, gpu, nnapi, coreml, ...")
@click.option("--name", metavar="TEXT", default="", help="Only devices with this text in name, maker or SoC.")
@click.option("--available", is_flag=True, help="Only devices that can be used now.")
@click.option("--max-price", metavar="USD", type=Finite(min=0.0), help="Only devices whose minute costs at most this.")
@farms_option
@json_option
def devices(
    farm: tuple[str, ...],
    platform: str | None,
    os_version: str,
    kind: str | None,
    accelerator: str,
    name: str,
    available: bool,
    max_price: float | None,
    farms: Path | None,
    as_json: bool,
) -> int:
    """Lists the devices of all farms, with their prices.

    The running Windtunnel is asked. If none runs, or with --farms, the command asks the farms of farms.yaml itself. A
    farm that does not answer is named on standard error, and the others are listed. Exit code 2 if no farm answers.

    \b
    windtunnel devices
    windtunnel devices --farm aws --platform android --os-version 14 --available
    windtunnel devices --accelerator gpu --max-price 0.10 --json | jq -r '.[].device'
    windtunnel devices --farms farms.yaml --name pixel
    """
    from windtunnel.cli.local.device_list import DeviceFilter, device_documents

    price = None if max_price is None else Decimal(str(max_price))
    wanted = DeviceFilter(platform or "", os_version, kind or "", accelerator, name, available, price)
    answer = run_async(_ask(farms, farm))
    found = device_documents(answer.devices, wanted)
    for outage in answer.outages:
        hint = f" ({outage.hint})" if outage.hint else ""
        say(f"farm {outage.farm} does not answer: {outage.message}{hint}")
    if as_json:
        print_json(found)
    else:
        _print_table(found, len(answer.devices), answers=bool(answer.farms))
    return 0 if answer.farms or answer.devices or not answer.outages else 2


async def _ask(farms_file: Path | None, farms: tuple[str, ...]) -> ListDevicesResponse:
    from windtunnel.cli.home.farm_access import farm_access

    async with farm_access(farms_file) as access:
        return await access.devices(farms)


def _print_table(found: list[dict[str, object]], known: int, *, answers: bool) -> None:
    from windtunnel.cli.report.text.devices_text import devices_text

    if found:
        click.echo(devices_text(found))
    elif known:
        say(f"none of {known} devices matches")
    elif answers:
        say("no farm has a device now")
