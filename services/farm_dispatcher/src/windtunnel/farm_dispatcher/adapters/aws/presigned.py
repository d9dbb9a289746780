"""Files at presigned addresses, whose address is their only credential."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from windtunnel.farm_dispatcher.domain.addresses import is_loopback

# For connecting, and for each part of the answer, in seconds.
_TIMEOUTS: Final = (10, 120)
_PIECE: Final = 1 << 20
# HTTP statuses of a store that is busy.
BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})


def put_file(url: str, path: Path) -> int:
    """Sends a file to a presigned address. Blocks.

    Args:
        url: the address.
        path: the file.

    Returns:
        The status of HTTP.

    Raises:
        OSError: it did not arrive.
    """
    headers = {"Content-Type": "application/octet-stream"}
    with _unsaid(url), _session(url) as session, path.open("rb") as stream:
        return session.put(url, data=stream, headers=headers, auth=_nothing_added, timeout=_TIMEOUTS).status_code


def get_file(url: str, path: Path) -> int:
    """Fetches a file from a presigned address. Blocks.

    Args:
        url: the address.
        path: of the copy; it is written only if the status is below 300 and all bytes arrived.

    Returns:
        The status of HTTP.

    Raises:
        OSError: it did not arrive.
    """
    with (
        _unsaid(url),
        _session(url) as session,
        session.get(url, stream=True, auth=_nothing_added, timeout=_TIMEOUTS) as answer,
    ):
        if answer.status_code >= 300:
            return answer.status_code
        with path.open("wb") as out:
            # Not from answer.raw: errors of urllib3 are not OSErrors.
            for piece in answer.iter_content(_PIECE):
                out.write(piece)
        expected = None if "Content-Encoding" in answer.headers else answer.headers.get("Content-Length")
        if expected is not None and int(expected) != path.stat().st_size:
            raise OSError(f"{path.stat().st_size} of {expected} bytes arrived")
        return answer.status_code


@contextmanager
def _unsaid(url: str) -> Iterator[None]:
    """Takes the credential, which is the query of the address, out of errors: they are logged.

    Raises:
        OSError: the file did not arrive.
    """
    try:
        yield
    except requests.RequestException as error:
        query = urlsplit(url).query
        raise OSError(str(error).replace(query, "...") if query else str(error)) from None


def _session(url: str) -> requests.Session:
    session = requests.Session()
    # No proxy leads to this machine.
    session.trust_env = not is_loopback(url)
    return session


def _nothing_added(request: Any) -> Any:
    """Keeps requests from adding what ~/.netrc has for the address: a store takes one kind of credentials, not two."""
    return request
