"""The addresses of a running Windtunnel."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from windtunnel.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    import grpc

ENDPOINTS_FILE = "endpoints.json"
DEFAULT_HOME = "~/.windtunnel"
_CONNECT_S: Final = 8.0


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses of the NATS server, of each service's gRPC API by service name, and of the artifact store.

    `nats` is empty if only services are named: runs can then be read, not submitted. `artifacts_assumed`: the store is
    not named, and that of the home is assumed.
    """

    nats: str
    grpc: Mapping[str, str]
    artifacts: str
    home: Path
    artifacts_assumed: bool = False

    def address_of(self, service: str) -> str:
        """The address of a service's gRPC API.

        Args:
            service: its name.

        Returns:
            host:port.

        Raises:
            Unavailable: it is not known.
        """
        if service not in self.grpc:
            raise Unavailable(
                f"the address of {service} is not known", hint=f"set WINDTUNNEL_{service.upper()}_ADDRESS=host:port"
            )
        return self.grpc[service]


def home_folder() -> Path:
    """The folder of the installation: WINDTUNNEL_HOME, or ~/.windtunnel."""
    return Path(os.environ.get("WINDTUNNEL_HOME") or DEFAULT_HOME).expanduser().absolute()


def find_endpoints(home: Path | None = None) -> Endpoints:
    """The running Windtunnel: `<home>/endpoints.json`, overridden by WINDTUNNEL_* variables.

    Args:
        home: folder of the local data; None: the default one.

    Returns:
        The addresses.

    Raises:
        Unavailable: nothing runs there and no variable names a server.
    """
    home = home or home_folder()
    written = _read(home / ENDPOINTS_FILE)
    suffix = "_ADDRESS"
    named = {
        name.removeprefix("WINDTUNNEL_").removesuffix(suffix).lower(): value
        for name, value in os.environ.items()
        if name.startswith("WINDTUNNEL_") and name.endswith(suffix)
    }
    nats = os.environ.get("WINDTUNNEL_NATS_URL") or written.get("nats") or ""
    if not nats and not named:
        raise Unavailable(
            f"Windtunnel is not running in {home}", hint="start one with `windtunnel up`, or set WINDTUNNEL_NATS_URL"
        )
    artifacts = os.environ.get("WINDTUNNEL_ARTIFACTS_URL") or written.get("artifacts")
    return Endpoints(
        str(nats),
        {**written.get("grpc", {}), **named},
        str(artifacts or home / "artifacts"),
        home,
        artifacts_assumed=not artifacts,
    )


async def wait_until_reachable(endpoints: Endpoints, service: str, channel: grpc.aio.Channel) -> None:
    """Waits for the first connection to a service.

    Args:
        endpoints: for the message.
        service: its name.
        channel: to the service.

    Raises:
        Unavailable: it does not answer for some seconds.
    """
    try:
        await asyncio.wait_for(channel.channel_ready(), _CONNECT_S)
    except TimeoutError:
        file = endpoints.home / ENDPOINTS_FILE
        raise Unavailable(
            f"nothing answers at {endpoints.address_of(service)}, the address of {service}",
            hint=f"start `windtunnel up`; the address is from WINDTUNNEL_{service.upper()}_ADDRESS or {file}",
        ) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("it must hold a JSON object")
        for name in ("grpc", "pids"):
            if not isinstance(value.get(name, {}), dict):
                raise ValueError(f"{name} must be an object")
        pid = value.get("pids", {}).get("up")
        return {} if pid is not None and not _alive(int(pid)) else value
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidInput(
            f"{path} cannot be read: {error}", hint="remove it and start `windtunnel up` again"
        ) from error


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
