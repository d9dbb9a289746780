"""Devices of several farms, of which one has something else at its address."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.installed_farms import open_installed, read_farms
from windtunnel.plan import DeviceFilter

FARMS = """
apiVersion: windtunnel/v1
farms:
- {{name: local, kind: local}}
- {{name: ftl, kind: firebase, project: p, results: gs://bucket/w, endpoints: {{testing: "{address}", toolresults: "{address}", storage: "{address}"}}}}
"""  # noqa: E501


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """A server that answers everything with 200 and `body`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>log in</html>", "not a JSON object but '<html>log in</html>'"),
        (b'{"a": [1, ', "not a JSON object"),
        (b"[]", "not a JSON object but '[]'"),
        (b"null", "not a JSON object but 'None'"),
        (b'{"androidDeviceCatalog": {"models": [7]}}', "cannot be understood"),
        (b'{"androidDeviceCatalog": "x"}', "cannot be understood"),
    ],
)
async def test_an_answer_of_something_else_is_an_outage_of_that_farm(tmp_path: Path, body: bytes, words: str) -> None:
    path = tmp_path / "farms.yaml"
    with answering(body) as address:
        path.write_text(FARMS.format(address=address))
        async with open_installed(read_farms(path)) as installed:
            listing = await installed.list_devices()
            with pytest.raises(FarmError, match=re.escape(words)):
                await installed.plan_cells("int8", [DeviceFilter("ftl")])
    assert [device.name for device in listing.devices] == ["host"]
    (outage,) = listing.outages
    assert outage.farm == "ftl" and words in outage.message
