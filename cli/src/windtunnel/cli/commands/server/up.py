"""`windtunnel up` and `windtunnel status`."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from windtunnel.cli.commands.options import farms_option
from windtunnel.cli.io.console import json_option, print_json, run_async, say
from windtunnel.cli.io.interrupts import ending_signals
from windtunnel.errors import Unavailable

if TYPE_CHECKING:
    from windtunnel.cli.home.supervisor import Supervisor


@click.command()
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), help="Folder for all data. [WINDTUNNEL_HOME]")
@click.option("--nats-port", type=click.IntRange(1, 65535), help="Port of the NATS server; default: any free one.")
@click.option(
    "--catalog",
    type=click.Path(path_type=Path),
    help="Catalog of base apps and benchmark binaries (YAML). [WINDTUNNEL_CATALOG_FILE]",
)
@farms_option
@json_option
def up(home: Path | None, nats_port: int | None, catalog: Path | None, farms: Path | None, as_json: bool) -> None:
    """Starts nats-server and all services, and runs until SIGTERM or Ctrl-C. A second Ctrl-C does not wait.

    When everything is ready it prints one line of JSON with all addresses, which is also in HOME/endpoints.json. A
    process that ends is started again. Logs are in HOME/logs. Unfinished runs of an earlier Windtunnel continue. If a
    command such as `submit` runs an embedded Windtunnel in HOME, this one takes over from it.

    \b
    windtunnel up --home ./wt
    windtunnel up --home ./wt --farms farms.yaml
    windtunnel up --home /srv/windtunnel --nats-port 4222 --catalog catalog.yaml --json
    """
    if farms is not None:
        os.environ["WINDTUNNEL_FARMS_FILE"] = str(farms)
    if catalog is not None:
        from windtunnel.catalog import read_catalog

        # The services would end at their start if it cannot be read.
        read_catalog(catalog)
        os.environ["WINDTUNNEL_CATALOG_FILE"] = str(catalog.absolute())
    run_async(_up(home, nats_port or 0, quiet=as_json))


async def _up(home: Path | None, nats_port: int, *, quiet: bool) -> None:
    from windtunnel.cli.home.supervisor import Supervisor, require_services
    from windtunnel.client.endpoints import home_folder

    require_services()
    stop = asyncio.Event()
    supervisor = Supervisor(home or home_folder(), nats_port=nats_port, on_event=say)

    def on_signal() -> None:
        """The first signal stops the services; a second one does not wait for their work."""
        if stop.is_set():
            supervisor.kill()
        stop.set()

    for number in ending_signals():
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    running = asyncio.create_task(_keep_up(supervisor, quiet=quiet))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((running, stopped), return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        for task in (running, stopped):
            task.cancel()
        await asyncio.gather(running, stopped, return_exceptions=True)
        await supervisor.stop()


async def _keep_up(supervisor: Supervisor, *, quiet: bool) -> None:
    """Starts everything and prints the addresses; ends only by an error."""
    from windtunnel.cli.home.unfinished import print_unfinished_runs
    from windtunnel.client import AsyncClient

    await supervisor.start()
    print(json.dumps(supervisor.endpoints), flush=True)
    async with AsyncClient(supervisor.addresses) as client:
        await print_unfinished_runs(client, say)
    if not quiet:
        say("Windtunnel is ready. Ctrl-C or SIGTERM stops it.")
    await supervisor.broken()


@click.command()
@json_option
def status(as_json: bool) -> int:
    """Shows whether each service answers and is serving. Exit code 2 if one is not.

    \b
    windtunnel status
    windtunnel status --json | jq -r '.services | to_entries[] | select(.value != "serving") | .key'
    """
    return run_async(_status(as_json))


async def _status(as_json: bool) -> int:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from windtunnel.client import find_endpoints

    endpoints = find_endpoints()
    if not endpoints.grpc:
        raise Unavailable("no service address is known", hint="set WINDTUNNEL_HOME, or WINDTUNNEL_<SERVICE>_ADDRESS")
    states: dict[str, str] = {}
    for name, address in sorted(endpoints.grpc.items()):
        async with grpc.aio.insecure_channel(address) as channel:
            try:
                stub = health_pb2_grpc.HealthStub(channel)
                response = await stub.Check(health_pb2.HealthCheckRequest(), timeout=3)
                states[name] = health_pb2.HealthCheckResponse.ServingStatus.Name(response.status).lower()
            except grpc.aio.AioRpcError as error:
                states[name] = f"does not answer ({error.code().name.lower()})"
    if as_json:
        print_json({"nats": endpoints.nats, "home": str(endpoints.home), "services": states})
    else:
        for name, state in states.items():
            click.echo(f"{name:<16} {state:<12} {endpoints.grpc[name]}")
    return 0 if all(state == "serving" for state in states.values()) else 2
