"""What a session left in the bucket, as results of its entries."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from windtunnel.farm_dispatcher.adapters.adb.conditions import conditions_of
from windtunnel.farm_dispatcher.adapters.cut_logs import cut_log
from windtunnel.farm_dispatcher.adapters.ddp import device_script
from windtunnel.farm_dispatcher.adapters.ddp.device_script import folder_of, read_exit, wrong_files
from windtunnel.farm_dispatcher.adapters.ddp.failures import of_exit, of_result
from windtunnel.farm_dispatcher.adapters.ddp.sessions import Session
from windtunnel.farm_dispatcher.adapters.google_cloud.results_bucket import ResultsBucket, Stored
from windtunnel.farm_dispatcher.domain.device_runs import DeviceRun, JobFailure, JobResult
from windtunnel.farm_dispatcher.domain.devices import DeviceFacts
from windtunnel.farm_dispatcher.domain.jobs import Entry, ExecutableJob, FarmRunRequest
from windtunnel.farms.failure_kinds import FailureKind

# Below an execution: what was pulled, by its path on the device.
_ARTIFACTS: Final = "/artifacts/"
_LOGCAT: Final = "logcat.txt"


@dataclass(frozen=True, slots=True)
class Left:
    """Local copies of what a session left: by path on the device, and the logcat (empty: none)."""

    pulled: Mapping[str, Path]
    logcat: str

    def below(self, folder: str) -> Mapping[str, Path]:
        """The files of a folder of the device.

        Args:
            folder: its path there. Paths of files may have something before it.

        Returns:
            Files by their paths in the folder.
        """
        cut = f"{folder}/"
        return {path.partition(cut)[2]: local for path, local in self.pulled.items() if cut in path}


def fetch(bucket: ResultsBucket, session: Session, into: Path) -> Left:
    """Fetches what a session left. Blocks.

    Args:
        bucket: of the results.
        session: that has ended.
        into: an empty folder.

    Returns:
        The files.

    Raises:
        FarmError: the bucket does not answer.
    """
    pulled, logcat = {}, ""
    for stored in _stored(bucket, session):
        folder, found, path = stored.name.partition(_ARTIFACTS)
        if not found and PurePosixPath(stored.name).name != _LOGCAT:
            continue
        local = bucket.download(stored, folder if found else str(PurePosixPath(stored.name).parent), into)
        if local is None:
            continue
        if found:
            pulled[f"/{path}"] = local
        else:
            logcat = local.read_text("utf-8", "replace")
    return Left(pulled, logcat)


def _stored(bucket: ResultsBucket, session: Session) -> Sequence[Stored]:
    """The objects of the last attempt: those that the report names, otherwise all below the session's folder."""
    start = f"gs://{bucket.name}/"
    names = [path.removeprefix(start) for path in session.output_files if path.startswith(start)]
    if names:
        folders = {name.partition(_ARTIFACTS)[0] if _ARTIFACTS in name else name.rpartition("/")[0] for name in names}
        wanted = set(names)
        return [one for folder in sorted(folders) for one in bucket.list_below(f"{folder}/") if one.name in wanted]
    folder = session.folder.removeprefix(start).strip("/") or "automation/sessions"
    return bucket.list_below(f"{folder}/{session.name}/")


def results_of(session: Session, request: FarmRunRequest, left: Left) -> dict[int, JobResult]:
    """What became of each executable of a session.

    Args:
        session: that has ended.
        request: as it was submitted.
        left: what it left.

    Returns:
        Results by the places of the entries in the request.
    """
    failure = of_result(session.result)
    return {
        index: _result(failure, entry, job, left, request.key, request.device.facts)
        for index, entry, job in device_script.executables(request)
    }


def _result(
    failure: JobFailure | None, entry: Entry, job: ExecutableJob, left: Left, key: str, facts: DeviceFacts
) -> JobResult:
    files = left.below(f"{folder_of(key)}/out/{entry.name}")
    log, ran = _text(files, device_script.LOG), read_exit(_text(files, device_script.EXIT))
    instance, pulled = _text(files, device_script.SERIAL).strip(), _pulled(files, job)
    seconds = None if ran is None else ran.seconds
    if ran is None:
        failed: JobFailure | None = _without_end(failure, had_turn=device_script.HASHES in files or not left.pulled)
    else:
        failed = _damaged(files, job) or of_exit(ran.status, log) or cut_log(log)
    if failed is not None:
        failed = dataclasses.replace(failed, instance=instance)
        return JobResult(
            failure=failed, log=log or (left.logcat if ran is None else ""), seconds=seconds, pulled=pulled
        )
    run = DeviceRun(
        log,
        None,
        facts,
        input_shapes=entry.cell.input_shapes,
        shapes_known=True if entry.cell.input_shapes else None,
        conditions=conditions_of(_text(files, device_script.BEFORE), _text(files, device_script.AFTER)),
        instance=instance,
    )
    return JobResult(run=run, seconds=seconds, pulled=pulled)


def _damaged(files: Mapping[str, Path], job: ExecutableJob) -> JobFailure | None:
    wrong = wrong_files(_text(files, device_script.HASHES), {file.target: file.blob.sha256 for file in job.pushed})
    if not wrong:
        return None
    message = f"{wrong[0]} was not on the device as it was sent"
    return JobFailure(FailureKind.INFRASTRUCTURE, message, field=f"artifacts/{device_script.HASHES}")


def _without_end(failure: JobFailure | None, *, had_turn: bool) -> JobFailure:
    """Of an entry whose program is not known to have ended: the session's, unless it ended before the entry's turn."""
    field = f"artifacts/{device_script.EXIT}"
    if failure is None:
        return JobFailure(FailureKind.INFRASTRUCTURE, "Device Run left no results of it", field=field)
    if had_turn or failure.kind not in (FailureKind.TEST, FailureKind.TIMEOUT):
        return failure
    message = f"the session ended before its turn: {failure.message}"
    return JobFailure(FailureKind.INFRASTRUCTURE, message, field=failure.field)


def _text(files: Mapping[str, Path], name: str) -> str:
    return files[name].read_text("utf-8", "replace") if name in files else ""


def _pulled(files: Mapping[str, Path], job: ExecutableJob) -> dict[str, Path]:
    found = {}
    for index, path in enumerate(job.pull):
        start = f"{device_script.PULLED}/{index}"
        for name, local in files.items():
            if name == start or name.startswith(f"{start}/"):
                found[path.rstrip("/") + name.removeprefix(start)] = local
    return found
