"""What parent and child say to each other: pickled messages behind an eight-byte length.

Only this process's own child talks on this socket; nothing that comes from a network is ever unpickled here.
"""

from __future__ import annotations

import copyreg
import importlib
import pickle
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from windtunnel.errors import InternalError
from windtunnel.isolation.reporting import Progress

HEADER = struct.Struct(">Q")
MAX_FRAME_BYTES = 1 << 33
_CHUNK_BYTES = 1 << 20


def _view_of(content: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(content)


def _made_again(view: MappingProxyType[Any, Any]) -> tuple[Callable[..., Any], tuple[dict[Any, Any]]]:
    # The type itself has no importable name.
    return _view_of, (dict(view),)


# Mappings that nobody may change are common in our dataclasses, and as defaults; pickle does not know them.
copyreg.pickle(MappingProxyType, _made_again)


@dataclass(frozen=True, slots=True)
class Hello:
    """First message to a child: where to find code, and what to import before the first job."""

    sys_path: tuple[str, ...]
    preload: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ready:
    """The child is warm. `problem` is empty, or why it is not."""

    problem: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One call: the arguments stay pickled until the job runs, so that a bad one is that job's failure."""

    function: str
    arguments: bytes
    folder: str
    marker: bytes


@dataclass(frozen=True, slots=True)
class Started:
    """The child has begun: from here on a death is the job's."""


@dataclass(frozen=True, slots=True)
class Result:
    """The job returned; `value` is pickled."""

    value: bytes


@dataclass(frozen=True, slots=True)
class Raised:
    """The job raised. `error` is a pickled WindtunnelError, or None: then `text` and `trace` say what happened."""

    error: bytes | None
    text: str
    trace: str
    kind: str


Message = Hello | Ready | Job | Started | Progress | Result | Raised


def encode(message: Message) -> bytes:
    """One frame: length and pickle.

    Args:
        message: to send.

    Returns:
        The bytes of the frame.
    """
    body = pickle.dumps(message, protocol=5)
    return HEADER.pack(len(body)) + body


def send(channel: socket.socket, message: Message) -> None:
    """Sends a message, for the child; blocks until it is written.

    Args:
        channel: to the other side.
        message: to send.
    """
    channel.sendall(encode(message))


def receive(channel: socket.socket) -> Any:
    """Receives a message, for the child; blocks until it is there.

    Args:
        channel: from the other side.

    Returns:
        The message.

    Raises:
        EOFError: the parent is gone.
    """
    (length,) = HEADER.unpack(_read_exactly(channel, HEADER.size))
    return pickle.loads(_read_exactly(channel, length))


def _read_exactly(channel: socket.socket, count: int) -> bytearray:
    data = bytearray(count)
    view = memoryview(data)
    while view:
        got = channel.recv_into(view[:_CHUNK_BYTES])
        if got == 0:
            raise EOFError("the parent closed the channel")
        view = view[got:]
    return data


def pack_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
    """Pickles a call's arguments.

    Args:
        args: by position.
        kwargs: by name.

    Returns:
        The pickle.

    Raises:
        InternalError: one cannot be pickled.
    """
    try:
        return pickle.dumps((args, dict(kwargs)), protocol=5)
    except Exception as error:
        raise InternalError(f"the arguments of a job cannot be pickled: {error}") from error


def reference_of(function: Callable[..., Any]) -> str:
    """The name by which a child finds a function.

    Args:
        function: defined at the top of a module.

    Returns:
        `module:qualname`.

    Raises:
        InternalError: it is a lambda, a closure, or in __main__.
    """
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    reference = f"{module}:{name}"
    if not module or module == "__main__" or "<" in name:
        raise InternalError(
            f"{reference} cannot be sent to a child", hint="give a function defined at the top of a module"
        )
    return reference


def resolve(reference: str) -> Callable[..., Any]:
    """The function behind a name.

    Args:
        reference: `module:qualname`.

    Returns:
        The function.

    Raises:
        ImportError: there is no such module.
        AttributeError: the module has no such function.
    """
    module, _, name = reference.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise AttributeError(f"{reference} is not callable")
    resolved: Callable[..., Any] = found
    return resolved
