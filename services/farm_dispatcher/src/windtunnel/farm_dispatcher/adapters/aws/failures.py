"""The one table from what AWS Device Farm says to a kind of failure.

Three places say why something failed: the code of a refused call, the fields of an ended run and its job, and the
status that the runner wrote for each entry on the test host.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from windtunnel.farm_dispatcher.domain.device_runs import JobFailure
from windtunnel.farms.failure_kinds import FailureKind


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a refused call means; `retryable`: the same call may succeed later."""

    kind: FailureKind
    retryable: bool = False
    hint: str = ""


_LATER: Final = Refusal(FailureKind.INFRASTRUCTURE, retryable=True)
_CREDENTIALS: Final = Refusal(
    FailureKind.OTHER, hint="check the credentials of boto3 (AWS_PROFILE, AWS_ACCESS_KEY_ID, role) and their rights"
)
_REQUEST: Final = Refusal(FailureKind.OTHER, hint="check project and region of this farm in farms.yaml")
# Codes of refused calls.
CODES: Final[Mapping[str, Refusal]] = {
    "ThrottlingException": _LATER,
    "Throttling": _LATER,
    "ThrottledException": _LATER,
    "RequestThrottled": _LATER,
    "RequestThrottledException": _LATER,
    "RequestLimitExceeded": _LATER,
    "TooManyRequestsException": _LATER,
    "SlowDown": _LATER,
    "InternalFailure": _LATER,
    "InternalServiceException": _LATER,
    "InternalServerError": _LATER,
    "ServiceUnavailable": _LATER,
    "ServiceUnavailableException": _LATER,
    "RequestTimeout": _LATER,
    "RequestTimeoutException": _LATER,
    "LimitExceededException": Refusal(
        FailureKind.QUOTA, hint="a limit of the account is reached: wait for its runs to end, or ask AWS to raise it"
    ),
    "ServiceAccountException": Refusal(FailureKind.OTHER, hint="AWS Device Farm has a problem with this account"),
    "AccessDeniedException": _CREDENTIALS,
    "UnrecognizedClientException": _CREDENTIALS,
    "InvalidSignatureException": _CREDENTIALS,
    "IncompleteSignature": _CREDENTIALS,
    "MissingAuthenticationTokenException": _CREDENTIALS,
    "ExpiredTokenException": _CREDENTIALS,
    "InvalidClientTokenId": _CREDENTIALS,
    "OptInRequired": _CREDENTIALS,
    "NotFoundException": _REQUEST,
    "ArgumentException": _REQUEST,
    "ValidationException": _REQUEST,
    "IdempotencyException": Refusal(FailureKind.OTHER),
}


def refusal_of(code: str, status: int) -> Refusal:
    """What a refused call means.

    Args:
        code: of the service.
        status: of HTTP.

    Returns:
        A code that is not known is judged by the status.
    """
    if code in CODES:
        return CODES[code]
    return _LATER if status >= 500 or status in {408, 429} else Refusal(FailureKind.OTHER)


# (result, words of the message or empty for any, kind): the first that fits counts. The message says what the result
# leaves open; it is the service's own text and is never the only thing that decides whether something failed.
_TIMED_OUT: Final = r"time[ds]?[ -]?out|exceeded the (job )?timeout"
_NO_DEVICE: Final = (
    r"device (is|was) (not|no longer|temporarily not) available|no devices? (matched|available|found|fit)"
)
_DOES_NOT_FIT: Final = (
    r"INSTALL_FAILED_(NO_MATCHING_ABIS|OLDER_SDK|NEWER_SDK|CPU_ABI_INCOMPATIBLE|MISSING_FEATURE|MISSING_SHARED_LIBRARY)"
    r"|not compatible with|incompatible"
)
RESULTS: Final[tuple[tuple[str, str, FailureKind], ...]] = (
    ("STOPPED", _TIMED_OUT, FailureKind.TIMEOUT),
    ("STOPPED", "", FailureKind.CANCELLED),
    ("ERRORED", _TIMED_OUT, FailureKind.TIMEOUT),
    ("ERRORED", _NO_DEVICE, FailureKind.DEVICE),
    ("ERRORED", _DOES_NOT_FIT, FailureKind.DEVICE),
    ("ERRORED", "", FailureKind.INFRASTRUCTURE),
    ("SKIPPED", "", FailureKind.DEVICE),
    ("FAILED", _TIMED_OUT, FailureKind.TIMEOUT),
    ("FAILED", _DOES_NOT_FIT, FailureKind.DEVICE),
    ("FAILED", "", FailureKind.TEST),
)
# `resultCode` of a run says more than its result.
RESULT_CODES: Final[Mapping[str, FailureKind]] = {
    "PARSING_FAILED": FailureKind.TEST,
    "VPC_ENDPOINT_SETUP_FAILED": FailureKind.INFRASTRUCTURE,
}
# Counters, for an ended run without a result: the first that is not 0 counts.
COUNTERS: Final[tuple[tuple[str, FailureKind], ...]] = (
    ("errored", FailureKind.INFRASTRUCTURE),
    ("failed", FailureKind.TEST),
    ("stopped", FailureKind.CANCELLED),
    ("skipped", FailureKind.DEVICE),
)
_WELL: Final = frozenset({"PASSED", "WARNED"})


def ended_failure(run: Mapping[str, Any], job: Mapping[str, Any] | None) -> JobFailure | None:
    """Why a run that has ended failed.

    Args:
        run: as GetRun shows it.
        job: its job; None: it had none.

    Returns:
        None: it did not fail.
    """
    code = run.get("resultCode", "")
    if code in RESULT_CODES:
        return JobFailure(RESULT_CODES[code], _words(run, job, code), field="run.resultCode")
    result, field = _result(run, job)
    if result in _WELL:
        return None
    if result in {"STOPPED", "ERRORED", "FAILED"} and _used_up(run, job):
        return JobFailure(FailureKind.TIMEOUT, _words(run, job, result), field="job.deviceMinutes.total")
    message = _message(run, job)
    for known, pattern, kind in RESULTS:
        if known == result and (not pattern or re.search(pattern, message, re.IGNORECASE)):
            return JobFailure(
                kind, _words(run, job, result), field=f"{field}.message" if pattern else f"{field}.result"
            )
    for counter, kind in COUNTERS:
        if ((job or run).get("counters") or {}).get(counter):
            return JobFailure(kind, _words(run, job, result), field=f"{field}.counters.{counter}")
    return JobFailure(FailureKind.INFRASTRUCTURE, _words(run, job, result or "no result"), field=f"{field}.result")


def _result(run: Mapping[str, Any], job: Mapping[str, Any] | None) -> tuple[str, str]:
    """The result, and whether the job or the run says it. The job knows better: a run's is that of the worst job."""
    own = (job or {}).get("result", "")
    return (own, "job") if own and own != "PENDING" else (run.get("result", ""), "run")


def _used_up(run: Mapping[str, Any], job: Mapping[str, Any] | None) -> bool:
    """Whether the job took all the minutes that it had."""
    limit = run.get("jobTimeoutMinutes")
    used = ((job or run).get("deviceMinutes") or {}).get("total")
    return bool(limit and used is not None and used >= limit)


def _message(run: Mapping[str, Any], job: Mapping[str, Any] | None) -> str:
    return (job or {}).get("message") or run.get("message") or ""


def _words(run: Mapping[str, Any], job: Mapping[str, Any] | None, said: str) -> str:
    message = _message(run, job)
    if message:
        return f"AWS Device Farm: {said}: {message}"
    tests = (run.get("counters") or {}).get("total", 0)
    if said == "SKIPPED" and not run.get("totalJobs", 1):
        return "AWS Device Farm: SKIPPED: no device fits the selection"
    return f"AWS Device Farm: {said}" + ("" if tests else ", no test ran")


# What the runner on the test host says of an entry: the stage in which it ended.
STAGES: Final[Mapping[str, tuple[FailureKind, str]]] = {
    "device": (FailureKind.INFRASTRUCTURE, "the test host lost the device"),
    "push": (FailureKind.INFRASTRUCTURE, "a file could not be pushed to the device"),
    "verify": (FailureKind.INFRASTRUCTURE, "a file arrived on the device with another sha256"),
    "install": (FailureKind.TEST, "the app could not be installed"),
    "run": (FailureKind.TEST, "the job failed"),
    "timeout": (FailureKind.TIMEOUT, "the job took too long"),
}


def entry_failure(stage: str, code: int | None, detail: str, timeout_s: float) -> JobFailure:
    """Why an entry failed on its device.

    Args:
        stage: in which it ended, of `STAGES`.
        code: exit status of its command; None: not known.
        detail: last lines of what it printed.
        timeout_s: what it was given, in seconds.

    Returns:
        The failure.
    """
    kind, words = STAGES.get(stage, (FailureKind.OTHER, f"the runner ended in stage {stage!r}"))
    if stage == "install" and re.search(_DOES_NOT_FIT, detail, re.IGNORECASE):
        kind = FailureKind.DEVICE
    if stage == "timeout":
        words = f"the job took longer than {timeout_s:g} s"
    elif stage == "run" and code is not None:
        by_signal = code - 128 in set(signal.Signals)
        words = f"the job was ended by signal {code - 128}" if by_signal else f"the job exited with status {code}"
    last = detail.strip().splitlines()[-1:] or [""]
    return JobFailure(kind, f"{words}: {last[0]}" if last[0] else words, field=f"entry.{stage}", detail=detail)
