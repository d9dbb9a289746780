"""Addresses of NATS servers: credentials are percent-decoded, and never shown."""

from __future__ import annotations

import traceback

import pytest

from windtunnel.bus.nats.address import parse_address
from windtunnel.errors import InvalidInput


@pytest.mark.parametrize(
    ("url", "servers", "user", "password", "token"),
    [
        ("nats://h:4222", ("nats://h:4222",), None, None, None),
        ("nats://h", ("nats://h:4222",), None, None, None),
        ("h:14222", ("nats://h:14222",), None, None, None),
        ("nats://u:p%40s%3As%2Fw%25%C3%BC@h:1", ("nats://h:1",), "u", "p@s:s/w%ü", None),
        ("nats://u:p@ss@h:1", ("nats://h:1",), "u", "p@ss", None),
        ("nats://us%40er:@h:1", ("nats://h:1",), "us@er", "", None),
        ("nats://tok%20en@h:1", ("nats://h:1",), None, None, "tok en"),
        ("tls://u:p@[::1]:4222", ("tls://[::1]:4222",), "u", "p", None),
        ("nats://u:p@a:1, nats://b:2", ("nats://a:1", "nats://b:2"), "u", "p", None),
        ("wss://h:443/nats", ("wss://h:443/nats",), None, None, None),
    ],
)
def test_parts(url: str, servers: tuple[str, ...], user: str | None, password: str | None, token: str | None) -> None:
    address = parse_address(url)
    assert (address.servers, address.user, address.password, address.token) == (servers, user, password, token)
    assert [secret for secret in (password, token) if secret and secret in address.shown] == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://u:secret@h:1", "nats://u:***@h:1"),
        ("nats://secret@h:1", "nats://***@h:1"),
        ("nats://u:secret@a:1,nats://u:secret@b", "nats://u:***@a:1,nats://u:***@b:4222"),
    ],
)
def test_what_is_shown(url: str, shown: str) -> None:
    assert parse_address(url).shown == shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        " , ",
        "http://u:secret@h:1",
        "nats://u:secret@h:port",
        "nats://u:secret@",
        # Passwords that are not percent-encoded: each half of one counts as a secret.
        "nats://u:sec/ret@h:1",
        "nats://u:12/ret@h:1",
        "nats://u:12?ret@h:1",
        "nats://u:12#ret@h:1",
        "nats://u:sec,ret@h:1",
        "nats://u:12,ret@h:1",
        "nats://u:sec@a,ret@h:1",
        "nats://u:sec@ret@h:bad",
        "u:sec,ret@h:1",
    ],
)
def test_what_cannot_be_read_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_address(url)
    assert not any(secret in str(caught.value) for secret in ("sec", "ret", "12"))
    # A traceback shows no cause either.
    assert "".join(traceback.format_exception(caught.value)).count("Traceback") == 1
    assert "WINDTUNNEL_NATS_URL" in caught.value.hint
