"""One HTTP server for Testing v1, Tool Results v1beta3 and Cloud Storage v1, with faults and quotas."""

from __future__ import annotations

import fnmatch
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from support.farm_peers.google import tool_results
from support.farm_peers.google.bucket import Buckets
from support.farm_peers.google.discovery import Call, api
from support.farm_peers.google.google_errors import GoogleError
from support.farm_peers.google.lab import Lab
from support.farm_peers.google.matrices import Matrices

_APIS = (("/v1/", "testing.v1"), ("/toolresults/", "toolresults.v1beta3"), ("/storage/", "storage.v1"))


@dataclass
class Fault:
    """What happens to the next `times` calls of methods that `method` (a glob) names.

    `status` is answered instead of doing anything; "lost": it is done, and the connection closed without an answer;
    "dropped": closed at once; "slow": answered after `seconds` of real time; "garbage": HTML instead of JSON.
    """

    method: str
    status: str = ""
    times: int = 1
    kind: str = "status"
    message: str = "The service is currently unavailable."
    retry_after_s: int | None = None
    seconds: float = 0.0
    # So many calls pass before.
    after: int = 0


@dataclass(frozen=True)
class Quota:
    """At most `calls` of a method (a glob) in `per_s` virtual seconds."""

    method: str
    calls: int
    per_s: float


@dataclass
class GooglePeer:
    """The server's state, for tests.

    `calls` counts requests by method, refused ones too. `authorizations` are the Authorization headers received.
    """

    lab: Lab
    buckets: Buckets
    matrices: Matrices
    faults: list[Fault] = field(default_factory=list)
    quotas: list[Quota] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    authorizations: list[str] = field(default_factory=list)
    url: str = ""
    _spent: dict[str, list[float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fault_for(self, method: str) -> Fault | None:
        """The fault of this call, which is then used up."""
        with self._lock:
            self.calls[method] += 1
            for fault in self.faults:
                if fault.times > 0 and fnmatch.fnmatch(method, fault.method):
                    if fault.after > 0:
                        fault.after -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    def check_quota(self, method: str) -> None:
        """Raises GoogleError 429 with Retry-After where a quota is used up."""
        now = self.lab.clock.now()
        for quota in self.quotas:
            if not fnmatch.fnmatch(method, quota.method):
                continue
            spent = self._spent.setdefault(quota.method, [])
            spent[:] = [at for at in spent if at > now - quota.per_s]
            if len(spent) >= quota.calls:
                wait = max(1, round(spent[0] + quota.per_s - now))
                raise GoogleError(
                    "RESOURCE_EXHAUSTED",
                    f"Quota exceeded for quota metric 'Requests' and limit 'Requests per {quota.per_s:g} seconds' of "
                    f"service '{method.split('.')[0]}.googleapis.com' for consumer 'project_number:1'.",
                    [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "RATE_LIMIT_EXCEEDED",
                      "domain": "googleapis.com"}],
                    retry_after_s=wait,
                )  # fmt: skip
            spent.append(now)


@contextmanager
def google_peer(*buckets: str, lab: Lab | None = None) -> Iterator[GooglePeer]:
    """Starts the server on a free port of the loopback interface; it has these buckets."""
    lab = lab or Lab()
    stored = Buckets(buckets, lab.clock)
    peer = GooglePeer(lab, stored, Matrices(lab, stored))
    handler = type("Handler", (_Handler,), {"peer": peer})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    peer.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield peer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        peer.matrices.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet; two would wait for each other's acknowledgment.
    wbufsize = 1 << 16
    peer: ClassVar[GooglePeer]

    def log_message(self, format: str, *args: Any) -> None:
        """Tests print nothing."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if "authorization" in headers:
            self.peer.authorizations.append(headers["authorization"])
        try:
            self._dispatch(headers, body)
        except GoogleError as error:
            extra = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s is not None else {}
            self._send(error.code, json.dumps(error.body).encode(), extra)
        except _Closed:
            self.close_connection = True
        except AssertionError as error:
            self._send(500, json.dumps(GoogleError("INTERNAL", f"PEER IS WRONG: {error}").body).encode())

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _serve  # noqa: N815

    def _dispatch(self, headers: Mapping[str, str], body: bytes) -> None:
        split = urlsplit(self.path)
        query = parse_qs(split.query, keep_blank_values=True)
        kind = query.get("uploadType", [""])[0]
        path = re.sub("^/(upload|download)/", "/", split.path)
        if split.path.startswith("/upload/") and "upload_id" in query:
            code, extra, answer = self.peer.buckets.proceed(query["upload_id"][0], headers, body)
            self._send(code, b"" if answer is None else json.dumps(answer).encode(), extra)
            return
        call, described = self._call(path, query, body, is_upload=split.path.startswith("/upload/"))
        fault = self.peer.fault_for(call.method.id)
        self._before(fault)
        self.peer.check_quota(call.method.id)
        if split.path.startswith("/upload/") and kind == "resumable":
            key = self.peer.buckets.begin(call, headers, body)
            location = f"{self.peer.url}{split.path}?uploadType=resumable&upload_id={key}"
            self._send(200, b"{}", {"Location": location, "X-GUploader-UploadID": key})
            return
        if call.method.id == "storage.objects.get" and query.get("alt") == ["media"]:
            self._download(call, headers)
            return
        answer = (
            self.peer.buckets.upload(call, kind, headers, body)
            if split.path.startswith("/upload/")
            else self._answer(call)
        )
        if fault is not None and fault.kind == "lost":
            raise _Closed
        if answer is None:
            self._send(204, b"")
            return
        api(described).check_answer(call.method, answer)
        self._send(200, json.dumps(answer).encode())

    def _call(self, path: str, query: Mapping[str, list[str]], body: bytes, *, is_upload: bool) -> tuple[Call, str]:
        for prefix, name in _APIS:
            if path.startswith(prefix) and (found := api(name).route(self.command, path)):
                method, parameters = found
                if is_upload or method.takes_media:
                    return api(name).check(method, parameters, query, None), name
                try:
                    read = json.loads(body) if body else None
                except ValueError as error:
                    raise GoogleError("INVALID_ARGUMENT", f"Invalid JSON payload received. {error}") from error
                return api(name).check(method, parameters, query, read), name
        raise GoogleError("NOT_FOUND", f"The requested URL {path} was not found on this server.")

    def _before(self, fault: Fault | None) -> None:
        if fault is None or fault.kind == "lost":
            return
        if fault.kind == "dropped":
            raise _Closed
        if fault.kind == "slow":
            time.sleep(fault.seconds)
            return
        if fault.kind == "garbage":
            self._send(502, b"<html><title>Error 502 (Server Error)</title></html>", {"Content-Type": "text/html"})
            raise _Sent
        raise GoogleError(fault.status, fault.message, retry_after_s=fault.retry_after_s)

    def _answer(self, call: Call) -> Any:
        if call.method.id.startswith("testing."):
            return self.peer.matrices.answer(call)
        if call.method.id.startswith("toolresults."):
            with self.peer.lab.lock:
                return tool_results.answer(self.peer.lab, call)
        return self.peer.buckets.answer(call)

    def _download(self, call: Call, headers: Mapping[str, str]) -> None:
        stored = self.peer.buckets.found(str(call.parameters["bucket"]), str(call.parameters["object"]))
        about = self.peer.buckets.answer(Call(call.method, call.parameters))
        data, code = stored.data, 200
        extra = {
            "Content-Type": stored.content_type,
            "X-Goog-Hash": f"crc32c={about['crc32c']},md5={about['md5Hash']}",
            "X-Goog-Generation": str(stored.generation),
        }
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
        if match and data:
            end = min(int(match[2] or len(data) - 1), len(data) - 1)
            extra["Content-Range"] = f"bytes {match[1]}-{end}/{len(data)}"
            data, code = data[int(match[1]) : end + 1], 206
        self._send(code, data, extra)

    def _send(self, code: int, body: bytes, extra: Mapping[str, str] | None = None) -> None:
        self.send_response(code)
        headers = {"Content-Type": "application/json; charset=UTF-8", **(extra or {})}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Closed(Exception):
    """The connection is closed without an answer."""


class _Sent(_Closed):
    """The answer has been sent already."""
