"""The tables of Device Run's failures, row by row: results, exit statuses, and the texts of gcloud."""

from __future__ import annotations

from typing import Any

import pytest

from support.farm_peers.google.discovery import api
from windtunnel.farm_dispatcher.adapters.ddp import failures
from windtunnel.farm_dispatcher.adapters.ddp.sessions import PHASES

SCHEMAS = api("devicerun.v1alpha").schemas
RESULTS = [
    ("PASSED", "", ""),
    ("FAILED", "", "test"),
    ("FAILED", "CUSTOMER", "test"),
    ("FAILED", "INFRA", "infrastructure"),
    ("ERROR", "", "infrastructure"),
    ("ERROR", "INFRA", "infrastructure"),
    ("ERROR", "CUSTOMER", "test"),
    ("TIMED_OUT", "", "timeout"),
    ("TIMED_OUT", "CUSTOMER", "timeout"),
    ("TIMED_OUT", "INFRA", "infrastructure"),
    ("CANCELLED", "", "cancelled"),
    ("CANCELLED", "CUSTOMER", "cancelled"),
    ("RESULT_TYPE_UNSPECIFIED", "", "infrastructure"),
    ("SOMETHING_NEW", "", "infrastructure"),
]


@pytest.mark.parametrize(("kind", "cause", "expected"), RESULTS)
def test_a_result(kind: str, cause: str, expected: str) -> None:
    result: dict[str, Any] = {"resultType": kind}
    if cause:
        result["cause"] = {"summary": {"type": cause, "reason": "DEVICE_GONE", "message": "it went"}}
    failure = failures.of_result(result)
    assert ("" if failure is None else failure.kind.value) == expected
    if failure is not None and cause:
        assert "DEVICE_GONE: it went" in failure.message and cause in failure.field


def test_every_result_and_status_has_a_row() -> None:
    described = set(SCHEMAS["Result"]["properties"]["resultType"]["enum"])
    assert {kind for kind, _, _, _ in failures.BY_RESULT} | {"PASSED"} == described
    assert described <= {kind for kind, _, _ in RESULTS}
    assert set(PHASES) == set(SCHEMAS["Status"]["properties"]["statusType"]["enum"])


@pytest.mark.parametrize(
    ("status", "kind"),
    [(0, ""), (1, "test"), (124, "timeout"), (126, "device"), (127, "device"), (134, "test"), (135, "test"),
     (137, "test"), (139, "test"), (143, "timeout"), (77, "test")],
)  # fmt: skip
def test_an_exit_status(status: int, kind: str) -> None:
    failure = failures.of_exit(status, "line\n" * 30 + "Segmentation fault")
    assert ("" if failure is None else failure.kind.value) == kind
    if failure is not None:
        assert failure.detail.endswith("Segmentation fault") and len(failure.detail.splitlines()) == 20


def test_every_exit_status_has_a_row() -> None:
    assert set(failures.BY_EXIT) == {124, 126, 127, 134, 135, 137, 139, 143}


@pytest.mark.parametrize(
    ("status", "text", "retryable", "kind"),
    [
        (1, "ERROR: (gcloud.beta.device-run.sessions.describe) NOT_FOUND: Resource 'x' was not found", False, "other"),
        (1, "ERROR: (gcloud.x) RESOURCE_EXHAUSTED: Quota exceeded for quota metric", True, "quota"),
        (1, "ERROR: (gcloud.x) UNAVAILABLE: The service is currently unavailable.", True, "infrastructure"),
        (1, "ERROR: (gcloud.x) PERMISSION_DENIED: Permission 'devicerun.sessions.create' denied", False, "other"),
        (1, "ERROR: (gcloud.x) HTTPError 503: backend", True, "infrastructure"),
        (1, "ERROR: (gcloud.x) HttpError 429", True, "quota"),
        # Flank#34
        (1, "ERROR: (gcloud.firebase.test.android.run) Could not copy [gs://a] to [gs://b] ResponseError 429: The "
            "total number of changes to the object exceeds the rate limit.", True, "quota"),
        (1, "ERROR: gcloud crashed (ConnectionError): Max retries exceeded", True, "infrastructure"),
        (1, "ERROR: (gcloud.x) There was a problem refreshing your current auth tokens: timed out", True,
         "infrastructure"),
        (1, "ERROR: (gcloud.beta) You do not currently have an active account selected.", False, "other"),
        (2, "ERROR: (gcloud.beta) Invalid choice: 'device-run'.\nMaybe you meant:\n  gcloud beta run", False,
         "unsupported"),
        (2, "ERROR: (gcloud.x) unrecognized arguments: --executable", False, "unsupported"),
        (1, "Traceback (most recent call last):\n  Something else", False, "other"),
    ],
)  # fmt: skip
def test_texts_of_gcloud(status: int, text: str, retryable: bool, kind: str) -> None:
    error = failures.of_gcloud("start a session", status, text)
    assert (error.retryable, error.kind) == (retryable, kind)
    assert "start a session" in error.message
    if "active account" in text:
        assert "gcloud auth login" in error.hint
