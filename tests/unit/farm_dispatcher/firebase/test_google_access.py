"""Credentials are asked for only if requests leave this machine."""

from __future__ import annotations

from typing import Any

import google.auth
import httplib2
import pytest
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.google_cloud.google_access import find_credentials
from windtunnel.farm_dispatcher.adapters.google_cloud.google_faults import asking_google
from windtunnel.farm_dispatcher.domain.addresses import is_loopback


@pytest.mark.parametrize(
    ("url", "expected"),
    [("http://127.0.0.1:9001", True), ("http://localhost:1", True), ("http://[::1]:9001", True),
     ("http://127.8.8.8", True), ("https://testing.googleapis.com", False), ("http://10.0.0.1:9001", False),
     ("http://127.0.0.1.example.com", False), ("http://0.0.0.0:1", False), ("", False)],
)  # fmt: skip
def test_what_is_on_this_machine(url: str, expected: bool) -> None:
    assert is_loopback(url) == expected


def test_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def default(**given: Any) -> tuple[str, str]:
        asked.append(given)
        return "credentials", "another-project"

    monkeypatch.setattr(google.auth, "default", default)
    assert find_credentials("http://127.0.0.1:9001", "p") is None
    assert not asked
    assert find_credentials("", "p") == "credentials" == find_credentials("https://proxy.example", "p")
    assert [given["quota_project_id"] for given in asked] == ["p", "p"]


def test_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    def default(**given: Any) -> tuple[str, str]:
        raise DefaultCredentialsError("Your default credentials were not found.\nmore")  # type: ignore[no-untyped-call]

    monkeypatch.setattr(google.auth, "default", default)
    with pytest.raises(FarmError, match="not found") as error:
        find_credentials("", "p")
    assert not error.value.retryable and "gcloud auth" in error.value.hint


@pytest.mark.parametrize(
    ("raised", "retryable"),
    [
        (httplib2.ServerNotFoundError("no host"), True),
        (ConnectionResetError(104, "reset"), True),
        (TimeoutError("slow"), True),
        (TransportError("no answer"), True),  # type: ignore[no-untyped-call]
        (RefreshError("invalid_grant: Token has been expired or revoked."), False),  # type: ignore[no-untyped-call]
    ],
)
def test_faults_of_the_way(raised: Exception, retryable: bool) -> None:
    with pytest.raises(FarmError, match="read it") as error, asking_google("read it"):
        raise raised
    assert error.value.retryable == retryable
    assert bool(error.value.hint) != retryable
