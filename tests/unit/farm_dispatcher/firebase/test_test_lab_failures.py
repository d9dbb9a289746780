"""The table of Test Lab's failures: every field of its API description, row by row, and what users have met."""

from __future__ import annotations

from typing import Any

import pytest

from support.farm_peers.google.discovery import api
from windtunnel.farm_dispatcher.adapters.firebase import failures
from windtunnel.farm_dispatcher.adapters.firebase.matrix_results import ENDED, Ended
from windtunnel.farm_dispatcher.adapters.google_cloud.google_faults import BY_STATUS, error_of

OUTCOMES = [
    ("failure", "failureDetail", "crashed", "test"),
    ("failure", "failureDetail", "deviceOutOfMemory", "test"),
    ("failure", "failureDetail", "failedRoboscript", "test"),
    ("failure", "failureDetail", "notInstalled", "device"),
    ("failure", "failureDetail", "otherNativeCrash", "test"),
    ("failure", "failureDetail", "timedOut", "timeout"),
    ("failure", "failureDetail", "unableToCrawl", "test"),
    ("inconclusive", "inconclusiveDetail", "abortedByUser", "cancelled"),
    ("inconclusive", "inconclusiveDetail", "hasErrorLogs", "infrastructure"),
    ("inconclusive", "inconclusiveDetail", "infrastructureFailure", "infrastructure"),
    ("skipped", "skippedDetail", "incompatibleAppVersion", "device"),
    ("skipped", "skippedDetail", "incompatibleArchitecture", "device"),
    ("skipped", "skippedDetail", "incompatibleDevice", "device"),
    ("skipped", "skippedDetail", "pendingTimeout", "device"),
]
STATES = {
    "ERROR": "infrastructure",
    "UNSUPPORTED_ENVIRONMENT": "device",
    "INCOMPATIBLE_ENVIRONMENT": "device",
    "INCOMPATIBLE_ARCHITECTURE": "device",
    "CANCELLED": "cancelled",
    "INVALID": "test",
    "TEST_STATE_UNSPECIFIED": "infrastructure",
}
INVALID = {
    "TEST_QUOTA_EXCEEDED": "quota",
    "DETAILS_UNAVAILABLE": "other",
    "INVALID_MATRIX_DETAILS_UNSPECIFIED": "other",
    "INVALID_INPUT_APK": "other",
    "MATRIX_TOO_LARGE": "other",
    "SERVICE_NOT_ACTIVATED": "other",
    "UNKNOWN_PERMISSION_ERROR": "other",
}
TESTING, RESULTS = api("testing.v1").schemas, api("toolresults.v1beta3").schemas


@pytest.mark.parametrize(("summary", "part", "field", "kind"), OUTCOMES)
def test_an_outcome(summary: str, part: str, field: str, kind: str) -> None:
    failure = failures.of_outcome({"summary": summary, part: {field: True}})
    assert failure is not None
    assert (failure.kind.value, failure.field) == (kind, f"outcome.{part}.{field}")
    # A field that is there and false says nothing.
    other = failures.of_outcome({"summary": summary, part: {field: False}})
    assert other is not None and other.field == f"outcome.summary {summary}"


def test_every_field_of_an_outcome_has_a_row() -> None:
    parts = {
        "failureDetail": "FailureDetail",
        "inconclusiveDetail": "InconclusiveDetail",
        "skippedDetail": "SkippedDetail",
    }
    described = {(part, field) for part, schema in parts.items() for field in RESULTS[schema]["properties"]}
    assert {(part, field) for part, field, _, _ in failures.BY_OUTCOME} == described
    assert {(part, field) for _, part, field, _ in OUTCOMES} == described
    summaries = set(RESULTS["Outcome"]["properties"]["summary"]["enum"])
    assert set(failures.BY_SUMMARY) | failures.PASSED == summaries


@pytest.mark.parametrize(
    ("summary", "kind"),
    [("failure", "test"), ("inconclusive", "infrastructure"), ("skipped", "device"), ("unset", "infrastructure"),
     ("something new", "infrastructure")],
)  # fmt: skip
def test_a_summary_without_detail(summary: str, kind: str) -> None:
    failure = failures.of_outcome({"summary": summary})
    assert failure is not None and failure.kind == kind


@pytest.mark.parametrize("outcome", [{"summary": "success"}, {"summary": "flaky"},
                                     {"summary": "success", "successDetail": {"otherNativeCrash": True}}])  # fmt: skip
def test_what_passed(outcome: dict[str, Any]) -> None:
    assert failures.of_outcome(outcome) is None


def test_several_fields_at_once() -> None:
    both = {"summary": "failure", "failureDetail": {"timedOut": True, "otherNativeCrash": True}}
    failure = failures.of_outcome(both)
    assert failure is not None and failure.kind == "timeout"


@pytest.mark.parametrize(("state", "kind"), STATES.items())
def test_a_state(state: str, kind: str) -> None:
    failure = failures.of_state(state, "more")
    assert failure is not None
    assert (failure.kind.value, "more" in failure.message) == (kind, True)


def test_every_state_has_a_meaning() -> None:
    described = set(TESTING["TestMatrix"]["properties"]["state"]["enum"])
    assert described == set(failures.BY_STATE) | {"VALIDATING", "PENDING", "RUNNING", "FINISHED"}
    assert described - ENDED == {"VALIDATING", "PENDING", "RUNNING", "TEST_STATE_UNSPECIFIED"}
    assert failures.of_state("FINISHED") is None


@pytest.mark.parametrize("details", TESTING["TestMatrix"]["properties"]["invalidMatrixDetails"]["enum"])
def test_details_of_an_invalid_matrix(details: str) -> None:
    assert details in failures.BY_INVALID_DETAILS
    extended = [{"reason": details, "message": "what is wrong in words"}]
    failure = failures.of_invalid({"invalidMatrixDetails": details, "extendedInvalidMatrixDetails": extended})
    assert failure.kind == INVALID.get(details, "test")
    assert details in failure.message and "in words" in failure.message


def test_an_invalid_matrix_that_does_not_say_why() -> None:
    assert failures.of_invalid({}).kind == "other"
    assert failures.of_invalid({"invalidMatrixDetails": "SOMETHING_NEW"}).kind == "other"


def ended(state: str, execution: str = "", outcome: dict[str, Any] | None = None, **more: Any) -> Ended:
    matrix: dict[str, Any] = {"state": state, "testExecutions": [{"state": execution, **more}] if execution else []}
    steps = [] if outcome is None else [{"stepId": "1", "state": "complete", "outcome": outcome}]
    return Ended(matrix, steps)


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        # flutter#73820: "reached final status ERROR without returning a URL to any test results".
        (ended("ERROR"), "infrastructure"),
        (ended("ERROR", "ERROR", testDetails={"errorMessage": "Infrastructure failure"}), "infrastructure"),
        # Flank#551: one execution of a finished matrix fails with "Infrastructure failure".
        (ended("FINISHED", "ERROR"), "infrastructure"),
        (ended("FINISHED", "ERROR", {"summary": "inconclusive", "inconclusiveDetail": {"infrastructureFailure": True}}),
         "infrastructure"),
        # flutter#80394, focus-android#6492: inconclusive is Test Lab's fault, and was reported as a failed test.
        (ended("FINISHED", "FINISHED", {"summary": "inconclusive"}), "infrastructure"),
        # flutter#43218: "Test timed out" was taken for a success.
        (ended("FINISHED", "FINISHED", {"summary": "failure", "failureDetail": {"timedOut": True}}), "timeout"),
        # flutter#192545: "Some device dimensions are not compatible and will be skipped".
        (ended("FINISHED", "UNSUPPORTED_ENVIRONMENT"), "device"),
        # An execution in ERROR whose step says success did not run to its end.
        (ended("FINISHED", "ERROR", {"summary": "success"}), "infrastructure"),
        # Flank#613, Flank#1155: a matrix that is INVALID has no executions.
        (Ended({"state": "INVALID", "invalidMatrixDetails": "MALFORMED_APK"}, ()), "test"),
        (Ended({"state": "INVALID", "invalidMatrixDetails": "NO_SIGNATURE"}, ()), "test"),
        (Ended({"state": "INVALID"}, ()), "other"),
        (ended("CANCELLED", "CANCELLED", {"summary": "inconclusive", "inconclusiveDetail": {"abortedByUser": True}}),
         "cancelled"),
        (ended("FINISHED"), "infrastructure"),
        (ended("FINISHED", "FINISHED", {"summary": "success"}), ""),
    ],
)  # fmt: skip
def test_how_a_matrix_has_ended(found: Ended, kind: str) -> None:
    assert ("" if found.failure is None else found.failure.kind.value) == kind


@pytest.mark.parametrize(
    ("durations", "minutes"),
    [
        ([], 0), ([{}], 0), ([{"seconds": "60"}], 1), ([{"seconds": "60", "nanos": 1}], 2), ([{"nanos": 1}], 1),
        ([{"seconds": "61"}, {"seconds": "5"}], 3), ([{"seconds": "0"}], 0),
    ],
)  # fmt: skip
def test_the_bill_is_each_step_rounded_up(durations: list[dict[str, Any]], minutes: int) -> None:
    found = Ended({"state": "FINISHED"}, [{"deviceUsageDuration": one} for one in durations])
    assert found.billed_minutes == minutes


@pytest.mark.parametrize(
    ("status", "message", "reasons", "retryable", "kind"),
    [
        # fladle#82: the build waited without end for a quota of the day.
        ("RESOURCE_EXHAUSTED", "Insufficient test quota.", {"rateLimitExceeded"}, True, "quota"),
        # Flank#891, fladle#254: "Quota exceeded ... 'Queries per day' of service 'toolresults.googleapis.com'".
        ("PERMISSION_DENIED", "Quota exceeded for quota metric 'Queries'", {"dailyLimitExceeded"}, True, "quota"),
        # Flank#34: 429 of the bucket for too many changes of one object.
        ("RESOURCE_EXHAUSTED", "The total number of changes exceeds the rate limit.", set(), True, "quota"),
        # Flank#517: 503 while the service is down.
        ("UNAVAILABLE", "The service is currently unavailable.", {"backendError"}, True, "infrastructure"),
        # Flank#1034: "Matrix expands to 250 supported executions which is more than the maximum allowed 200".
        ("INVALID_ARGUMENT", "Matrix expands to 250 supported executions", {"badRequest"}, False, "other"),
        # Flank#2188: an AAB where an APK must be.
        ("INVALID_ARGUMENT", "Request contains an invalid argument.", {"badRequest"}, False, "other"),
        ("PERMISSION_DENIED", "The caller does not have permission", {"forbidden"}, False, "other"),
        ("SOMETHING_NEW", "?", set(), True, "infrastructure"),
    ],
)  # fmt: skip
def test_errors_of_calls(status: str, message: str, reasons: set[str], retryable: bool, kind: str) -> None:
    error = error_of("start a test matrix", status, message, frozenset(reasons))
    assert (error.retryable, error.kind) == (retryable, kind)
    assert message.split()[0] in str(error)


def test_every_canonical_code_has_a_row() -> None:
    codes = {"CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
             "PERMISSION_DENIED", "UNAUTHENTICATED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
             "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}  # fmt: skip
    assert set(BY_STATUS) == codes
