"""`windtunnel devices`: the devices that farms offer now."""

from __future__ import annotations

from typing import Any

import click

from windtunnel.cli.io.console import json_option, print_json, run_async


@click.command()
@click.option("--farm", help="Only this farm.")
@json_option
def devices(farm: str | None, as_json: bool) -> None:
    """Lists the devices of all farms.

    \b
    windtunnel devices --farm local --json
    """
    found = run_async(_devices(farm or ""))
    if as_json:
        print_json(found)
        return
    for device in found:
        accelerators = ", ".join(device["accelerators"])
        click.echo(
            f"{device['farm']:<10} {device['name']:<20} {device['platform']} {device['os_version']}  {accelerators}"
        )


async def _devices(farm: str) -> list[dict[str, Any]]:
    import grpc
    from google.protobuf.json_format import MessageToDict

    from windtunnel.client import AsyncClient
    from windtunnel.v1 import farm_dispatcher_pb2, farm_dispatcher_pb2_grpc

    async with (
        AsyncClient() as client,
        grpc.aio.insecure_channel(client.endpoints.address_of("farm_dispatcher")) as channel,
    ):
        stub = farm_dispatcher_pb2_grpc.FarmDispatcherServiceStub(channel)
        request = farm_dispatcher_pb2.ListDevicesRequest(farm=farm)
        response = await client.call(stub.ListDevices, request, elsewhere=("farm_dispatcher", channel))
    return [
        MessageToDict(device, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        for device in response.devices
    ]
