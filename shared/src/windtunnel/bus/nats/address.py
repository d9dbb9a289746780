"""The address of the NATS server, as WINDTUNNEL_NATS_URL gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from windtunnel.errors import InvalidInput

_SCHEMES: Final = ("nats", "tls", "ws", "wss")
_FORM: Final = (
    "WINDTUNNEL_NATS_URL is nats://[user:password@]host:port, or tls:// where TLS is required; "
    "percent-encode user and password"
)
_COMMA: Final = (
    "in WINDTUNNEL_NATS_URL write a comma of a password as %2C, and nats:// or tls:// in front of every server"
)


@dataclass(frozen=True, slots=True)
class NatsAddress:
    """Where the servers are and who connects. `shown` is the address for logs and messages, the secret masked."""

    servers: tuple[str, ...]
    user: str | None
    password: str | None
    token: str | None
    shown: str

    @property
    def wants_tls(self) -> bool:
        """Whether the connection must be encrypted."""
        return any(server.startswith(("tls://", "wss://")) for server in self.servers)

    @property
    def login(self) -> str:
        """Who connects, for messages."""
        if self.user is not None:
            return f"user {self.user!r} with this password"
        return "this token" if self.token is not None else "a client without user and password"


def parse_address(url: str) -> NatsAddress:
    """Reads the address of a server, or of several with commas between them.

    Credentials are percent-decoded; those of the first server count.

    Args:
        url: as the setting gives it.

    Returns:
        Servers and credentials.

    Raises:
        InvalidInput: it cannot be read. The message never has a secret.
    """
    texts = [one.strip() for one in url.split(",") if one.strip()]
    if any("@" in text and "://" not in text for text in texts[1:]):
        # Whether the comma ends a server or belongs to a password cannot be known.
        raise InvalidInput("the address of the NATS server has a comma before credentials", hint=_COMMA)
    parts = [_part(text) for text in texts]
    if not parts:
        raise InvalidInput("the address of the NATS server is empty", hint=_FORM)
    known = next((part for part in parts if part.username is not None), parts[0])
    user = None if known.username is None else unquote(known.username)
    password = None if known.password is None else unquote(known.password)
    return NatsAddress(
        servers=tuple(f"{part.scheme}://{_host(part)}{part.path}" for part in parts),
        user=user if password is not None else None,
        password=password,
        token=user if password is None else None,
        shown=",".join(_shown(part) for part in parts),
    )


def _part(url: str) -> SplitResult:
    """One server. The messages name no part of `url`: where it cannot be read, any part may be the password.

    Raises:
        InvalidInput: it is not an address.
    """
    full = url if "://" in url else f"nats://{url}"
    try:
        part = urlsplit(full)
        port = part.port
    except ValueError:
        # Without its cause, which quotes what it takes for the port.
        raise InvalidInput("the address of the NATS server cannot be read", hint=_FORM) from None
    if part.scheme not in _SCHEMES:
        raise InvalidInput(f"the address of the NATS server has the scheme {part.scheme!r}", hint=_FORM)
    if "@" in part.path or part.query or part.fragment:
        # A password with '/', '?' or '#' ends the host too early, and its first half then looks like a port.
        raise InvalidInput("the address of the NATS server has '/', '?' or '#' before its host", hint=_FORM)
    if not part.hostname or port == 0:
        raise InvalidInput("the address of the NATS server names no host and port", hint=_FORM)
    return part


def _host(part: SplitResult) -> str:
    host = f"[{part.hostname}]" if ":" in (part.hostname or "") else part.hostname
    return f"{host}:{part.port or 4222}"


def _shown(part: SplitResult) -> str:
    who = ""
    if part.username is not None:
        # A user name alone is a token, which is a secret.
        who = f"{part.username}:***@" if part.password is not None else "***@"
    return f"{part.scheme}://{who}{_host(part)}"
