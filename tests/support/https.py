"""A real TLS server on localhost, with an authority of its own, that answers as a test says."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from support.tls import Authority


@dataclass
class Script:
    """What the server does with each request; `asked` holds the Range header of each."""

    behavior: Callable[[Handler], None]
    asked: list[str] = field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as its script says."""

    protocol_version = "HTTP/1.1"
    script: ClassVar[Script]

    def do_GET(self) -> None:
        self.script.asked.append(self.headers.get("Range", ""))
        self.script.behavior(self)

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        """A whole answer, with an ETag."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "ETag": '"one"', **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


class HttpsServer:
    """A running server; `script` may be changed at any time."""

    def __init__(self, folder: Path, behavior: Callable[[Handler], None]) -> None:
        self.authority = Authority(folder)
        self.script = Script(behavior)
        made = self.authority.certificate("localhost")
        own = type("Own", (Handler,), {"script": self.script})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), own)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made.cert, made.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.host = f"localhost:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends it; may be called twice."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


@contextmanager
def https_server(folder: Path, behavior: Callable[[Handler], None]) -> Iterator[HttpsServer]:
    """A server for the block."""
    server = HttpsServer(folder, behavior)
    try:
        yield server
    finally:
        server.stop()
