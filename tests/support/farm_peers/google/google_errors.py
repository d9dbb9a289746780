"""Errors as Google's HTTP APIs answer them."""

from __future__ import annotations

from typing import Any

# HTTP code of a status, and the reason in the older list of errors.
_STATUS = {
    "INVALID_ARGUMENT": (400, "badRequest"),
    "FAILED_PRECONDITION": (400, "failedPrecondition"),
    "UNAUTHENTICATED": (401, "authError"),
    "PERMISSION_DENIED": (403, "forbidden"),
    "NOT_FOUND": (404, "notFound"),
    "ALREADY_EXISTS": (409, "alreadyExists"),
    "RESOURCE_EXHAUSTED": (429, "rateLimitExceeded"),
    "INTERNAL": (500, "backendError"),
    "UNIMPLEMENTED": (501, "notImplemented"),
    "UNAVAILABLE": (503, "backendError"),
    "DEADLINE_EXCEEDED": (504, "backendError"),
}


class GoogleError(Exception):
    """An answer that is an error.

    Args:
        status: canonical code, for example "NOT_FOUND".
        message: for people.
        details: of google.rpc, for example a BadRequest.
        retry_after_s: the header Retry-After.
        code: HTTP code; None: that of the status.
    """

    def __init__(
        self, status: str, message: str, details: list[Any] | None = None, *,
        retry_after_s: int | None = None, code: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.message, self.details, self.retry_after_s = status, message, details or [], retry_after_s
        self.code = code or _STATUS[status][0]

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        reason = _STATUS.get(self.status, (0, "backendError"))[1]
        error: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "errors": [{"message": self.message, "domain": "global", "reason": reason}],
            "status": self.status,
        }
        if self.details:
            error["details"] = self.details
        return {"error": error}


def invalid_argument(message: str, field: str) -> GoogleError:
    """A request that does not fit: INVALID_ARGUMENT with the field."""
    violation: dict[str, Any] = {"description": message}
    if field:
        violation["field"] = field
    return GoogleError(
        "INVALID_ARGUMENT",
        message,
        [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}],
    )


def not_found(what: str) -> GoogleError:
    """What was asked for is not there."""
    return GoogleError("NOT_FOUND", f"{what} not found")
