"""A key that may not do one thing is distinguished from one that is refused altogether, by the server's code alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from windtunnel.artifacts import open_store
from windtunnel.artifacts.stores.port import AccessDenied
from windtunnel.errors import Unavailable
from windtunnel.service.runtime import _only_no_listing


@contextmanager
def refusing(code: str) -> Iterator[str]:
    """The endpoint of a server that answers every request with this S3 error."""

    class Refusal(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            self.send_response(403)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusal)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("code", "kind"),
    [("AccessDenied", AccessDenied), ("InvalidAccessKeyId", Unavailable), ("SignatureDoesNotMatch", Unavailable)],
)
async def test_the_code_decides(code: str, kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with refusing(code) as endpoint:
        store = open_store(f"s3://bucket?endpoint={endpoint}", cache=tmp_path)
        with pytest.raises(Unavailable) as caught:
            await store.read_bytes("0" * 64)
        assert type(caught.value) is kind and not caught.value.retryable
        assert await _only_no_listing(store) is (kind is AccessDenied)
