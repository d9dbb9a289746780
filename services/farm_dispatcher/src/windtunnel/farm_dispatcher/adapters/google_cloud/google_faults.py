"""Errors of Google's clients as FarmError: which may pass by themselves, and what kind they are of."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.auth.exceptions import GoogleAuthError
from googleapiclient.errors import HttpError
from httplib2 import HttpLib2Error

from windtunnel.errors import FarmError
from windtunnel.farms.failure_kinds import FailureKind

# Canonical codes: whether asking again later may help, and the kind.
BY_STATUS: Final[Mapping[str, tuple[bool, FailureKind]]] = {
    "RESOURCE_EXHAUSTED": (True, FailureKind.QUOTA),
    "UNAVAILABLE": (True, FailureKind.INFRASTRUCTURE),
    "INTERNAL": (True, FailureKind.INFRASTRUCTURE),
    "UNKNOWN": (True, FailureKind.INFRASTRUCTURE),
    "DEADLINE_EXCEEDED": (True, FailureKind.INFRASTRUCTURE),
    "ABORTED": (True, FailureKind.INFRASTRUCTURE),
    "CANCELLED": (True, FailureKind.INFRASTRUCTURE),
    "DATA_LOSS": (False, FailureKind.INFRASTRUCTURE),
    "INVALID_ARGUMENT": (False, FailureKind.OTHER),
    "FAILED_PRECONDITION": (False, FailureKind.OTHER),
    "OUT_OF_RANGE": (False, FailureKind.OTHER),
    "NOT_FOUND": (False, FailureKind.OTHER),
    "ALREADY_EXISTS": (False, FailureKind.OTHER),
    "PERMISSION_DENIED": (False, FailureKind.OTHER),
    "UNAUTHENTICATED": (False, FailureKind.OTHER),
    "UNIMPLEMENTED": (False, FailureKind.UNSUPPORTED),
}
# Where an answer has no canonical code.
BY_HTTP_CODE: Final[Mapping[int, str]] = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 408: "UNAVAILABLE",
    409: "ABORTED", 412: "FAILED_PRECONDITION", 429: "RESOURCE_EXHAUSTED", 499: "CANCELLED", 500: "INTERNAL",
    501: "UNIMPLEMENTED", 502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
# The reasons with which 403 means a quota.
QUOTA_REASONS: Final = frozenset(
    {"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "dailyLimitExceeded", "RATE_LIMIT_EXCEEDED"}
)
_HINTS: Final[Mapping[str, str]] = {
    "UNAUTHENTICATED": "run `gcloud auth application-default login`",
    "PERMISSION_DENIED": "check the roles of the account, and that the service's API is enabled for the project",
}


def error_of(what: str, status: str, message: str, reasons: frozenset[str] = frozenset()) -> FarmError:
    """The error for a canonical code.

    Args:
        what: was asked for, for the message.
        status: the code, for example "UNAVAILABLE"; one that is not known counts as INTERNAL.
        message: of the service.
        reasons: of the service.

    Returns:
        The error.
    """
    if reasons & QUOTA_REASONS:
        status = "RESOURCE_EXHAUSTED"
    retryable, kind = BY_STATUS.get(status, BY_STATUS["INTERNAL"])
    return FarmError(
        f"{what}: {status}: {' '.join(message.split())}", retryable=retryable, hint=_HINTS.get(status, ""), kind=kind
    )


class NotAnObject(ValueError):
    """An answer is not the JSON object that the service promises."""


@contextmanager
def asking_google(what: str, *, comes: bool = False) -> Iterator[None]:
    """Turns the errors of Google's clients into FarmError.

    Args:
        what: is asked for, for the message.
        comes: what is not there yet will be; asking again later helps.

    Yields:
        Nothing.

    Raises:
        FarmError: the call failed.
    """
    try:
        yield
    except HttpError as error:
        found = _of_answer(what, int(error.resp.status), error.content)
        found.retryable = found.retryable or (comes and int(error.resp.status) == 404)
        raise found from error
    except GoogleAPICallError as error:
        code = int(error.code or 500)
        reasons = frozenset(str(one.get("reason", "")) for one in error.errors if isinstance(one, dict))
        raise error_of(what, BY_HTTP_CODE.get(code, "INTERNAL"), error.message or str(error), reasons) from error
    except GoogleAuthError as error:
        retryable = bool(getattr(error, "retryable", False)) or "Transport" in type(error).__name__
        hint = "" if retryable else _HINTS["UNAUTHENTICATED"]
        raise FarmError(f"{what}: no access: {error}", retryable=retryable, hint=hint) from error
    # Errors of requests, which the bucket's client uses, are OSErrors.
    except (OSError, HttpLib2Error, http.client.HTTPException, RetryError) as error:
        raise FarmError(f"{what}: no answer: {type(error).__name__}: {error}") from error
    except NotAnObject as error:
        raise FarmError(f"{what}: the answer is {error}", hint="check the endpoint, and proxies on the way") from error
    except json.JSONDecodeError as error:
        raise FarmError(f"{what}: an answer that is not JSON: {error}") from error


def _of_answer(what: str, code: int, content: Any) -> FarmError:
    """Of an error answer; one that is not JSON is of something between the service and us."""
    status, message, reasons = BY_HTTP_CODE.get(code, "INTERNAL"), f"HTTP {code}", frozenset[str]()
    try:
        told = json.loads(content)["error"]
        status, message = str(told.get("status") or status), str(told.get("message") or message)
        listed = [*told.get("errors", ()), *told.get("details", ())]
        reasons = frozenset(str(one.get("reason", "")) for one in listed if isinstance(one, Mapping))
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    return error_of(what, status, message, reasons)
