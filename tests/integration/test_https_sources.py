"""Files over https:// from a real TLS server with an authority of its own: pinned, limited, resumed, or refused."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.https import Handler, HttpsServer, https_server
from windtunnel.artifacts import MemoryStore, SourceReader
from windtunnel.artifacts.sources import https_file as source_https
from windtunnel.errors import InvalidInput, NotFound, Unavailable, WindtunnelError

CONTENT = bytes(range(256)) * 8192
SHA256 = hashlib.sha256(CONTENT).hexdigest()
Behavior = Callable[["Handler"], None]


def whole(request: Handler) -> None:
    request.answer(200, CONTENT)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpsServer]:
    monkeypatch.setattr(source_https, "_PAUSE_S", 0.01)
    with https_server(tmp_path / "tls", whole) as running:
        monkeypatch.setenv("SSL_CERT_FILE", str(running.authority.cert))
        yield running


async def fetch(
    server: HttpsServer, into: Path, *, sha256: str | None = SHA256, limit: int = 1 << 30, path: str = ""
) -> Path:
    reader = SourceReader(MemoryStore(), (), limit, https_hosts=("other.example", server.host))
    return await reader.open(path or f"https://{server.host}/models/m.keras", sha256=sha256, into=into)


async def refused(server: HttpsServer, into: Path, kind: type[WindtunnelError], words: str, **options: object) -> None:
    with pytest.raises(kind, match=words):
        await fetch(server, into, **options)  # type: ignore[arg-type]
    assert list(into.glob("*")) == [], "nothing stays of what was refused"


async def test_a_pinned_file_comes_whole_under_its_name(server: HttpsServer, tmp_path: Path) -> None:
    path = await fetch(server, tmp_path / "in")
    assert (path.name, path.read_bytes()) == ("m.keras", CONTENT)


async def test_without_a_hash_nothing_is_asked(server: HttpsServer, tmp_path: Path) -> None:
    await refused(server, tmp_path / "in", InvalidInput, "has no sha256", sha256=None)
    assert server.script.asked == []


async def test_another_content_is_refused(server: HttpsServer, tmp_path: Path) -> None:
    await refused(server, tmp_path / "in", InvalidInput, f"has sha256 {SHA256}, not {'0' * 64}", sha256="0" * 64)


@pytest.mark.parametrize("host", ["evil.example", "localhost", "127.0.0.1:1", "other.example:8443", "xother.example"])
async def test_hosts_that_are_not_in_the_list_are_not_asked(server: HttpsServer, tmp_path: Path, host: str) -> None:
    await refused(server, tmp_path / "in", InvalidInput, "may not be read from host", path=f"https://{host}/m.keras")
    assert server.script.asked == []


@pytest.mark.parametrize("uri", ["https://u:p@{}/m", "https://{}/m?token=x", "https://{}/m#x", "http://{}/m"])
async def test_credentials_queries_and_plain_http_are_refused(server: HttpsServer, tmp_path: Path, uri: str) -> None:
    await refused(server, tmp_path / "in", InvalidInput, "carries|cannot read", path=uri.format(server.host))
    assert server.script.asked == []


@pytest.mark.parametrize("declared", [True, False])
async def test_what_is_too_large_is_refused(server: HttpsServer, tmp_path: Path, declared: bool) -> None:
    def endless(request: Handler) -> None:
        request.send_response(200)
        if declared:
            request.send_header("Content-Length", str(len(CONTENT)))
        request.send_header("Connection", "close")
        request.end_headers()
        request.close_connection = True
        with contextlib.suppress(OSError):
            request.wfile.write(CONTENT)

    server.script.behavior = endless
    await refused(server, tmp_path / "in", InvalidInput, "bytes", limit=len(CONTENT) // 2)


async def test_redirects_stay_on_the_host(server: HttpsServer, tmp_path: Path) -> None:
    def moved(request: Handler) -> None:
        if request.path == "/there/m.keras":
            whole(request)
        else:
            request.answer(302, b"", Location="/there/m.keras")

    server.script.behavior = moved
    assert (await fetch(server, tmp_path / "in")).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "target", ["https://evil.example/m", "https://other.example/m", "http://{}/m", "file:///etc/x"]
)
async def test_redirects_elsewhere_are_refused(server: HttpsServer, tmp_path: Path, target: str) -> None:
    server.script.behavior = lambda request: request.answer(302, b"", Location=target.format(server.host))
    await refused(server, tmp_path / "in", InvalidInput, "redirects to other hosts are refused")


async def test_redirects_in_a_circle_end(server: HttpsServer, tmp_path: Path) -> None:
    server.script.behavior = lambda request: request.answer(302, b"", Location=request.path)
    await refused(server, tmp_path / "in", InvalidInput, "redirects more than")


def broken(resumes: bool) -> Behavior:
    """Each answer stops after a third of the file; it continues if it is asked to, or begins again."""

    def behavior(request: Handler) -> None:
        asked = request.headers.get("Range", "") if resumes and request.headers.get("If-Range") == '"one"' else ""
        first = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        part = CONTENT[first : first + len(CONTENT) // 3 + 1]
        if not resumes and len(request.script.asked) > 2:
            part = CONTENT
        request.send_response(206 if asked else 200)
        request.send_header("Content-Length", str(len(CONTENT) - first))
        request.send_header("ETag", '"one"')
        if asked:
            request.send_header("Content-Range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")
        request.end_headers()
        request.wfile.write(part)
        request.close_connection = True

    return behavior


async def test_a_broken_download_goes_on_where_it_stopped(server: HttpsServer, tmp_path: Path) -> None:
    server.script.behavior = broken(resumes=True)
    assert (await fetch(server, tmp_path / "in")).read_bytes() == CONTENT
    third = len(CONTENT) // 3 + 1
    assert server.script.asked == ["", f"bytes={third}-", f"bytes={2 * third}-"]


async def test_a_server_that_cannot_resume_begins_again(server: HttpsServer, tmp_path: Path) -> None:
    server.script.behavior = broken(resumes=False)
    assert (await fetch(server, tmp_path / "in")).read_bytes() == CONTENT


async def test_passing_faults_are_tried_again(server: HttpsServer, tmp_path: Path) -> None:
    def busy(request: Handler) -> None:
        if len(request.script.asked) < 3:
            request.answer(503, b"busy")
        else:
            whole(request)

    server.script.behavior = busy
    assert (await fetch(server, tmp_path / "in")).read_bytes() == CONTENT
    assert len(server.script.asked) == 3


async def test_a_server_that_stays_busy_is_given_up(server: HttpsServer, tmp_path: Path) -> None:
    server.script.behavior = lambda request: request.answer(503, b"busy")
    await refused(server, tmp_path / "in", Unavailable, "answers 503")


@pytest.mark.parametrize(
    ("status", "kind"), [(404, NotFound), (403, InvalidInput), (401, InvalidInput), (418, InvalidInput)]
)
async def test_final_answers_are_told_at_once(
    server: HttpsServer, tmp_path: Path, status: int, kind: type[WindtunnelError]
) -> None:
    server.script.behavior = lambda request: request.answer(status, b"no")
    await refused(server, tmp_path / "in", kind, f"answers {status}")
    assert len(server.script.asked) == 1


async def test_a_certificate_that_is_not_trusted(
    server: HttpsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Unavailable, match="TLS failed") as caught:
        await fetch(server, tmp_path / "in")
    assert not caught.value.retryable and "SSL_CERT_FILE" in caught.value.hint


async def test_a_certificate_of_another_host(server: HttpsServer, tmp_path: Path) -> None:
    address = server.host.replace("localhost", "127.0.0.1")
    reader = SourceReader(MemoryStore(), (), 1 << 30, https_hosts=(address,))
    with pytest.raises(Unavailable, match="TLS failed") as caught:
        await reader.open(f"https://{address}/m.keras", sha256=SHA256, into=tmp_path / "in")
    assert not caught.value.retryable


async def test_a_host_that_does_not_answer(server: HttpsServer, tmp_path: Path) -> None:
    server.stop()
    with pytest.raises(Unavailable, match="cannot be re"):
        await fetch(server, tmp_path / "in")
