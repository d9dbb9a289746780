"""The client of nats-py, true to a `tls://` address at every connection, the first and all later ones.

nats-py encrypts only where the server's greeting requires it, and the greeting is not encrypted: a server without TLS,
or somebody between, would get the password in plain text.
"""

from __future__ import annotations

from typing import Any

import nats.errors
from nats.aio.client import Client


class PlainText(nats.errors.Error):
    """The server offers no TLS. An error of nats-py's family, which its loop of reconnecting survives."""


class EncryptingClient(Client):
    """Sends credentials over TLS only, where `must_encrypt`.

    Args:
        must_encrypt: refuse a server that does not encrypt.
    """

    def __init__(self, *, must_encrypt: bool) -> None:
        super().__init__()
        self._must_encrypt = must_encrypt

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if self._must_encrypt and info.get("tls_available"):
            # The server leaves the choice to the client, and nats-py knows only what is required.
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    def _connect_command(self) -> bytes:
        # What nats-py sends first, after the handshake if there was one. It holds the credentials.
        if self._must_encrypt and not self._is_encrypted():
            server = "" if self._current_server is None else self._current_server.uri.netloc
            raise PlainText(f"the server at {server} offers no TLS")
        return super()._connect_command()

    def _is_encrypted(self) -> bool:
        if self._current_server is not None and self._current_server.uri.scheme == "wss":
            return True
        writer = getattr(self._transport, "_io_writer", None)
        return writer is not None and writer.get_extra_info("ssl_object") is not None
