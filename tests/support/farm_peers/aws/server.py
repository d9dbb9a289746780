"""The server: JSON 1.1 over HTTP, presigned uploads and artifacts at the same address."""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from support.farm_peers.aws.api import TARGET, Refused, check_answer, check_request
from support.farm_peers.aws.clock import VirtualClock
from support.farm_peers.aws.devices import DEVICES
from support.farm_peers.aws.faults import Faults
from support.farm_peers.aws.operations import Operations
from support.farm_peers.aws.phone import Phone
from support.farm_peers.aws.runs import Runs
from support.farm_peers.aws.uploads import Uploads

PROJECT: Final = "arn:aws:devicefarm:us-west-2:123456789012:project:5e01a8c7-c861-4c0a-b1d5-12345EXAMPLE"


@dataclass
class AwsPeer:
    """A running peer. `calls` counts the requests of each operation; `refused` are the errors that it answered."""

    url: str
    clock: VirtualClock
    faults: Faults
    operations: Operations
    calls: Counter[str]
    refused: list[Refused]
    project: str = PROJECT

    @property
    def runs(self) -> Runs:
        return self.operations.runs

    @property
    def uploads(self) -> Uploads:
        return self.operations.runs.uploads

    @property
    def phones(self) -> list[Phone]:
        return self.operations.runs.phones

    @property
    def environment(self) -> dict[str, str]:
        """What boto3 needs to talk to it."""
        return {
            "AWS_ENDPOINT_URL_DEVICE_FARM": self.url,
            "AWS_ACCESS_KEY_ID": "AKIDWINDTUNNEL",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-west-2",
        }


@contextmanager
def start_aws_peer(folder: Path, *, speed: float = 0.0, page_size: int = 3) -> Iterator[AwsPeer]:
    """Runs a peer; `folder` takes its phones, `speed` is virtual seconds in a real one."""
    clock, faults = VirtualClock(speed), Faults()
    uploads = Uploads(PROJECT, clock, faults)
    runs = Runs(PROJECT, folder, clock, faults, uploads, [dict(one) for one in DEVICES], {})
    server = _Server(Operations(runs, page_size), faults)
    url = f"http://127.0.0.1:{server.server_port}"
    uploads.base_url = runs.base_url = url
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield AwsPeer(url, clock, faults, server.operations, server.calls, server.refused)
    finally:
        server.shutdown()
        server.server_close()
        for job in runs.jobs():
            if job.execution is not None:
                job.execution.kill()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, operations: Operations, faults: Faults) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.operations, self.faults = operations, faults
        self.calls: Counter[str] = Counter()
        self.refused: list[Refused] = []
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is nothing to print about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def do_POST(self) -> None:
        body = self._body()
        service, _, operation = self.headers.get("x-amz-target", "").partition(".")
        try:
            answer = self._answer(service, operation, body)
        except _HangUp:
            self._hang_up()
        except Refused as error:
            self.server.refused.append(error)
            self._send(error.status, {"__type": error.code, "message": error.message}, error.code)
        else:
            self._send(200, answer)

    def _answer(self, service: str, operation: str, body: bytes) -> dict[str, Any]:
        if service != TARGET or self.headers.get("content-type") != "application/x-amz-json-1.1":
            raise Refused("UnknownOperationException", f"{service}.{operation}")
        if "/devicefarm/aws4_request" not in self.headers.get("authorization", ""):
            raise Refused("MissingAuthenticationTokenException", "Missing Authentication Token", 403)
        server = self.server
        with server.lock:
            server.calls[operation] += 1
            if operation in server.faults.drop:
                server.faults.drop.remove(operation)
                raise _HangUp
            refusal = server.faults.refusal(operation)
            delay = (server.faults.slow.get(operation) or [0.0]).pop(0)
            if refusal is not None:
                raise refusal
        time.sleep(delay)
        with server.lock:
            request = check_request(operation, json.loads(body))
            answer = check_answer(operation, server.operations.answer(operation, request))
            if operation in server.faults.lose_answer:
                server.faults.lose_answer.remove(operation)
                raise _HangUp
        return answer

    def do_PUT(self) -> None:
        parts = urlsplit(self.path)
        content = self._body()
        signed = "X-Amz-Signature" in parse_qs(parts.query)
        # S3 takes one kind of credentials, not two.
        if not signed or "authorization" in self.headers or not parts.path.startswith("/uploads/"):
            self._send(403 if not signed else 400, {})
            return
        with self.server.lock:
            self.server.calls["PUT"] += 1
            status = self.server.operations.runs.uploads.put(parts.path.split("/")[2], content)
        self._send(status, {})

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        content = None
        if parts.path.startswith("/artifacts/") and "X-Amz-Signature" in parse_qs(parts.query):
            _, _, *arn, number = parts.path.split("/")
            with self.server.lock:
                self.server.calls["GET"] += 1
                content = self.server.operations.artifact(":job:" + "/".join(arn), int(number))
        if content is None:
            self._send(403, {})
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        if self.headers.get("expect"):
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _send(self, status: int, answer: dict[str, Any], code: str = "") -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
        if code:
            self.send_header("x-amzn-ErrorType", code)
        self.end_headers()
        self.wfile.write(body)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


class _HangUp(Exception):
    """The connection is closed without an answer."""
