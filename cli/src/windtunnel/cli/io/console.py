"""JSON on standard output, messages on standard error, and coroutines that signals cancel."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import click

from windtunnel.cli.io.interrupts import ending_signals

T = TypeVar("T")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


def print_json(document: Any) -> None:
    """Writes one JSON document to standard output, completely or not at all.

    Args:
        document: of JSON types. A figure that is not finite is a ValueError.
    """
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def say(text: str) -> None:
    """Prints a line for the user to standard error; scripts read only standard output.

    Args:
        text: one line, without a line break at its end.
    """
    click.echo(text, err=True)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Runs a command's coroutine. Ctrl-C, SIGTERM and SIGHUP cancel it, so that it cleans up.

    Args:
        work: the coroutine.

    Returns:
        What it returns.

    Raises:
        Abort: a signal canceled it.
    """
    try:
        return asyncio.run(_canceled_by_signals(work))
    except asyncio.CancelledError:
        raise click.Abort from None


async def _canceled_by_signals(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    # asyncio itself handles SIGINT.
    before = {number: signal.getsignal(number) for number in ending_signals() if number != signal.SIGINT}
    for number in before:
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    finally:
        for number, handler in before.items():
            # Removing it from the loop restores the system's default, which ends the process without cleanup.
            loop.remove_signal_handler(number)
            signal.signal(number, handler or signal.SIG_DFL)
