"""Why NATS cannot be used: what is reported, and whether waiting can help."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import time
from typing import Final

from windtunnel.bus.nats.address import NatsAddress
from windtunnel.bus.nats.client import PlainText
from windtunnel.errors import OutsideError, Unavailable

log = logging.getLogger(__name__)

# The first failure may be that of a server that is just starting.
_QUIET_S: Final = 1.5
_EVERY_S: Final = 3.0
# A connected service outlives a server that comes back with its old credentials a moment later.
_HOPELESS_AFTER_S: Final = 10.0
# Different texts that are remembered: an error may quote a subject, and every one of those differs.
_TOLD: Final = 32
_UNAUTHORIZED: Final = re.compile(r"authorization violation|authentication (?:expired|revoked|timeout)", re.IGNORECASE)
_DENIED: Final = re.compile(r"permissions violation for (\w+)(?: to)? (\S+)", re.IGNORECASE)


class Refused(OutsideError):
    """The server is there and does not let us in: waiting does not help.

    Args:
        message: what happened.
        hint: what to do.
    """

    code = "nats_refused"

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message, retryable=False, hint=hint)


class Watch:
    """Receives every error of a connection, logs it now and then, and knows whether waiting can help.

    Args:
        address: of the server.
    """

    def __init__(self, address: NatsAddress) -> None:
        self.address = address
        self.refused: asyncio.Future[Refused] = asyncio.get_running_loop().create_future()
        self.last = ""
        self._denied = ("", float("-inf"))
        self.starting = True
        self.closing = False
        self.closed = False
        self._began = time.monotonic()
        self._told: dict[str, float] = {}
        self._hopeless: tuple[float, Refused] | None = None

    @property
    def denied(self) -> str:
        """What the server has forbidden just now: it explains a request without an answer. Empty: nothing."""
        words, at = self._denied
        return words if time.monotonic() - at < _HOPELESS_AFTER_S else ""

    async def on_error(self, error: Exception) -> None:
        """Receives an error that the client could not raise from any call.

        Args:
            error: of nats-py or of the connection.
        """
        refused = refusal(error, self.address)
        if denied := _DENIED.search(str(error)):
            self._denied = (f"the server forbids {denied[1].lower()} on {denied[2]}", time.monotonic())
        if refused is None:
            self.say(_words(error))
        elif self.starting:
            # The caller of connect raises it.
            if not self.refused.done():
                self.refused.set_result(refused)
        else:
            self.say(refused.message.removeprefix(f"NATS at {self.address.shown}: "), urgent=True)
            # What is forbidden shows that we were let in: it says nothing of a later loss of the connection.
            if not denied:
                self._hopeless = self._hopeless or (time.monotonic(), refused)

    async def lost(self) -> None:
        """The connection has ended. Errors from now on say why it does not come back."""
        self._hopeless = None
        if not self.starting and not self.closing:
            self.say("the connection is lost; trying again", urgent=True)

    async def regained(self) -> None:
        """It is back."""
        self._hopeless, self._denied = None, ("", float("-inf"))
        self._began = time.monotonic()
        log.info("NATS at %s: connected again", self.address.shown)

    async def ended(self) -> None:
        """The client has given up for good."""
        self.closed = not self.closing and not self.starting

    def say(self, words: str, *, urgent: bool = False) -> None:
        """Logs words; the same words at most every few seconds.

        Args:
            words: what happened.
            urgent: log also during the first seconds, when a server may still start.
        """
        self.last = words
        now = time.monotonic()
        if not urgent and self.starting and now - self._began < _QUIET_S:
            return
        if now - self._told.get(words, float("-inf")) >= _EVERY_S:
            self._told.pop(words, None)
            self._told[words] = now
            if len(self._told) > _TOLD:
                del self._told[next(iter(self._told))]
            log.warning("NATS at %s: %s", self.address.shown, words)

    def fault(self, *, connected: bool) -> OutsideError | None:
        """Why a connection that was there will not come back.

        Args:
            connected: whether it is there now.

        Returns:
            None: it is there, or may come back.
        """
        if self.closed:
            return Unavailable(f"NATS at {self.address.shown}: the connection is closed: {self.last}")
        if connected or self._hopeless is None:
            return None
        since, refused = self._hopeless
        return refused if time.monotonic() - since > _HOPELESS_AFTER_S else None


def refusal(error: Exception, address: NatsAddress) -> Refused | None:
    """The error to report if waiting does not help.

    Args:
        error: of nats-py or of the connection.
        address: of the server.

    Returns:
        None: the error may pass.
    """
    where, text = f"NATS at {address.shown}", str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message or text
        hint = "use a host name that the certificate has" if "mismatch" in reason else "name its CA in SSL_CERT_FILE"
        return Refused(f"{where}: the server's certificate is not accepted: {reason}", hint=hint)
    if isinstance(error, PlainText):
        return Refused(f"{where}: {text}", hint="enable TLS on the server, or use nats:// if its network is trusted")
    if isinstance(error, ssl.SSLError):
        hint = "does the server speak TLS at this port, and does it ask for a client certificate?"
        return Refused(f"{where}: TLS failed: {error.reason or text}", hint=hint)
    if _UNAUTHORIZED.search(text):
        hint = "check user and password in WINDTUNNEL_NATS_URL, percent-encoded"
        return Refused(f"{where}: the server refuses {address.login}: {_plain(text)}", hint=hint)
    if denied := _DENIED.search(text):
        hint = "a service needs $JS.API.>, $KV.>, $JS.ACK.>, windtunnel.>, windtunnel_dead.> and _INBOX.>"
        return Refused(f"{where}: the server forbids {denied[1].lower()} on {denied[2]}", hint=hint)
    return None


def no_jetstream(address: NatsAddress, text: str) -> Refused | None:
    """The error to report if JetStream is off for this account.

    Args:
        address: of the server.
        text: what the server reports.

    Returns:
        None: the text says something else.
    """
    if "not enabled" not in text.lower():
        return None
    hint = "start nats-server with -js, and enable JetStream for the account of this user"
    return Refused(f"NATS at {address.shown}: JetStream is off: {text}", hint=hint)


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"cannot connect: {error.strerror}"
    text = _plain(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _plain(text: str) -> str:
    return text.removeprefix("nats: ").strip("'\"")
