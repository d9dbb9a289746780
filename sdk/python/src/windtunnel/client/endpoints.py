"""Where a running Windtunnel is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from windtunnel.errors import InvalidInput, Unavailable

ENDPOINTS_FILE = "endpoints.json"
DEFAULT_HOME = "~/.windtunnel"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses of the NATS server, of each service's gRPC API by service name, and of the artifact store.

    `nats` is empty where only services are named: runs can then be read, not submitted. `artifacts_assumed`: nobody
    named the store, and the one of the home is assumed.
    """

    nats: str
    grpc: Mapping[str, str]
    artifacts: str
    home: Path
    artifacts_assumed: bool = False

    def address_of(self, service: str) -> str:
        """host:port of a service's gRPC API. Raises Unavailable."""
        if service not in self.grpc:
            raise Unavailable(
                f"the address of {service} is not known", hint=f"set WINDTUNNEL_{service.upper()}_ADDRESS=host:port"
            )
        return self.grpc[service]


def home_folder() -> Path:
    """The folder of the installation: WINDTUNNEL_HOME, else ~/.windtunnel."""
    return Path(os.environ.get("WINDTUNNEL_HOME") or DEFAULT_HOME).expanduser().absolute()


def find_endpoints(home: Path | None = None) -> Endpoints:
    """The running Windtunnel: `<home>/endpoints.json`, with what WINDTUNNEL_* variables say in its place.

    Raises Unavailable when nothing runs there and no variable names a server.
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
            f"no Windtunnel runs in {home}", hint="start one with `windtunnel up`, or set WINDTUNNEL_NATS_URL"
        )
    artifacts = os.environ.get("WINDTUNNEL_ARTIFACTS_URL") or written.get("artifacts")
    return Endpoints(
        str(nats),
        {**written.get("grpc", {}), **named},
        str(artifacts or home / "artifacts"),
        home,
        artifacts_assumed=not artifacts,
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        pid = value.get("pids", {}).get("up")
        return {} if pid is not None and not _alive(int(pid)) else value
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
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
