"""What a test matrix left: the cause of its end from Tool Results, its logs and files from the bucket, the bill."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.firebase import failures
from windtunnel.farm_dispatcher.adapters.firebase.catalog import Environment
from windtunnel.farm_dispatcher.adapters.firebase.game_loop import OK, split_log, status_of_report
from windtunnel.farm_dispatcher.adapters.firebase.matrix_plan import Planned
from windtunnel.farm_dispatcher.adapters.google_cloud.results_bucket import ResultsBucket, Stored
from windtunnel.farm_dispatcher.domain.device_runs import DeviceRun, JobFailure, JobResult
from windtunnel.farm_dispatcher.domain.devices import DeviceFacts
from windtunnel.farms.failure_kinds import FailureKind

# States of a matrix and of an execution in which nothing changes any more.
ENDED: Final = frozenset({*failures.BY_STATE, "FINISHED"}) - {"TEST_STATE_UNSPECIFIED"}
_LOG: Final = "logcat"
_REPORTS: Final = "game_loop_results/results_scenario_{}.json"
_PULLED: Final = "artifacts/"
# Of a logcat that is read. Those of runs of an hour have some million.
_MOST_CHARACTERS: Final = 64 * 1024 * 1024
_DETAIL_LINES: Final = 20
_OF_THE_APP: Final = frozenset({FailureKind.TEST, FailureKind.TIMEOUT})


@dataclass(frozen=True, slots=True)
class Ended:
    """A matrix that has ended, and its steps in Tool Results; none: Test Lab wrote nothing there."""

    matrix: Mapping[str, Any]
    steps: Sequence[Mapping[str, Any]]

    @property
    def failure(self) -> JobFailure | None:
        """What Test Lab says went wrong; None: nothing."""
        state = str(self.matrix.get("state", "TEST_STATE_UNSPECIFIED"))
        if state == "INVALID":
            return failures.of_invalid(self.matrix)
        execution = self._execution()
        step = self._step(execution)
        told = failures.of_outcome(step["outcome"]) if step is not None and "outcome" in step else None
        if told is not None:
            return told
        detail = str(execution.get("testDetails", {}).get("errorMessage", ""))
        ended = failures.of_state(str(execution.get("state", "FINISHED")), detail) or failures.of_state(state)
        if ended is not None or step is not None:
            return ended
        return JobFailure(
            FailureKind.INFRASTRUCTURE, "Test Lab ended without any results", field="resultStorage.toolResultsExecution"
        )

    @property
    def billed_minutes(self) -> Decimal:
        """Each execution's use of its device, rounded up to minutes. Test Lab leaves out its own failures."""
        used = [seconds_of(step.get("deviceUsageDuration", {})) for step in self.steps]
        return Decimal(sum(math.ceil(seconds / 60) for seconds in used))

    @property
    def seconds(self) -> float | None:
        """How long the device was used; None: not known."""
        step = self._step(self._execution())
        if step is None:
            return None
        return seconds_of(step.get("deviceUsageDuration") or step.get("runDuration") or {})

    def _execution(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = next(iter(self.matrix.get("testExecutions", ())), {})
        return found

    def _step(self, execution: Mapping[str, Any]) -> Mapping[str, Any] | None:
        wanted = execution.get("toolResultsStep", {}).get("stepId")
        named = [step for step in self.steps if step.get("stepId") == wanted]
        return next(iter(named or list(self.steps)[-1:]), None)


def require_complete(matrix: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> None:
    """Refuses to read Tool Results before they are written.

    Args:
        matrix: that has ended.
        steps: of it.

    Raises:
        FarmError: they are not complete yet.
    """
    late = [step for step in steps if step.get("state", "complete") != "complete"]
    if late:
        raise FarmError(f"Tool Results of matrix {matrix.get('testMatrixId')} are not complete yet")


def seconds_of(duration: Mapping[str, Any]) -> float:
    """A duration of Tool Results.

    Args:
        duration: whole seconds, written as text, and nanoseconds.

    Returns:
        Seconds.
    """
    return int(duration.get("seconds", 0)) + int(duration.get("nanos", 0)) / 1e9


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one execution: the log, the app's reports by scenario, and what was pulled by path on the device."""

    log: str
    reports: Mapping[int, str]
    pulled: Mapping[str, Path]


def fetch_files(bucket: ResultsBucket, folder: str, environment: Environment, into: Path) -> Files:
    """Fetches what an execution left. Blocks.

    Args:
        bucket: of the results.
        folder: of the matrix, in the bucket.
        environment: the device.
        into: an empty folder.

    Returns:
        The files; of an execution that Test Lab ran again, those of the last time.

    Raises:
        FarmError: the bucket does not answer.
    """
    stored = bucket.list_below(f"{folder}/{environment.folder}")
    roots = {one.name[len(folder) + 1 :].partition("/")[0] for one in stored}
    if not roots:
        return Files("", {}, {})
    root = f"{folder}/{max(roots, key=_rerun)}/"
    return _fetch(bucket, root, [one for one in stored if one.name.startswith(root)], into)


def _rerun(root: str) -> int:
    number = root.rpartition("_rerun_")[2]
    return int(number) if "_rerun_" in root and number.isdigit() else 0


def _fetch(bucket: ResultsBucket, root: str, stored: Sequence[Stored], into: Path) -> Files:
    log, reports, pulled = "", dict[int, str](), dict[str, Path]()
    for one in stored:
        name = one.name.removeprefix(root)
        scenario = name.removeprefix("game_loop_results/results_scenario_").removesuffix(".json")
        wanted = name == _LOG or name.startswith(_PULLED) or scenario.isdigit()
        path = bucket.download(one, root, into) if wanted else None
        if path is None:
            continue
        if name == _LOG:
            log = _start_of(path)
        elif scenario.isdigit():
            reports[int(scenario)] = path.read_text("utf-8", "replace")
        else:
            pulled[f"/{name.removeprefix(_PULLED)}"] = path
    return Files(log, reports, pulled)


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _start_of(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(_MOST_CHARACTERS)


def results_of(ended: Ended, matrix: Sequence[Planned], files: Files, facts: DeviceFacts) -> dict[int, JobResult]:
    """What became of each entry of a matrix.

    Args:
        ended: the matrix.
        matrix: its entries.
        files: that it left.
        facts: of the device.

    Returns:
        Results by the places of the entries in the request.
    """
    logs = split_log(files.log, [planned.scenario for planned in matrix])
    seconds = None if ended.seconds is None else ended.seconds / len(matrix)
    blamed = _blamed(ended.failure, matrix, files, logs)
    return {
        planned.index: _result(blamed[planned.scenario], planned, logs[planned.scenario], files, facts, seconds)
        for planned in matrix
    }


def _blamed(
    failure: JobFailure | None, matrix: Sequence[Planned], files: Files, logs: Mapping[int, str]
) -> Mapping[int, JobFailure | None]:
    """Which scenarios a failure is of: where the app ended in one of several, not of those before and after it."""
    blamed: dict[int, JobFailure | None] = {planned.scenario: failure for planned in matrix}
    if failure is None or failure.kind not in _OF_THE_APP or len(matrix) == 1:
        return blamed
    done = {planned.scenario for planned in matrix if _status(files, planned) == OK}
    if len(done) < len(matrix):
        blamed |= dict.fromkeys(done)
    if any(logs.values()):
        message = f"the app ended in another scenario before this one began: {failure.message}"
        waiting = JobFailure(FailureKind.INFRASTRUCTURE, message, field=failure.field)
        blamed |= {scenario: waiting for scenario, log in logs.items() if not log}
    return blamed


def _status(files: Files, planned: Planned) -> str:
    return status_of_report(files.reports.get(planned.scenario, ""))


def _result(
    failure: JobFailure | None, planned: Planned, log: str, files: Files, facts: DeviceFacts, seconds: float | None
) -> JobResult:
    status = _status(files, planned)
    if failure is None and status not in ("", OK):
        field, asked = _REPORTS.format(planned.scenario), planned.entry.cell.accelerator
        failure = JobFailure(FailureKind.TEST, f"the benchmark failed with {asked}: {status}", field=field)
    if failure is None and not log.strip():
        failure = JobFailure(FailureKind.INFRASTRUCTURE, "Test Lab left no log of it", field=_LOG)
    wanted = tuple(path.rstrip("/") for path in planned.job.pull)
    pulled = {path: local for path, local in files.pulled.items() if any(_is_in(path, folder) for folder in wanted)}
    if failure is not None:
        if failure.kind in _OF_THE_APP:
            failure = dataclasses.replace(failure, detail="".join(log.splitlines(keepends=True)[-_DETAIL_LINES:]))
        return JobResult(failure=failure, log=log, seconds=seconds, pulled=pulled)
    # The game loop takes the shapes of the model's file, whatever the cell says: they are not known here.
    return JobResult(run=DeviceRun(log, None, facts), seconds=seconds, pulled=pulled)
