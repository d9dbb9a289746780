"""What Device Run and gcloud say of what did not pass, as kinds of failure: one row for each field.

The fields are those of the API's description (devicerun v1alpha): `result.resultType` and `result.cause.summary.type`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.google_cloud.google_faults import BY_STATUS, error_of
from windtunnel.farm_dispatcher.domain.device_runs import JobFailure
from windtunnel.farms.failure_kinds import FailureKind

_I, _T = FailureKind.INFRASTRUCTURE, FailureKind.TEST

# resultType, and cause.summary.type where it matters (empty: any).
BY_RESULT: Final[tuple[tuple[str, str, FailureKind, str], ...]] = (
    ("FAILED", "INFRA", _I, "Device Run's own infrastructure failed"),
    ("FAILED", "", _T, "the executable failed"),
    ("ERROR", "CUSTOMER", _T, "the executable could not be run"),
    # "Unclassified error", says the description: without a cause it is not the model's.
    ("ERROR", "", _I, "Device Run's own infrastructure failed"),
    ("TIMED_OUT", "INFRA", _I, "Device Run did not get to the end in time"),
    ("TIMED_OUT", "", FailureKind.TIMEOUT, "the executable did not end in time"),
    ("CANCELLED", "", FailureKind.CANCELLED, "it was canceled"),
    ("RESULT_TYPE_UNSPECIFIED", "", _I, "Device Run does not say how it ended"),
)
# Exit status of the program in the shell of the device.
BY_EXIT: Final[Mapping[int, tuple[FailureKind, str]]] = {
    124: (FailureKind.TIMEOUT, "the program did not end in time"),
    126: (FailureKind.DEVICE, "the device cannot execute the program: is it built for this processor?"),
    127: (FailureKind.DEVICE, "the device cannot execute the program, or one of its libraries is missing"),
    134: (_T, "the program aborted (SIGABRT)"),
    135: (_T, "the program crashed (SIGBUS)"),
    137: (_T, "the program was killed (SIGKILL): the device may have run out of memory"),
    139: (_T, "the program crashed (SIGSEGV)"),
    143: (FailureKind.TIMEOUT, "the program was ended (SIGTERM)"),
}
_PASSED: Final = "PASSED"
# In the texts of gcloud: "ERROR: (gcloud.beta...) NOT_FOUND: ..." or "... HttpError 503 ...".
_STATUS: Final = re.compile(rf"\b({'|'.join(BY_STATUS)})\b")
_HTTP: Final = re.compile(r"(?:HTTPError|HttpError|status(?: code)?:?|ResponseError) \[?(\d{3})")
_BY_HTTP: Final[Mapping[int, str]] = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
# Words of gcloud without a code that may pass by themselves.
_PASSES: Final = re.compile(
    r"Quota exceeded|rate limit|Connection (?:reset|aborted|refused)|timed? ?out|Network is unreachable|"
    r"temporarily|Max retries exceeded|crashed \((?:ConnectionError|TimeoutError|SSLError|ServerNotFoundError)\)",
    re.IGNORECASE,
)
_NO_ACCOUNT: Final = re.compile(
    r"active account selected|Reauthentication|credentials|gcloud auth login", re.IGNORECASE
)
# gcloud's argparse ends so.
_WRONG_USAGE: Final = 2


def of_result(result: Mapping[str, Any]) -> JobFailure | None:
    """The failure that the result of a session, a job or an execution reports.

    Args:
        result: of the report.

    Returns:
        None: it passed.
    """
    kind = str(result.get("resultType", "RESULT_TYPE_UNSPECIFIED"))
    if kind == _PASSED:
        return None
    summary = result.get("cause", {}).get("summary", {})
    blamed = str(summary.get("type", ""))
    told = ": ".join(str(summary[name]) for name in ("reason", "message") if summary.get(name))
    field = f"result.resultType {kind}" + (f", cause {blamed}" if blamed else "")
    for wanted, cause, failure, message in BY_RESULT:
        if wanted == kind and cause in ("", blamed):
            return JobFailure(failure, f"{message}: {told}" if told else message, field=field)
    return JobFailure(_I, f"Device Run says {kind!r}", field=field)


def of_exit(status: int, log: str) -> JobFailure | None:
    """The failure that the exit status of a program means.

    Args:
        status: 128 and a signal where one ended it.
        log: what the program printed.

    Returns:
        None: it ended well.
    """
    if status == 0:
        return None
    kind, message = BY_EXIT.get(status, (_T, f"the program ended with exit status {status}"))
    return JobFailure(kind, message, field=f"exit status {status}", detail="\n".join(log.splitlines()[-20:]))


def of_gcloud(what: str, status: int, text: str) -> FarmError:
    """The error that gcloud ended with.

    Args:
        what: was asked for, for the message.
        status: exit status.
        text: of stderr.

    Returns:
        The error.
    """
    words = " ".join(line for line in text.splitlines() if line.startswith("ERROR:")) or " ".join(text.split())[-400:]
    if status == _WRONG_USAGE:
        return FarmError(
            f"{what}: gcloud does not know the command: {words}",
            retryable=False,
            hint="update it: gcloud components update && gcloud components install beta",
            kind=FailureKind.UNSUPPORTED,
        )
    found, http = _STATUS.search(words), _HTTP.search(words)
    if found is not None:
        return error_of(what, found[1], words)
    if http is not None:
        return error_of(what, _BY_HTTP.get(int(http[1]), "INTERNAL"), words)
    if _PASSES.search(words):
        quota = re.search("quota|rate limit", words, re.IGNORECASE) is not None
        return FarmError(f"{what}: {words}", kind=FailureKind.QUOTA if quota else FailureKind.INFRASTRUCTURE)
    hint = "run `gcloud auth login`" if _NO_ACCOUNT.search(words) else ""
    return FarmError(f"{what}: gcloud ended with {status}: {words}", retryable=False, hint=hint)
