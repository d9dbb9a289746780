"""What Test Lab says of a matrix that did not pass, as kinds of failure: one row for each field of its answers.

The matrix says whether it ran; the cause of a failed run is in the outcome of its step in Tool Results.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from windtunnel.farm_dispatcher.domain.device_runs import JobFailure
from windtunnel.farms.failure_kinds import FailureKind

_I, _T, _D = FailureKind.INFRASTRUCTURE, FailureKind.TEST, FailureKind.DEVICE

# State of an execution (or of a matrix without one) in which nothing ran as wanted.
BY_STATE: Final[Mapping[str, tuple[FailureKind, str]]] = {
    "ERROR": (_I, "Test Lab's own infrastructure failed"),
    "UNSUPPORTED_ENVIRONMENT": (_D, "Test Lab does not offer this device with this version"),
    "INCOMPATIBLE_ENVIRONMENT": (_D, "the app does not run on this version of Android"),
    "INCOMPATIBLE_ARCHITECTURE": (_D, "the app has no code for the processor of this device"),
    "CANCELLED": (FailureKind.CANCELLED, "it was canceled"),
    "INVALID": (_T, "Test Lab refused the app"),
    "TEST_STATE_UNSPECIFIED": (_I, "Test Lab does not say what became of it"),
}

# Part of an outcome, its field, and what it means. The first field that is set counts.
BY_OUTCOME: Final[tuple[tuple[str, str, FailureKind, str], ...]] = (
    ("inconclusiveDetail", "abortedByUser", FailureKind.CANCELLED, "it was canceled"),
    ("inconclusiveDetail", "infrastructureFailure", _I, "Test Lab's own infrastructure failed"),
    ("inconclusiveDetail", "hasErrorLogs", _I, "Test Lab's own infrastructure failed and left logs of errors"),
    ("failureDetail", "deviceOutOfMemory", _T, "the device ran out of memory"),
    ("failureDetail", "crashed", _T, "the app crashed"),
    ("failureDetail", "notInstalled", _D, "the app could not be installed on the device"),
    ("failureDetail", "timedOut", FailureKind.TIMEOUT, "the app did not end in time"),
    ("failureDetail", "otherNativeCrash", _T, "a native process crashed"),
    ("failureDetail", "failedRoboscript", _T, "the Robo script failed"),
    ("failureDetail", "unableToCrawl", _T, "the app did not start"),
    ("skippedDetail", "incompatibleDevice", _D, "this device does not have this version of Android"),
    ("skippedDetail", "incompatibleArchitecture", _D, "the app has no code for the processor of this device"),
    ("skippedDetail", "incompatibleAppVersion", _D, "the app does not run on this version of Android"),
    ("skippedDetail", "pendingTimeout", _D, "no such device became free in time"),
)
# Where the summary has no detail.
BY_SUMMARY: Final[Mapping[str, tuple[FailureKind, str]]] = {
    "failure": (_T, "the app failed"),
    "inconclusive": (_I, "Test Lab does not know how it ended"),
    "skipped": (_D, "Test Lab skipped this device"),
    "unset": (_I, "Test Lab does not say how it ended"),
}
PASSED: Final = frozenset({"success", "flaky"})

_PACKAGE: Final = "build the app again, or take another base app"
# invalidMatrixDetails, and what to do.
BY_INVALID_DETAILS: Final[Mapping[str, tuple[FailureKind, str]]] = {
    "INVALID_MATRIX_DETAILS_UNSPECIFIED": (FailureKind.OTHER, ""),
    "DETAILS_UNAVAILABLE": (FailureKind.OTHER, "the web page of the matrix may say more"),
    "MALFORMED_APK": (_T, _PACKAGE),
    "MALFORMED_TEST_APK": (_T, _PACKAGE),
    "NO_MANIFEST": (_T, _PACKAGE),
    "NO_PACKAGE_NAME": (_T, _PACKAGE),
    "INVALID_PACKAGE_NAME": (_T, _PACKAGE),
    "TEST_SAME_AS_APP": (_T, "app and test must be different packages"),
    "NO_INSTRUMENTATION": (_T, "the test package has no instrumentation"),
    "NO_SIGNATURE": (_T, "sign the app"),
    "INSTRUMENTATION_ORCHESTRATOR_INCOMPATIBLE": (_T, _PACKAGE),
    "NO_TEST_RUNNER_CLASS": (_T, _PACKAGE),
    "NO_LAUNCHER_ACTIVITY": (_T, _PACKAGE),
    "FORBIDDEN_PERMISSIONS": (_T, "remove the permission from the base app"),
    "INVALID_ROBO_DIRECTIVES": (_T, ""),
    "INVALID_RESOURCE_NAME": (_T, ""),
    "INVALID_DIRECTIVE_ACTION": (_T, ""),
    "TEST_LOOP_INTENT_FILTER_NOT_FOUND": (_T, "take a base app with a game loop"),
    "SCENARIO_LABEL_NOT_DECLARED": (_T, "take a base app that has the scenario"),
    "SCENARIO_LABEL_MALFORMED": (_T, _PACKAGE),
    "SCENARIO_NOT_DECLARED": (_T, "take a base app that has the scenario"),
    "DEVICE_ADMIN_RECEIVER": (_T, "remove the device administrator from the base app"),
    "MALFORMED_XC_TEST_ZIP": (_T, _PACKAGE),
    "BUILT_FOR_IOS_SIMULATOR": (_T, "build for a device"),
    "NO_TESTS_IN_XC_TEST_ZIP": (_T, _PACKAGE),
    "USE_DESTINATION_ARTIFACTS": (_T, _PACKAGE),
    "TEST_NOT_APP_HOSTED": (_T, _PACKAGE),
    "PLIST_CANNOT_BE_PARSED": (_T, _PACKAGE),
    "TEST_ONLY_APK": (_T, "build without android:testOnly"),
    "MALFORMED_IPA": (_T, _PACKAGE),
    "MISSING_URL_SCHEME": (_T, "the base app needs the URL scheme of game loops"),
    "MALFORMED_APP_BUNDLE": (_T, _PACKAGE),
    "NO_CODE_APK": (_T, _PACKAGE),
    "INVALID_INPUT_APK": (FailureKind.OTHER, "check the rights of Test Lab in the bucket of results"),
    "INVALID_APK_PREVIEW_SDK": (_T, "build for a released version of Android"),
    "MATRIX_TOO_LARGE": (FailureKind.OTHER, ""),
    "TEST_QUOTA_EXCEEDED": (FailureKind.QUOTA, "wait for the next day, or raise the quota of the project"),
    "SERVICE_NOT_ACTIVATED": (FailureKind.OTHER, "enable the Cloud Testing and the Tool Results API for the project"),
    "UNKNOWN_PERMISSION_ERROR": (FailureKind.OTHER, "check the roles of the account"),
}


def of_outcome(outcome: Mapping[str, Any]) -> JobFailure | None:
    """The failure that a step's outcome reports.

    Args:
        outcome: of Tool Results.

    Returns:
        None: it passed.
    """
    summary = str(outcome.get("summary", "unset"))
    if summary in PASSED:
        return None
    for part, field, kind, message in BY_OUTCOME:
        if outcome.get(part, {}).get(field):
            return JobFailure(kind, message, field=f"outcome.{part}.{field}")
    kind, message = BY_SUMMARY.get(summary, (FailureKind.INFRASTRUCTURE, f"Test Lab says {summary!r}"))
    return JobFailure(kind, message, field=f"outcome.summary {summary}")


def of_state(state: str, detail: str = "") -> JobFailure | None:
    """The failure that the state of an execution or a matrix means.

    Args:
        state: of it.
        detail: what Test Lab adds.

    Returns:
        None: the state is not that of a failure.
    """
    if state not in BY_STATE:
        return None
    kind, message = BY_STATE[state]
    return JobFailure(kind, f"{message}: {detail}" if detail else message, field=f"state {state}")


def of_invalid(matrix: Mapping[str, Any]) -> JobFailure:
    """Why a matrix in the state INVALID was refused.

    Args:
        matrix: as the service shows it.

    Returns:
        The failure.
    """
    details = str(matrix.get("invalidMatrixDetails", "DETAILS_UNAVAILABLE"))
    kind, hint = BY_INVALID_DETAILS.get(details, (FailureKind.OTHER, ""))
    told = "; ".join(str(one.get("message", "")) for one in matrix.get("extendedInvalidMatrixDetails", ()))
    message = f"Test Lab refused the matrix: {details}" + (f": {told}" if told else "")
    return JobFailure(kind, message, hint, field=f"invalidMatrixDetails {details}")
