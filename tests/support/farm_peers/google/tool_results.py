"""Cloud Tool Results API v1beta3: histories, executions and steps, where the cause of a failure stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.farm_peers.google.discovery import Call
from support.farm_peers.google.google_errors import GoogleError, not_found
from support.farm_peers.google.lab import Lab

if TYPE_CHECKING:
    from support.farm_peers.google.matrices import Execution, Matrix

_SUMMARY = {"success": "SUCCESS", "failure": "FAILURE", "inconclusive": "INCONCLUSIVE", "skipped": "SKIPPED"}
_SKIPPED = {
    "UNSUPPORTED_ENVIRONMENT": {"incompatibleDevice": True},
    "INCOMPATIBLE_ENVIRONMENT": {"incompatibleAppVersion": True},
    "INCOMPATIBLE_ARCHITECTURE": {"incompatibleArchitecture": True},
}

_DIMENSIONS = {
    "Model": "androidModelId",
    "Version": "androidVersionId",
    "Locale": "locale",
    "Orientation": "orientation",
}


def new_execution(lab: Lab, project: str, matrix: str) -> tuple[str, str]:
    """An execution for a matrix. Returns the ids of its history and of itself."""
    if not lab.histories:
        lab.histories.append(
            {"historyId": "bh.1", "name": "windtunnel", "displayName": "windtunnel", "testPlatform": "android"}
        )
    history = str(lab.histories[0]["historyId"])
    execution = {
        "executionId": str(6_000_000 + lab.number()),
        "state": "inProgress",
        "testExecutionMatrixId": matrix,
        "creationTime": _timestamp(lab.clock.now()),
    }
    lab.executions.append(execution)
    lab.steps[history, str(execution["executionId"])] = []
    return history, str(execution["executionId"])


def write_step(lab: Lab, matrix: Matrix, execution: Execution, state: str, *, late: bool) -> None:
    """The step of an execution that has ended; `late`: it is still in progress, without an outcome."""
    steps = lab.steps[matrix.history, matrix.execution]
    step = next((one for one in steps if one["stepId"] == execution.step), None)
    if step is None:
        execution.step = f"bs.{lab.number():x}"
        step = {"stepId": execution.step, "name": "Game loop test", "creationTime": _timestamp(matrix.created)}
        step["dimensionValue"] = [
            {"key": key, "value": str(execution.device[name])}
            for key, name in _DIMENSIONS.items()
        ]  # fmt: skip
        steps.append(step)
    step["state"] = "inProgress"
    if late:
        return
    step["state"] = "complete"
    step["completionTime"] = _timestamp(lab.clock.now())
    step["outcome"] = _outcome(execution, state)
    step["runDuration"] = _duration(execution.behavior.run_s)
    billed = _billed(matrix, execution, step["outcome"])
    if billed > 0:
        step["deviceUsageDuration"] = _duration(billed)
    step["testExecutionStep"] = {
        "toolExecution": {"toolLogs": [{"fileUri": _logcat(matrix, execution)}]},
        "testIssues": [],
    }


def summary_of(lab: Lab, history: str, execution: str) -> str:
    """The outcome of all steps, as the matrix shows it."""
    steps = lab.steps.get((history, execution), [])
    found = [step.get("outcome", {}).get("summary", "unset") for step in steps]
    for summary in ("failure", "inconclusive", "success", "skipped"):
        if summary in found:
            return _SUMMARY[summary]
    return "OUTCOME_SUMMARY_UNSPECIFIED"


def answer(lab: Lab, call: Call) -> Any:
    """The JSON of a call."""
    name = call.method.id.removeprefix("toolresults.projects.")
    found = call.parameters
    if name in ("getSettings", "initializeSettings"):
        return {"name": f"projects/{found['projectId']}/settings", "defaultBucket": f"test-lab-{found['projectId']}"}
    if name == "histories.list":
        wanted = found.get("filterByName")
        return _page(lab, call, "histories", [one for one in lab.histories if wanted in (None, one["name"])])
    if name == "histories.executions.list":
        return _page(lab, call, "executions", lab.executions)
    if name == "histories.executions.get":
        return _one(lab.executions, "executionId", str(found["executionId"]))
    steps = lab.steps.get((str(found.get("historyId")), str(found.get("executionId"))))
    if steps is None:
        raise not_found(f"Execution {found.get('executionId')}")
    if name == "histories.executions.steps.list":
        return _page(lab, call, "steps", steps)
    if name == "histories.executions.steps.get":
        return _one(steps, "stepId", str(found["stepId"]))
    raise GoogleError("UNIMPLEMENTED", f"the peer does not offer {call.method.id}")


def _page(lab: Lab, call: Call, field: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    start = int(call.parameters.get("pageToken", 0))
    size = min(int(call.parameters.get("pageSize", lab.page_size)) or lab.page_size, lab.page_size)
    answer: dict[str, Any] = {field: items[start : start + size]}
    if start + size < len(items):
        answer["nextPageToken"] = str(start + size)
    return answer


def _one(items: list[dict[str, Any]], key: str, wanted: str) -> dict[str, Any]:
    for item in items:
        if item[key] == wanted:
            return item
    raise not_found(wanted)


def _outcome(execution: Execution, state: str) -> dict[str, Any]:
    if execution.cancelled_at is not None:
        return {"summary": "inconclusive", "inconclusiveDetail": {"abortedByUser": True}}
    if state in _SKIPPED:
        return {"summary": "skipped", "skippedDetail": _SKIPPED[state]}
    if execution.behavior.outcome is not None:
        return dict(execution.behavior.outcome)
    return dict(execution.ran.result().outcome) if execution.ran is not None else {"summary": "success"}


def _billed(matrix: Matrix, execution: Execution, outcome: dict[str, Any]) -> float:
    if execution.refused or outcome.get("inconclusiveDetail", {}).get("infrastructureFailure"):
        return 0.0
    if execution.cancelled_at is not None:
        began = matrix.created + execution.behavior.validating_s + execution.behavior.pending_s
        return max(0.0, execution.cancelled_at - began)
    return execution.behavior.run_s if execution.behavior.billed_s is None else execution.behavior.billed_s


def _logcat(matrix: Matrix, execution: Execution) -> str:
    path = str(matrix.body["resultStorage"]["googleCloudStorage"]["gcsPath"]).rstrip("/")
    return f"{path}/{execution.folder}/logcat"


def _duration(seconds: float) -> dict[str, Any]:
    whole = int(seconds)
    nanos = round((seconds - whole) * 1e9)
    return {"seconds": str(whole), **({"nanos": nanos} if nanos else {})}


def _timestamp(seconds: float) -> dict[str, Any]:
    return {"seconds": str(int(seconds)), "nanos": int(seconds % 1 * 1e9)}
