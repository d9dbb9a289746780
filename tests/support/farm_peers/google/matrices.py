"""Cloud Testing API v1: the catalog of devices and test matrices."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from support.farm_peers.google import tool_results
from support.farm_peers.google.android_app import Ran, run_scenarios
from support.farm_peers.google.bucket import Buckets
from support.farm_peers.google.discovery import Call
from support.farm_peers.google.google_errors import GoogleError, invalid_argument, not_found
from support.farm_peers.google.lab import ANDROID_CATALOG, IOS_CATALOG, PHONES, Behavior, Lab, Received, phone_of
from support.farm_peers.google.packages import package_at, runs_on, what_is_wrong

_MOST_DEVICES = 2000
# So often a matrix is read after its end before its late steps are complete.
_LATE = 3
_PUSHED_TO = ("/sdcard/", "/data/local/tmp/", "/storage/")
# States in which nothing changes any more.
FINAL = {"FINISHED", "ERROR", "UNSUPPORTED_ENVIRONMENT", "INCOMPATIBLE_ENVIRONMENT", "INCOMPATIBLE_ARCHITECTURE",
         "CANCELLED", "INVALID"}  # fmt: skip


@dataclass
class Execution:
    """One device of a matrix."""

    id: str
    device: dict[str, Any]
    behavior: Behavior
    # Empty: it runs. Otherwise the state it has from the start.
    refused: str = ""
    ran: Future[Ran] | None = None
    written: bool = False
    cancelled_at: float | None = None
    # Times that it was seen to have ended.
    seen_ended: int = 0
    step: str = ""
    rerun: int = 0

    @property
    def folder(self) -> str:
        """Of its results, below that of the matrix."""
        parts = (self.device[key] for key in ("androidModelId", "androidVersionId", "locale", "orientation"))
        return "-".join(map(str, parts)) + (f"_rerun_{self.rerun}" if self.rerun else "")


@dataclass
class Matrix:
    """A matrix as it was submitted."""

    id: str
    project: str
    body: dict[str, Any]
    created: float
    invalid: str = ""
    executions: list[Execution] = field(default_factory=list)
    history: str = ""
    execution: str = ""

    @property
    def behavior(self) -> Behavior:
        """Of the first device: it decides for the whole matrix."""
        return self.executions[0].behavior if self.executions else Behavior()


class Matrices:
    """Test matrices of all projects.

    Args:
        lab: the phones.
        buckets: where packages come from and results go.
    """

    def __init__(self, lab: Lab, buckets: Buckets) -> None:
        self._lab, self._buckets = lab, buckets
        self._phones = ThreadPoolExecutor(1, "phone")
        self.matrices: dict[str, Matrix] = {}
        # (project, requestId) -> matrix
        self._requests: dict[tuple[str, str], str] = {}

    def close(self) -> None:
        """Waits for what runs."""
        self._phones.shutdown(cancel_futures=True)

    def answer(self, call: Call) -> Any:
        """The JSON of a call."""
        name = call.method.id.removeprefix("testing.")
        if name == "testEnvironmentCatalog.get":
            return _catalog(call)
        with self._lab.lock:
            if name == "projects.testMatrices.create":
                return self._create(call)
            if name == "projects.testMatrices.get":
                return self._shown(self._found(call))
            if name == "projects.testMatrices.cancel":
                return self._cancel(self._found(call))
        raise GoogleError("UNIMPLEMENTED", f"the peer does not offer {call.method.id}")

    def _found(self, call: Call) -> Matrix:
        matrix = self.matrices.get(str(call.parameters["testMatrixId"]))
        if matrix is None or matrix.project != call.parameters["projectId"]:
            raise not_found(f"Test matrix {call.parameters['testMatrixId']}")
        return matrix

    def _create(self, call: Call) -> dict[str, Any]:
        project, request = str(call.parameters["projectId"]), str(call.parameters.get("requestId", ""))
        known = self._requests.get((project, request)) if request else None
        if known is not None:
            return self._shown(self.matrices[known], new=True)
        devices = _devices(call.body)
        _check(call.body, devices, self._buckets)
        matrix = Matrix(f"matrix-{self._lab.number():x}", project, call.body, self._lab.clock.now())
        matrix.invalid = self._invalid(call.body)
        for device in devices:
            behavior = self._lab.next_behavior(str(device["androidModelId"]))
            matrix.invalid = matrix.invalid or behavior.invalid
            matrix.executions.append(self._execution(matrix, device, behavior))
        self.matrices[matrix.id] = matrix
        if request:
            self._requests[project, request] = matrix.id
        return self._shown(matrix, new=True)

    def _execution(self, matrix: Matrix, device: dict[str, Any], behavior: Behavior) -> Execution:
        refused = _refused(device, self._packages(matrix.body)[0])
        made = Execution(f"execution-{self._lab.number():x}", device, behavior, refused)
        if not matrix.invalid and not refused and not behavior.files_lost:
            made.ran = self._phones.submit(self._run, matrix, made)
        return made

    def _packages(self, body: Mapping[str, Any]) -> list[bytes | None]:
        test = _test(body)
        keys = [key for key in ("appApk", "testApk") if key in test]
        return [package_at(test[key], self._buckets) for key in keys] or [None]

    def _invalid(self, body: Mapping[str, Any]) -> str:
        packages = self._packages(body)
        if len(packages) == 2 and packages[0] == packages[1]:
            return "TEST_SAME_AS_APP"
        found = (what_is_wrong(package, test=index == 1) for index, package in enumerate(packages))
        return next((detail for detail in found if detail), "")

    def _run(self, matrix: Matrix, execution: Execution) -> Ran:
        """On the phone: packages and files as they are in the bucket now."""
        specification = matrix.body["testSpecification"]
        setup = specification.get("testSetup", {})
        packages = [package for package in self._packages(matrix.body) if package is not None]
        pushed = {
            file["regularFile"]["devicePath"]: self._buckets.read(unquote(file["regularFile"]["content"]["gcsPath"]))
            or b""
            for file in setup.get("filesToPush", [])
        }
        scenarios = [int(number) for number in _test(matrix.body).get("scenarios", [])] or [1]
        ran = run_scenarios(
            packages[0],
            pushed,
            scenarios,
            execution.behavior.crash,
            setup.get("directoriesToPull", []),
            execution.behavior.crashes_at,
        )
        self._lab.received.append(
            Received(
                matrix.id, str(execution.device["androidModelId"]),
                {path: hashlib.sha256(data).hexdigest() for path, data in pushed.items()},
                tuple(hashlib.sha256(package).hexdigest() for package in packages), ran.model,
            )
        )  # fmt: skip
        return ran

    def _age(self, matrix: Matrix) -> float:
        return self._lab.clock.now() - matrix.created

    def state_of(self, matrix: Matrix, execution: Execution) -> str:
        """The state of an execution now."""
        behavior, age = execution.behavior, self._age(matrix)
        if execution.refused:
            return execution.refused
        if execution.cancelled_at is not None:
            return "CANCELLED"
        if age < behavior.validating_s:
            return "VALIDATING"
        if age < behavior.validating_s + behavior.pending_s:
            return "PENDING"
        if age < behavior.ends_after_s or (execution.ran is not None and not execution.ran.done()):
            return "RUNNING"
        return behavior.execution_state

    def _state(self, matrix: Matrix) -> str:
        if self._age(matrix) < matrix.behavior.validating_s:
            return "VALIDATING"
        if matrix.invalid:
            return "INVALID"
        states = [self.state_of(matrix, execution) for execution in matrix.executions]
        if all(state == "CANCELLED" for state in states):
            return "CANCELLED"
        if all(state in FINAL for state in states):
            return matrix.behavior.matrix_state
        # RUNNING and CANCELLED can only be set on an execution, says the description; the service shows RUNNING.
        return "RUNNING" if "RUNNING" in states else "PENDING"

    def _shown(self, matrix: Matrix, *, new: bool = False) -> dict[str, Any]:
        state = self._state(matrix)
        shown = {
            **matrix.body,
            "testMatrixId": matrix.id,
            "projectId": matrix.project,
            "state": state,
            "timestamp": self._lab.clock.text(matrix.created),
        }
        if state == "INVALID":
            shown["invalidMatrixDetails"] = matrix.invalid
            shown["extendedInvalidMatrixDetails"] = [
                {"reason": matrix.invalid, "message": f"{matrix.invalid}: see the documentation"}
            ]
            return shown
        if new or self._age(matrix) < matrix.behavior.executions_after_s:
            return shown
        self._write_results(matrix)
        shown["resultStorage"] = self._storage(matrix)
        shown["testExecutions"] = [self._shown_execution(matrix, execution) for execution in matrix.executions]
        if state == "FINISHED":
            shown["outcomeSummary"] = tool_results.summary_of(self._lab, matrix.history, matrix.execution)
        return shown

    def _storage(self, matrix: Matrix) -> dict[str, Any]:
        storage = dict(matrix.body["resultStorage"])
        if matrix.execution and matrix.behavior.result_url:
            ids = {"projectId": matrix.project, "historyId": matrix.history}
            storage["toolResultsHistory"] = ids
            storage["toolResultsExecution"] = {**ids, "executionId": matrix.execution}
            storage["resultsUrl"] = (
                f"https://console.firebase.google.com/project/{matrix.project}/testlab/histories/{matrix.history}"
                f"/matrices/{matrix.execution}"
            )
        return storage

    def _shown_execution(self, matrix: Matrix, execution: Execution) -> dict[str, Any]:
        state = self.state_of(matrix, execution)
        shown: dict[str, Any] = {
            "id": execution.id,
            "matrixId": matrix.id,
            "projectId": matrix.project,
            "state": state,
            "environment": {"androidDevice": execution.device},
            "testSpecification": matrix.body["testSpecification"],
            "timestamp": self._lab.clock.text(matrix.created),
            "testDetails": {"progressMessages": ["Starting attempt 1.", "Test is running on a device."]},
        }
        if state == "ERROR" and execution.behavior.error_message:
            shown["testDetails"]["errorMessage"] = execution.behavior.error_message
        if execution.step:
            shown["toolResultsStep"] = {
                "projectId": matrix.project, "historyId": matrix.history, "executionId": matrix.execution,
                "stepId": execution.step,
            }  # fmt: skip
        return shown

    def _write_results(self, matrix: Matrix) -> None:
        """Tool Results and the folder of results, for executions that have ended."""
        if not matrix.behavior.result_url:
            return
        if not matrix.execution:
            matrix.history, matrix.execution = tool_results.new_execution(self._lab, matrix.project, matrix.id)
        for execution in matrix.executions:
            state = self.state_of(matrix, execution)
            if execution.written or (state not in FINAL and state not in ("PENDING", "RUNNING")):
                continue
            if state in FINAL:
                execution.written = True
                execution.seen_ended += 1
                late = execution.seen_ended <= _LATE
                if not (late and execution.behavior.files_late):
                    self._write_files(matrix, execution, state)
                step_late = late and execution.behavior.steps_late
                tool_results.write_step(self._lab, matrix, execution, state, late=step_late)
                execution.written = not (step_late or (late and execution.behavior.files_late))

    def _write_files(self, matrix: Matrix, execution: Execution, state: str) -> None:
        path = str(matrix.body["resultStorage"]["googleCloudStorage"]["gcsPath"])
        found = re.fullmatch(r"gs://([^/]+)/?(.*)", path)
        if execution.ran is None or found is None or execution.refused or execution.cancelled_at is not None:
            return
        ran = execution.ran.result(timeout=60)
        start = found[2].rstrip("/") + "/" if found[2] else ""
        if state == "FINISHED" or ran.logcat:
            files = {"logcat": ran.logcat.encode(), **(ran.files if state == "FINISHED" else {})}
            for name, data in files.items():
                self._buckets.put(found[1], f"{start}{execution.folder}/{name}", data)

    def _cancel(self, matrix: Matrix) -> dict[str, Any]:
        for execution in matrix.executions:
            if self.state_of(matrix, execution) not in FINAL and not matrix.invalid:
                execution.cancelled_at = self._lab.clock.now()
        return {"testState": self._state(matrix)}


def _catalog(call: Call) -> dict[str, Any]:
    kind = call.parameters["environmentType"]
    if kind == "ANDROID":
        catalog = ANDROID_CATALOG["androidDeviceCatalog"]
        wanted = call.parameters.get("includeViewableModels", False)
        models = [model for model in PHONES if wanted or not model.get("accessDeniedReasons")]
        return {"androidDeviceCatalog": {**catalog, "models": models}}
    return IOS_CATALOG if kind == "IOS" else {}


def _test(body: Mapping[str, Any]) -> Mapping[str, Any]:
    specification = body["testSpecification"]
    found: Mapping[str, Any] = (
        specification.get("androidTestLoop") or specification.get("androidInstrumentationTest") or {}
    )
    return found


def _devices(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    matrix = body.get("environmentMatrix", {})
    if "androidMatrix" in matrix:
        axes = matrix["androidMatrix"]
        return [
            {"androidModelId": model, "androidVersionId": version, "locale": locale, "orientation": orientation}
            for model in axes.get("androidModelIds", []) for version in axes.get("androidVersionIds", [])
            for locale in axes.get("locales", []) for orientation in axes.get("orientations", [])
        ]  # fmt: skip
    devices: list[dict[str, Any]] = matrix.get("androidDeviceList", {}).get("androidDevices", [])
    return devices


def _check(body: Mapping[str, Any], devices: list[dict[str, Any]], buckets: Buckets) -> None:
    """What the service refuses at once. Raises GoogleError."""
    if not devices:
        raise invalid_argument("At least one device must be specified", "environment_matrix")
    if len(devices) > _MOST_DEVICES:
        raise invalid_argument(
            f"Matrix expands to {len(devices)} supported executions which is more than the maximum allowed "
            f"{_MOST_DEVICES}",
            "environment_matrix",
        )
    for device in devices:
        if missing := {"androidModelId", "androidVersionId", "locale", "orientation"} - set(device):
            raise invalid_argument(f"AndroidDevice lacks {', '.join(sorted(missing))}", "environment_matrix")
    specification = body.get("testSpecification", {})
    kinds = [key for key in specification if key.startswith(("android", "ios")) and key != "iosTestSetup"]
    if len(kinds) != 1:
        raise invalid_argument("Exactly one test must be specified", "test_specification")
    path = body.get("resultStorage", {}).get("googleCloudStorage", {}).get("gcsPath", "")
    if not (found := re.fullmatch(r"gs://([^/]+)(/.*)?", path)) or found[1] not in buckets.objects:
        raise invalid_argument(
            f"Cannot write to the results bucket: {path!r}", "result_storage.google_cloud_storage.gcs_path"
        )
    _check_setup(specification)
    if not 0 <= int(body.get("flakyTestAttempts", 0)) <= 10:
        raise invalid_argument("flaky_test_attempts must be between 0 and 10", "flaky_test_attempts")


def _check_setup(specification: Mapping[str, Any]) -> None:
    setup = specification.get("testSetup", {})
    for file in setup.get("filesToPush", []):
        target = file.get("regularFile", {}).get("devicePath", "")
        if not target.startswith(_PUSHED_TO) or ".." in target:
            raise invalid_argument(f"Invalid device path {target!r}", "test_specification.test_setup.files_to_push")
    for folder in setup.get("directoriesToPull", []):
        if not re.fullmatch(r"/(sdcard|storage|data/local/tmp)(/[\w./-]*)?", folder):
            raise invalid_argument(f"Invalid directory {folder!r}", "test_specification.test_setup.directories_to_pull")
    if setup.get("environmentVariables") and "androidInstrumentationTest" not in specification:
        raise invalid_argument("environment_variables are for instrumentation tests", "test_specification.test_setup")
    seconds = float(specification.get("testTimeout", "300s").removesuffix("s"))
    if not 0 < seconds <= 45 * 60:
        raise invalid_argument("test_timeout must be at most 45 minutes", "test_specification.test_timeout")


def _refused(device: Mapping[str, Any], package: bytes | None) -> str:
    """The state of a device that cannot run the test; empty: it can."""
    phone = phone_of(str(device["androidModelId"]))
    if phone is None or phone.get("accessDeniedReasons"):
        return "UNSUPPORTED_ENVIRONMENT"
    if device["androidVersionId"] not in phone["supportedVersionIds"]:
        return "UNSUPPORTED_ENVIRONMENT"
    if package is not None and not what_is_wrong(package) and not runs_on(package, phone["supportedAbis"]):
        return "INCOMPATIBLE_ARCHITECTURE"
    return ""
