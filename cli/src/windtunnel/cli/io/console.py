"""What commands share: JSON on standard output, words on standard error."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import click

from windtunnel.cli.io.interrupts import heeded

T = TypeVar("T")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


def print_json(document: Any) -> None:
    """Writes one JSON document to standard output, whole or not at all. NaN is never JSON: it raises ValueError."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def say(text: str) -> None:
    """A line for the person at the terminal; scripts read standard output alone."""
    click.echo(text, err=True)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Runs a command's coroutine; Ctrl-C, SIGTERM and SIGHUP cancel it, so that it cleans up. Raises Abort then."""
    try:
        return asyncio.run(_cancelled_by_signals(work))
    except asyncio.CancelledError:
        raise click.Abort from None


async def _cancelled_by_signals(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    # asyncio itself sees to SIGINT.
    before = {number: signal.getsignal(number) for number in heeded() if number != signal.SIGINT}
    for number in before:
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    finally:
        for number, handler in before.items():
            # Taking it from the loop leaves the system's default: an end without any clean-up.
            loop.remove_signal_handler(number)
            signal.signal(number, handler or signal.SIG_DFL)
