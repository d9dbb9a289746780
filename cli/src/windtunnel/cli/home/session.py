"""Work on a running Windtunnel: one that runs, one that starts, or an embedded one of this command.

It may change while a command works: `up` takes over from an embedded one, and an embedded one ends with its command.
The work then starts again on the next one, so it must be repeatable.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from windtunnel.cli.home import locks
from windtunnel.cli.home.processes import is_up_starting
from windtunnel.cli.home.supervisor import Supervisor, require_services
from windtunnel.cli.home.unfinished import print_unfinished_runs
from windtunnel.cli.io.console import say
from windtunnel.client import AsyncClient, Endpoints, find_endpoints
from windtunnel.client.endpoints import home_folder
from windtunnel.errors import Conflict, Unavailable

T = TypeVar("T")

_LOOK_S: Final = 0.2
# How long an `up` that stopped may take to start again, and one that just started to get its lock.
_PATIENCE_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Connection:
    """A client of the running Windtunnel. `embedded`: it ends with a command, this one or another."""

    client: AsyncClient
    embedded: bool


Work = Callable[[Connection], Awaitable[T]]


class Interrupted(Protocol):
    """Called if the command is interrupted, before anything stops."""

    def __call__(self, *, embedded: bool) -> None:
        """Called once.

        Args:
            embedded: the command's own Windtunnel will stop too.
        """


class _Changed(Exception):
    """Another Windtunnel runs now or will soon run."""


async def with_windtunnel(work: Work[T], interrupted: Interrupted, *, ending: str = "") -> T:
    """Does work on the running Windtunnel; if none runs, on an embedded one.

    Args:
        work: called again if another Windtunnel replaces the one it works on, so it must be repeatable.
        interrupted: called if the command is interrupted, before anything stops.
        ending: id of the run that `work` ends; no message says that it continues.

    Returns:
        What `work` returns. What it raises is raised too.

    Raises:
        NotFound: the services are not installed.
        Unavailable: Windtunnel has stopped, and no other one has started in its place.
    """
    home = home_folder()
    while True:
        endpoints = await running_endpoints(home)
        with contextlib.suppress(_Changed):
            if endpoints is None:
                return await _on_embedded(home, work, interrupted, ending)
            return await _on_running(home, endpoints, work, interrupted)


async def running_endpoints(home: Path) -> Endpoints | None:
    """The addresses of the running Windtunnel. If one is starting, this waits for it.

    Args:
        home: its folder.

    Returns:
        The addresses; None if nothing runs.
    """
    waiting = False
    called = time.monotonic()
    while True:
        try:
            return find_endpoints(home)
        except Unavailable:
            called_now = time.monotonic() - called < _PATIENCE_S
            if not locks.is_taken(home) and not (called_now and is_up_starting(home)):
                return None
        if not waiting:
            say(f"waiting for Windtunnel to start in {home}")
            waiting = True
        await asyncio.sleep(_LOOK_S)


async def _on_running(home: Path, endpoints: Endpoints, work: Work[T], interrupted: Interrupted) -> T:
    embedded = locks.is_embedded(home)
    async with AsyncClient(endpoints) as client:
        try:
            return await _while_it_runs(home, endpoints, work(Connection(client, embedded)))
        except asyncio.CancelledError:
            interrupted(embedded=embedded)
            raise
        except _Changed:
            if embedded:
                say("the embedded Windtunnel of another command has ended")
            else:
                await _another(home)
            raise


async def _while_it_runs(home: Path, endpoints: Endpoints, work: Awaitable[T]) -> T:
    """What `work` returns.

    Raises:
        _Changed: another Windtunnel runs in `home` before `work` is done, or none.
        Unavailable: raised by `work` while the same Windtunnel runs.
    """
    try:
        return await _unless(_replaced(home, endpoints), work)
    except Unavailable:
        # The work may notice that it has ended before this does.
        if _is_replaced(home, endpoints):
            raise _Changed from None
        raise


async def _another(home: Path) -> None:
    """Waits for another `up`: a user who stopped the first one does not want an embedded one.

    Raises:
        Unavailable: none has started in time.
    """
    say(f"the Windtunnel in {home} has stopped; waiting for it to run again")
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        if await running_endpoints(home) is not None:
            return
        await asyncio.sleep(_LOOK_S)
    raise Unavailable(
        f"the Windtunnel in {home} has stopped", hint="start it again with `windtunnel up`; its runs then continue"
    )


async def _on_embedded(home: Path, work: Work[T], interrupted: Interrupted, ending: str) -> T:
    require_services()
    say(f"Windtunnel is not running: starting an embedded one in {home} for this command")
    supervisor = Supervisor(home, on_event=say, embedded=True)

    async def whole() -> T:
        try:
            await supervisor.start()
        except Conflict:
            # Another command was faster.
            raise _Changed from None
        async with AsyncClient(supervisor.addresses) as client:
            await print_unfinished_runs(client, say, ending=ending)
            return await work(Connection(client, embedded=True))

    try:
        return await _unless(supervisor.wanted(), whole())
    except asyncio.CancelledError:
        interrupted(embedded=True)
        raise
    except _Changed:
        if locks.is_wanted(home):
            say("`windtunnel up` takes over from this command's embedded Windtunnel")
        raise
    finally:
        await supervisor.stop()


async def _unless(change: Awaitable[None], work: Awaitable[T]) -> T:
    """What `work` returns or raises.

    Raises:
        _Changed: `change` returns first; `work` is then canceled.
    """
    working, changing = asyncio.ensure_future(work), asyncio.ensure_future(change)
    try:
        await asyncio.wait((working, changing), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        changing.result()
        raise _Changed
    finally:
        for task in (working, changing):
            task.cancel()
        await asyncio.gather(working, changing, return_exceptions=True)


async def _replaced(home: Path, endpoints: Endpoints) -> None:
    """Returns when the Windtunnel of `home` is not that of `endpoints` any more."""
    while True:
        if _is_replaced(home, endpoints):
            return
        await asyncio.sleep(_LOOK_S)


def _is_replaced(home: Path, endpoints: Endpoints) -> bool:
    try:
        return find_endpoints(home) != endpoints
    except Unavailable:
        return True
