"""One file behind https://, from a host that the operator allows. What arrives is checked against a pinned SHA-256."""

from __future__ import annotations

import logging
import os
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

import certifi
import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError, SSLError

from windtunnel.artifacts.sources.source_file import SourceFile
from windtunnel.artifacts.stores.port import CHUNK
from windtunnel.errors import InvalidInput, NotFound, Unavailable

log = logging.getLogger(__name__)

_TRIES: Final = 5
_PAUSE_S: Final = 0.5
_REDIRECTS: Final = 5
_MOVED: Final = (301, 302, 303, 307, 308)
_PASSING: Final = (408, 425, 429, 500, 502, 503, 504)
_TIMEOUT: Final = urllib3.Timeout(connect=10, read=60)


class HttpsFile:
    """A file at a URL. `hosts`: those that may be asked, each with its port unless that is 443.

    Args:
        url: https://host/path.
        hosts: names that may be asked.
        max_bytes: largest file.

    Raises:
        InvalidInput: the host is not allowed.
    """

    def __init__(self, url: str, hosts: tuple[str, ...], max_bytes: int) -> None:
        self._url = url
        self._host = checked_host(url, hosts)
        self._max_bytes = max_bytes
        self._pool = urllib3.PoolManager(
            timeout=_TIMEOUT,
            retries=False,
            cert_reqs="CERT_REQUIRED",
            ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
        )

    def file(self) -> SourceFile:
        """The file; its bytes are fetched when it is read."""
        return SourceFile("", self._open)

    @contextmanager
    def _open(self) -> Iterator[Iterator[bytes]]:
        try:
            yield self._chunks()
        finally:
            self._pool.clear()

    def _chunks(self) -> Iterator[bytes]:
        """The bytes, each once; after a broken connection it continues where it stopped.

        Raises:
            Unavailable: too many tries made no progress.
        """
        got = _Progress()
        failures = 0
        while True:
            before = got.bytes
            try:
                yield from self._part(got)
                return
            except Unavailable as error:
                # Progress allows further tries; without progress there are only so many.
                failures = 1 if got.bytes > before else failures + 1
                if not error.retryable or failures >= _TRIES:
                    raise
                log.info("%s: %s; trying again from byte %d", self._url, error.message, got.bytes)
                time.sleep(_PAUSE_S * 2 ** (failures - 1))

    def _part(self, got: _Progress) -> Iterator[bytes]:
        """What one answer gives beyond the bytes that are there already.

        Raises:
            Unavailable: the answer ended early.
        """
        with _speaking(self._url), self._answer(got) as answer:
            skip = 0 if answer.status == 206 else got.bytes
            expected = self._size(answer, got, skip)
            seen = got.bytes - skip
            for chunk in answer.stream(CHUNK, decode_content=False):
                seen += len(chunk)
                fresh = chunk[skip:] if skip else chunk
                skip = max(0, skip - len(chunk))
                if fresh:
                    got.bytes += len(fresh)
                    yield fresh
            if expected is not None and seen < expected:
                raise Unavailable(f"the connection ended after {seen} of {expected} bytes")

    def _size(self, answer: urllib3.BaseHTTPResponse, got: _Progress, skip: int) -> int | None:
        """How many bytes the whole file has, if the server reports it.

        Raises:
            InvalidInput: they are too many.
        """
        length = answer.headers.get("content-length", "")
        if not length.isdigit():
            return None
        size = int(length) + (0 if skip or answer.status != 206 else got.bytes)
        if size > self._max_bytes:
            raise InvalidInput(
                f"{self._url} has {size} bytes, at most {self._max_bytes} are taken",
                hint="make it smaller, or raise WINDTUNNEL_MAX_SOURCE_BYTES",
            )
        return size

    @contextmanager
    def _answer(self, got: _Progress) -> Iterator[urllib3.BaseHTTPResponse]:
        url = self._url
        for _ in range(_REDIRECTS + 1):
            headers = {"accept-encoding": "identity", "user-agent": "windtunnel"}
            if got.bytes and got.etag:
                headers |= {"range": f"bytes={got.bytes}-", "if-range": got.etag}
            answer = self._pool.request("GET", url, headers=headers, redirect=False, preload_content=False)
            if answer.status not in _MOVED:
                break
            answer.close()
            url = self._redirected(url, answer.headers.get("location", ""))
        else:
            raise InvalidInput(f"{self._url} redirects more than {_REDIRECTS} times")
        try:
            self._require_content(answer, got)
            yield answer
        finally:
            answer.close()

    def _redirected(self, url: str, location: str) -> str:
        target = urljoin(url, location)
        parts = urlsplit(target)
        if parts.scheme != "https" or parts.netloc.lower() != urlsplit(self._url).netloc.lower():
            where = f"{parts.scheme}://{parts.hostname or ''}"
            raise InvalidInput(
                f"{self._url} redirects to {where}; redirects to other hosts are refused",
                hint="give the address that it leads to, if its host may be asked",
            )
        return target

    def _require_content(self, answer: urllib3.BaseHTTPResponse, got: _Progress) -> None:
        """Raises what a status means; an ETag that changes means that the file did.

        Raises:
            InvalidInput: the server does not give the file.
            NotFound: the server does not have it.
            Unavailable: it may give it later.
        """
        if answer.status == 206 and _begins_at(answer, got.bytes):
            return
        if answer.status == 200:
            etag = answer.headers.get("etag", "")
            # A weak one does not promise the same bytes.
            got.etag = "" if etag.startswith("W/") else etag
            return
        what = f"{self._url} answers {answer.status} {answer.reason or ''}".rstrip()
        if answer.status in (404, 410):
            raise NotFound(what, hint="is the address right?")
        if answer.status in (401, 403, 407):
            hint = "Windtunnel sends no credentials: use s3:// or gs://, or submit the file itself"
            raise InvalidInput(what, hint=hint)
        if answer.status in _PASSING:
            raise Unavailable(what, hint="is the server overloaded?")
        raise InvalidInput(what, hint="the address must answer GET with the file itself")


@dataclass(slots=True)
class _Progress:
    """How many bytes are there, and of which version of the file."""

    bytes: int = 0
    etag: str = ""


def checked_host(url: str, hosts: tuple[str, ...]) -> str:
    """The host of an address, if it may be asked.

    Args:
        url: the address.
        hosts: names that may be asked, with or without port.

    Returns:
        host or host:port.

    Raises:
        InvalidInput: it is not an https address, or its host is not allowed.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 443
    except ValueError as error:
        raise InvalidInput(f"{url[:200]} is not an address: {error}", hint="https://host/path/file") from error
    host = (parts.hostname or "").lower()
    named = host if port == 443 else f"{host}:{port}"
    allowed = {one.lower().removesuffix(":443") for one in hosts}
    if not host or named not in allowed:
        raise InvalidInput(
            f"https:// may not be read from host {named or '(none)'}",
            hint="submit the file itself, or ask the operator to add the host to WINDTUNNEL_HTTPS_HOSTS",
        )
    return named


def _begins_at(answer: urllib3.BaseHTTPResponse, first: int) -> bool:
    found = re.match(r"bytes (\d+)-", answer.headers.get("content-range", ""))
    return found is not None and int(found[1]) == first


@contextmanager
def _speaking(url: str) -> Iterator[None]:
    """Turns what urllib3 raises into the project's errors.

    Raises:
        Unavailable: the connection fails.
    """
    try:
        yield
    except (SSLError, ssl.SSLError) as error:
        raise _tls(url, error) from error
    except MaxRetryError as error:
        if isinstance(error.reason, SSLError):
            raise _tls(url, error.reason) from error
        raise Unavailable(f"{url} cannot be read: {error.reason}") from error
    except NewConnectionError as error:
        raise Unavailable(f"{url} cannot be reached: {error}") from error
    except (HTTPError, OSError) as error:
        raise Unavailable(f"{url} cannot be read: {type(error).__name__}: {error}") from error


def _tls(url: str, error: Exception) -> Unavailable:
    hint = "name the CA of the server in SSL_CERT_FILE, or use a host name that its certificate has"
    return Unavailable(f"{url}: TLS failed: {error}", retryable=False, hint=hint)
