"""One phone at an adb server: its shell and its files. Every call opens a connection of its own."""

from __future__ import annotations

import asyncio
import functools
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from adbutils import AdbClient, AdbError

from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.adb.connections import (
    connected,
    features,
    receive,
    send,
    shell_v1,
    shell_v2,
)
from windtunnel.farm_dispatcher.adapters.adb.failures import farm_error

_ANSWER_S: Final = 30.0
_SHELL_V2: Final = "shell_v2"
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed, errors among it, and its exit status."""

    status: int
    text: str


class AttachedPhone:
    """A phone by its serial. Every method raises FarmError if the phone does not answer.

    Args:
        client: of the adb server.
        serial: as the server names the phone.
        timeout_s: the longest silence of the phone, in seconds.
    """

    def __init__(self, client: AdbClient, serial: str, timeout_s: float = 60.0) -> None:
        self.serial = serial
        self._client = client
        self._timeout_s = timeout_s
        self._has_shell_v2: bool | None = None

    async def shell(self, command: str, timeout_s: float | None = None) -> Answer:
        """Runs a command of the phone's shell. The end of the connection ends the command.

        Args:
            command: for the shell.
            timeout_s: the longest silence; None: that of the phone.

        Returns:
            The answer.

        Raises:
            FarmError: the phone does not answer.
        """
        return await self._asked(lambda: self._shell(command, timeout_s or self._timeout_s))

    async def push(self, source: Path, target: str) -> None:
        """Copies a file to the phone, executable for its shell.

        Args:
            source: of this host.
            target: absolute path on the phone.

        Raises:
            FarmError: the phone takes no file, or the connection ends.
        """
        await self._asked(lambda: send(self._client, self.serial, source, target, self._timeout_s))

    async def pull(self, source: str, target: Path) -> None:
        """Copies a file from the phone.

        Args:
            source: absolute path on the phone.
            target: of this host; its folders are made.

        Raises:
            FarmError: there is no such file, or the connection ends.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        await self._asked(lambda: receive(self._client, self.serial, source, target, self._timeout_s))

    async def _asked(self, call: Callable[[], _Result]) -> _Result:
        try:
            return await asyncio.to_thread(call)
        except (AdbError, EOFError, OSError) as error:
            raise farm_error(self.serial, _said(error)) from error

    def _shell(self, command: str, timeout_s: float) -> Answer:
        if self._has_shell_v2 is None:
            self._has_shell_v2 = _SHELL_V2 in features(self._client, self.serial, timeout_s)
        run = shell_v2 if self._has_shell_v2 else shell_v1
        # A subshell: its exit ends nothing else.
        status, printed = run(self._client, self.serial, f"( {command}\n)", timeout_s)
        return Answer(status, printed.decode(errors="replace"))


def _said(error: Exception) -> str:
    words = " ".join(map(str, error.args)).strip()
    return words or "the connection was closed"


def quoted(path: str) -> str:
    """A word for the phone's shell.

    Args:
        path: any text.

    Returns:
        Quoted.
    """
    return shlex.quote(path)


class AdbServer:
    """The adb server of a farm.

    Args:
        address: host and port.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        host, _, port = address.rpartition(":")
        self._client = AdbClient(host or "127.0.0.1", int(port), socket_timeout=_ANSWER_S)

    async def states(self, wanted: tuple[str, ...]) -> dict[str, str]:
        """The attached phones and their states: device, offline, unauthorized and others.

        Args:
            wanted: serials to look at. Empty: all. One that is an address and not attached is attached.

        Returns:
            By serial.

        Raises:
            FarmError: the server does not answer.
        """
        found: dict[str, str] = await self._asked(_states)
        missing = [serial for serial in wanted if serial not in found and _is_address(serial)]
        for serial in missing:
            await self._asked(functools.partial(_connect, serial))
        if missing:
            found = await self._asked(_states)
        return {serial: state for serial, state in found.items() if not wanted or serial in wanted}

    def phone(self, serial: str) -> AttachedPhone:
        """A phone, attached or not.

        Args:
            serial: of the phone.

        Returns:
            The phone.
        """
        return AttachedPhone(self._client, serial)

    async def _asked(self, call: Callable[[AdbClient], _Result]) -> _Result:
        try:
            return await asyncio.to_thread(self._ask, call)
        except (AdbError, EOFError, OSError) as error:
            raise FarmError(
                f"the adb server at {self.address} does not answer: {_said(error)}",
                hint=f"run: adb -P {self._client.port} start-server",
            ) from error

    def _ask(self, call: Callable[[AdbClient], _Result]) -> _Result:
        with connected(self._client, _ANSWER_S):
            pass
        return call(self._client)


def _states(client: AdbClient) -> dict[str, str]:
    return {info.serial: info.state for info in client.list()}


def _connect(serial: str, client: AdbClient) -> None:
    client.connect(serial, timeout=_ANSWER_S)


def is_on_network(serial: str) -> bool:
    """Whether a phone is attached over its own radio.

    Args:
        serial: of the phone.

    Returns:
        False for USB, emulators and forwarded ports.
    """
    return _is_address(serial) and serial.rpartition(":")[0] not in ("127.0.0.1", "localhost", "::1", "[::1]")


def _is_address(serial: str) -> bool:
    return serial.rpartition(":")[2].isdigit() and ":" in serial
