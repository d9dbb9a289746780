"""Who supervises a home: an `up`, or an embedded supervisor that makes room for it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from windtunnel.cli.home import locks
from windtunnel.cli.home.processes import is_up_starting
from windtunnel.errors import Conflict, InvalidInput


async def test_an_up_waits_until_an_embedded_one_makes_room(tmp_path: Path) -> None:
    said: list[str] = []
    told = asyncio.Event()

    def say(words: str) -> None:
        said.append(words)
        told.set()

    embedded = await locks.take_embedded(tmp_path)
    assert locks.is_taken(tmp_path) and locks.is_embedded(tmp_path) and not locks.is_wanted(tmp_path)
    up = asyncio.create_task(locks.take_for_up(tmp_path, say))
    await asyncio.wait_for(told.wait(), 20)
    assert not up.done() and locks.is_wanted(tmp_path)
    embedded.release()
    lock = await asyncio.wait_for(up, 5)
    assert locks.is_taken(tmp_path) and not locks.is_embedded(tmp_path) and not locks.is_wanted(tmp_path)
    assert len(said) == 1 and "taking over from the embedded" in said[0]
    lock.release()
    assert not locks.is_taken(tmp_path)


async def test_nobody_takes_the_home_of_an_up(tmp_path: Path) -> None:
    lock = await locks.take_for_up(tmp_path, print)
    for take in (locks.take_for_up(tmp_path, print), locks.take_embedded(tmp_path)):
        with pytest.raises(Conflict, match="already runs"):
            await take
    lock.release()
    (await locks.take_embedded(tmp_path)).release()


async def test_of_two_embedded_ones_and_of_two_waiting_ups_one_gets_it(tmp_path: Path) -> None:
    embedded = await locks.take_embedded(tmp_path)
    with pytest.raises(Conflict):
        await locks.take_embedded(tmp_path)
    first = asyncio.create_task(locks.take_for_up(tmp_path, print))
    await asyncio.sleep(0.1)
    with pytest.raises(Conflict):
        await locks.take_for_up(tmp_path, print)
    embedded.release()
    (await first).release()


LOOKING = """\
import pathlib, sys
from windtunnel.cli.home import locks
locks.is_taken(pathlib.Path(sys.argv[1]))
print("looks", flush=True)
while True:
    locks.is_taken(pathlib.Path(sys.argv[1]))
"""


@pytest.fixture
def looking(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that looks at the locks all the time."""
    with subprocess.Popen([sys.executable, "-c", LOOKING, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "looks\n"
        yield process
        process.kill()


async def test_who_only_looks_is_in_nobodys_way(tmp_path: Path, looking: subprocess.Popen[str]) -> None:
    for _ in range(1500):
        (await locks.take_for_up(tmp_path, print)).release()
        (await locks.take_embedded(tmp_path)).release()
    assert looking.poll() is None


async def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not-there"):
        await locks.take_for_up(tmp_path / "not-there", print)


# Looks like `windtunnel up` to whoever reads its command line, and waits.
WAITING = "import sys; sys.stdin.read()"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("arguments", "variable", "found"),
    [
        (["windtunnel", "up"], "home", True),
        (["windtunnel", "up", "--home", "home"], "elsewhere", True),
        (["windtunnel", "up", "--home=home"], "", True),
        (["-m", "windtunnel.cli", "up"], "home", True),
        (["windtunnel", "up"], "elsewhere", False),
        (["windtunnel", "up", "--home", "elsewhere"], "home", False),
        (["windtunnel", "submit", "up"], "home", False),
    ],
)
def test_an_up_that_has_no_lock_yet_is_seen(tmp_path: Path, arguments: list[str], variable: str, found: bool) -> None:
    (tmp_path / "home").mkdir()
    environment = {**os.environ, "WINDTUNNEL_HOME": variable}
    command = [sys.executable, "-c", WAITING, *arguments]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdin=subprocess.PIPE) as process:
        try:
            # Between fork and exec the child is still a copy of this process.
            while b"sys.stdin" not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
                pass
            assert is_up_starting(tmp_path / "home") is found
        finally:
            process.kill()
    assert not is_up_starting(tmp_path / "home")
