"""The table of AWS Device Farm's failures, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from windtunnel.farm_dispatcher.adapters.aws.failures import (
    CODES,
    COUNTERS,
    RESULT_CODES,
    RESULTS,
    STAGES,
    ended_failure,
    entry_failure,
    refusal_of,
)
from windtunnel.farms.failure_kinds import FailureKind

INFRASTRUCTURE, TEST, DEVICE = FailureKind.INFRASTRUCTURE, FailureKind.TEST, FailureKind.DEVICE
TIMEOUT, CANCELLED, QUOTA, OTHER = FailureKind.TIMEOUT, FailureKind.CANCELLED, FailureKind.QUOTA, FailureKind.OTHER


def counters(**named: int) -> dict[str, int]:
    zero = dict.fromkeys(("total", "passed", "failed", "warned", "errored", "stopped", "skipped"), 0)
    return {**zero, **named, "total": sum(named.values())}


def run(result: str, message: str = "", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"status": "COMPLETED", "result": result, "counters": counters(), "totalJobs": 1, **more}
    return {**made, "message": message} if message else made


@pytest.mark.parametrize(
    ("ended", "kind", "field"),
    [
        (run("STOPPED"), CANCELLED, "run.result"),
        (run("STOPPED", "The run was stopped by the user."), CANCELLED, "run.result"),
        (run("STOPPED", "Test execution timed out"), TIMEOUT, "run.message"),
        (run("STOPPED", jobTimeoutMinutes=5, deviceMinutes={"total": 5.0}), TIMEOUT, "job.deviceMinutes.total"),
        # A slot that waited, then ended without a message before a test began.
        (run("ERRORED"), INFRASTRUCTURE, "run.result"),
        (run("ERRORED", counters=counters(passed=1, errored=1)), INFRASTRUCTURE, "run.result"),
        (run("ERRORED", "Device lost connection to the host"), INFRASTRUCTURE, "run.result"),
        (run("ERRORED", "The device was temporarily not available"), DEVICE, "run.message"),
        (run("ERRORED", "Job timeout: timed out after 20 minutes"), TIMEOUT, "run.message"),
        (run("ERRORED", "Failure [INSTALL_FAILED_NO_MATCHING_ABIS]"), DEVICE, "run.message"),
        # A device pool that matches nothing ends at once, and is not a success.
        (run("SKIPPED", totalJobs=0), DEVICE, "run.result"),
        (run("SKIPPED", "This device was skipped"), DEVICE, "run.result"),
        (run("SKIPPED", resultCode="PARSING_FAILED"), TEST, "run.resultCode"),
        (run("SKIPPED", resultCode="VPC_ENDPOINT_SETUP_FAILED"), INFRASTRUCTURE, "run.resultCode"),
        (run("FAILED"), TEST, "run.result"),
        (run("FAILED", "Tests failed: a command failed"), TEST, "run.result"),
        (run("FAILED", "INSTALL_FAILED_OLDER_SDK: requires newer sdk version"), DEVICE, "run.message"),
        (run("FAILED", "The test timed out"), TIMEOUT, "run.message"),
        # Ended without a result: the counters say it.
        (run("PENDING", counters=counters(failed=1)), TEST, "run.counters.failed"),
        (run("PENDING", counters=counters(errored=1, failed=1)), INFRASTRUCTURE, "run.counters.errored"),
        (run("PENDING", counters=counters(stopped=1)), CANCELLED, "run.counters.stopped"),
        (run("PENDING", counters=counters(skipped=1)), DEVICE, "run.counters.skipped"),
        (run("PENDING"), INFRASTRUCTURE, "run.result"),
        (run(""), INFRASTRUCTURE, "run.result"),
        (run("A_NEW_RESULT"), INFRASTRUCTURE, "run.result"),
    ],
)
def test_ended_runs(ended: dict[str, Any], kind: FailureKind, field: str) -> None:
    failure = ended_failure(ended, None)
    assert failure is not None
    assert (failure.kind, failure.field) == (kind, field)
    assert failure.message.startswith("AWS Device Farm")
    if ended.get("message"):
        assert ended["message"] in failure.message


@pytest.mark.parametrize("result", ["PASSED", "WARNED"])
def test_runs_that_went_well(result: str) -> None:
    assert ended_failure(run(result), None) is None


def test_the_job_knows_better_than_the_run() -> None:
    failure = ended_failure(run("FAILED"), {"result": "ERRORED", "message": "adb went away"})
    assert failure is not None
    assert (failure.kind, failure.field) == (INFRASTRUCTURE, "job.result")
    assert "adb went away" in failure.message
    failure = ended_failure(run("STOPPED"), {"result": "PENDING"})
    assert failure is not None and (failure.kind, failure.field) == (CANCELLED, "run.result")


def test_every_result_and_counter_of_the_service_is_in_the_table() -> None:
    from support.farm_peers.aws.api import description

    shapes = description()["shapes"]
    assert {row[0] for row in RESULTS} | {"PASSED", "WARNED", "PENDING"} == set(shapes["ExecutionResult"]["enum"])
    assert set(RESULT_CODES) == set(shapes["ExecutionResultCode"]["enum"])
    assert {row[0] for row in COUNTERS} | {"total", "passed", "warned"} == set(shapes["Counters"]["members"])


def test_every_error_of_the_operations_is_in_the_table() -> None:
    from support.farm_peers.aws.api import description

    used = ("CreateUpload", "GetUpload", "ListUploads", "ScheduleRun", "GetRun", "ListRuns", "StopRun", "ListDevices")
    errors = {error["shape"] for name in used for error in description()["operations"][name]["errors"]}
    assert errors <= set(CODES)


@pytest.mark.parametrize(
    ("code", "status", "kind", "retryable"),
    [
        ("ThrottlingException", 400, INFRASTRUCTURE, True),
        ("TooManyRequestsException", 429, INFRASTRUCTURE, True),
        ("ServiceUnavailable", 503, INFRASTRUCTURE, True),
        ("InternalFailure", 500, INFRASTRUCTURE, True),
        ("SomethingNew", 502, INFRASTRUCTURE, True),
        ("SomethingNew", 429, INFRASTRUCTURE, True),
        ("SomethingNew", 400, OTHER, False),
        ("LimitExceededException", 400, QUOTA, False),
        ("ArgumentException", 400, OTHER, False),
        ("NotFoundException", 400, OTHER, False),
        ("AccessDeniedException", 400, OTHER, False),
        ("UnrecognizedClientException", 400, OTHER, False),
        ("ServiceAccountException", 400, OTHER, False),
        ("IdempotencyException", 400, OTHER, False),
    ],
)
def test_refused_calls(code: str, status: int, kind: FailureKind, retryable: bool) -> None:
    refusal = refusal_of(code, status)
    assert (refusal.kind, refusal.retryable) == (kind, retryable)


@pytest.mark.parametrize(
    ("stage", "code", "detail", "kind"),
    [
        ("device", None, "adb does not see the device", INFRASTRUCTURE),
        ("push", None, "failed to copy", INFRASTRUCTURE),
        ("verify", None, "sha256", INFRASTRUCTURE),
        ("install", None, "Failure [INSTALL_FAILED_INVALID_APK]", TEST),
        ("install", None, "Failure [INSTALL_FAILED_NO_MATCHING_ABIS: x]", DEVICE),
        ("install", None, "Failure [INSTALL_FAILED_OLDER_SDK]", DEVICE),
        ("run", 1, "ERROR: no model", TEST),
        ("run", 139, "Segmentation fault", TEST),
        ("run", 137, "Killed", TEST),
        ("timeout", None, "", TIMEOUT),
        ("unheard", None, "", OTHER),
    ],
)
def test_stages_of_an_entry(stage: str, code: int | None, detail: str, kind: FailureKind) -> None:
    failure = entry_failure(stage, code, detail, 60.0)
    assert failure.kind is kind
    assert failure.detail == detail


def test_only_a_signal_is_called_one() -> None:
    assert "ended by signal 11" in entry_failure("run", 139, "", 60.0).message
    assert "exited with status 255" in entry_failure("run", 255, "", 60.0).message


def test_every_stage_of_the_runner_is_in_the_table() -> None:
    import re
    from importlib import resources

    text = (resources.files("windtunnel.farm_dispatcher.adapters.aws") / "runner.sh").read_text()
    assert set(re.findall(r"\bfail ([a-z]+) ", text)) == set(STAGES)
