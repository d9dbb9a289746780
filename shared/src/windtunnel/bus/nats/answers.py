"""The ways in which a NATS server can fail to answer, as errors of Windtunnel."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final

import nats.errors
import nats.js.errors

from windtunnel.bus.nats.refusals import Watch
from windtunnel.errors import Unavailable

GONE: Final = (nats.errors.Error, asyncio.TimeoutError, OSError)


class Answered:
    """Turns every way in which the server can fail to answer into Unavailable.

    Args:
        what: the call, for messages.
        watch: knows why the server does not answer; None: ask nothing.
    """

    __slots__ = ("_watch", "_what")

    def __init__(self, what: str, watch: Watch | None = None) -> None:
        self._what = what
        self._watch = watch

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, nats.js.errors.APIError):
            raise Unavailable(f"{self._what}: {_description(error)}", hint=_hint(error)) from error
        if isinstance(error, GONE):
            if self._watch is not None and (denied := self._watch.denied):
                raise Unavailable(f"{self._what}: {denied}", hint="see the permissions of the user") from error
            message = f"{self._what}: {type(error).__name__}: {error}"
            raise Unavailable(message, hint="is the NATS server running?") from error


def _description(error: nats.js.errors.APIError) -> str:
    if error.description:
        return error.description
    silent = isinstance(error, nats.js.errors.ServiceUnavailableError)
    return "nobody answers for JetStream" if silent else str(error)


def _hint(error: nats.js.errors.APIError) -> str:
    description = error.description or ""
    if "maximum" in description:
        return "the stream is full: raise its limits or purge old events"
    if "insufficient" in description:
        return "the server has less room than the streams ask for: lower the limits or give it a larger disk"
    return ""
