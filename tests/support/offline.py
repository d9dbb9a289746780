"""Keeps tests on this machine: connecting to another machine or asking for its address fails the test."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Of these the last argument is the address, and the first one the name.
_CONNECTIONS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_LOOKUPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})

# None while nobody watches.
_seen: list[str] | None = None
_hooked = False


@contextmanager
def offline() -> Iterator[list[str]]:
    """Refuses with an OSError what leaves this machine.

    Yields:
        The hosts that were asked for. Code under test may catch the error: assert that the list is empty.
    """
    global _seen, _hooked
    if not _hooked:  # A hook cannot be removed.
        sys.addaudithook(_refuse)
        _hooked = True
    _seen = []
    try:
        yield _seen
    finally:
        _seen = None


def is_local(host: Any) -> bool:
    """Whether a host of an address of a socket is this machine: a loopback address, or a name of it."""
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if host in (None, "", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is None:
        return
    if event in _CONNECTIONS:
        address = arguments[-1]
        # Sockets of files have a path as address.
        host = address[0] if isinstance(address, tuple) and address else None
    elif event in _LOOKUPS:
        host = arguments[0]
    else:
        return
    if not is_local(host):
        _seen.append(str(host))
        raise OSError(f"this test stays on this machine: it may not ask for {host!r}")
