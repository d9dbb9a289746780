"""`windtunnel arm`: the emulated ARM64 system of `windtunnel kernels` and of the farm `arm`."""

from __future__ import annotations

import platform
from typing import Any, Final

import click

from windtunnel.cli.io.console import json_option, print_json, run_async, say

_EXIT_COULD_NOT_RUN: Final = 2


@click.group("arm")
def arm() -> None:
    """The emulated ARM64 system in which the accelerators `arm:CPU` run."""


@arm.command()
@json_option
def setup(as_json: bool) -> int:
    """Builds the ARM64 system once. It downloads 40 MB, takes 150 MB on disk and needs no root rights.

    \b
    windtunnel arm setup
    """
    import asyncio

    from windtunnel.arm_emulator import build, missing

    async def make() -> Any:
        return await asyncio.to_thread(build, None, lambda share, text: say(f"{share:4.0%} {text}"))

    home = run_async(make())
    left = missing(home)
    if as_json:
        print_json({"root": str(home.root), "missing": [{"what": one.what, "todo": one.todo} for one in left]})
    else:
        click.echo(str(home.root))
    for one in left:
        say(f"still missing: {one.what}; run: {one.todo}")
    return _EXIT_COULD_NOT_RUN if left else 0


@arm.command()
@json_option
def doctor(as_json: bool) -> int:
    """Lists what the ARM64 system needs and this machine does not have. Exit code 0: nothing; 2: something.

    \b
    windtunnel arm doctor
    """
    from windtunnel.arm_emulator import CPUS, LITERT, default_home, missing

    home = default_home()
    left = missing(home)
    document = {
        "root": str(home.root),
        "litert": LITERT,
        "cpus": list(CPUS),
        "machine": platform.machine(),
        "missing": [{"what": one.what, "todo": one.todo} for one in left],
    }
    if as_json:
        print_json(document)
    elif not left:
        click.echo(f"ready: LiteRT {LITERT} for {', '.join(CPUS)} in {home.root}")
    else:
        for one in left:
            click.echo(f"missing: {one.what}\n  run: {one.todo}")
    return _EXIT_COULD_NOT_RUN if left else 0
