"""What became of an entry: from the files that it left on the phone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from windtunnel.farm_dispatcher.adapters.adb.conditions import conditions_of
from windtunnel.farm_dispatcher.adapters.adb.failures import (
    LOADER_WORDS,
    MEMORY_WORDS,
    install_kind,
    signal_name,
)
from windtunnel.farm_dispatcher.adapters.adb.refusals import refusal
from windtunnel.farm_dispatcher.adapters.cut_logs import cut_log
from windtunnel.farm_dispatcher.domain.device_runs import DeviceRun, JobFailure, JobResult
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.jobs import AppJob, Entry, Job
from windtunnel.farms.failure_kinds import FailureKind

_KILLED: Final = 137
_DETAIL_LINES: Final = 30
_SHOWN: Final = 8
_ERROR: Final = "ERROR: "
# Of benchmark_model in all its versions, and of LiteRT's. A log without it is not a measurement.


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """The files of one entry, in those of its farm run; a name that is not there reads as empty."""

    run: Path
    number: int
    canceled: bool
    serial: str

    @property
    def folder(self) -> Path:
        """Of the entry."""
        return self.run / "entries" / str(self.number)

    @property
    def complaint(self) -> str:
        """The last line that the script itself printed, for example of its shell."""
        lines = self._read(self.run / "script.log").strip().splitlines()
        return lines[-1] if lines else ""

    def has(self, name: str) -> bool:
        """Whether a file is there.

        Args:
            name: of the file.

        Returns:
            Also if it is empty.
        """
        return (self.folder / name).is_file()

    def text(self, name: str) -> str:
        """The text of a file.

        Args:
            name: of the file.

        Returns:
            Empty if there is no such file.
        """
        return self._read(self.folder / name)

    @staticmethod
    def _read(path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    @property
    def status(self) -> int | None:
        """The exit status; None: it has not ended."""
        text = self.text("rc").strip()
        return int(text) if text.isdigit() else None

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        text = self.text("seconds").strip()
        return float(text) if text.isdigit() else None


def result_of(entry: Entry, device: Device, left: LeftBehind) -> JobResult:
    """What became of an entry.

    Args:
        entry: of the farm run.
        device: that ran it.
        left: its files.

    Returns:
        A run only if the program ended properly; a log alone is not one.
    """
    refused = refusal(entry, device)
    if refused is not None:
        return JobResult(failure=refused)
    failure = _failure(entry, left)
    log = left.text("log")
    pulled = dict(_pulled(entry, left.folder))
    if failure is not None:
        failure = replace(failure, instance=left.serial, detail=failure.detail or _tail(left, log))
        return JobResult(failure=failure, log=log, seconds=left.seconds, pulled=pulled)
    run = DeviceRun(
        log=log,
        samples=None,
        facts=device.facts,
        input_shapes=entry.cell.input_shapes,
        # The arguments gave these; a model's own shapes are not known.
        shapes_known=True if entry.cell.input_shapes else None,
        conditions=conditions_of(left.text("before"), left.text("after")),
        instance=left.serial,
    )
    return JobResult(run=run, seconds=left.seconds, pulled=pulled)


def _failure(entry: Entry, left: LeftBehind) -> JobFailure | None:
    """The first reason that applies; None: it ended properly."""
    if left.has("install"):
        said = left.text("install").strip()
        code, kind = install_kind(said)
        return JobFailure(kind, f"the app is not installed: {said}", field=code or "pm install")
    if left.has("timed_out"):
        return JobFailure(FailureKind.TIMEOUT, f"it took longer than {entry.job.timeout_s:g} s", field="timed_out")
    if left.has("damaged"):
        path = left.text("damaged").strip()
        return JobFailure(FailureKind.INFRASTRUCTURE, f"{path} has other bytes on the phone", field="sha256sum")
    if left.has("not_ready"):
        said = left.text("not_ready").strip()
        return JobFailure(FailureKind.INFRASTRUCTURE, f"the phone did not get ready: {said}", field="dumpsys")
    status = left.status
    if left.canceled and status in (None, _KILLED):
        return JobFailure(FailureKind.CANCELLED, "it was canceled")
    if status is None:
        lost = "the phone was lost while it ran: its log has no end"
        message = lost if left.has("begun") else f"it was not reached: {left.complaint or 'the phone ended it'}"
        return JobFailure(FailureKind.INFRASTRUCTURE, message, hint="look at its cable and its battery", field="rc")
    if status != 0:
        return _bad_end(entry, left, status)
    return cut_log(left.text("log"))


def _bad_end(entry: Entry, left: LeftBehind, status: int) -> JobFailure:
    """A program or an app that ran and ended badly."""
    log, system, said = left.text("log"), left.text("logcat"), left.text("am")
    name = _name_of(entry.job)
    loader = next((line for line in log.splitlines() if any(word in line for word in LOADER_WORDS)), "")
    if loader:
        return JobFailure(FailureKind.DEVICE, f"it does not start on this phone: {loader}", field="exit status")
    if status == _KILLED or "std::bad_alloc" in log:
        memory = _memory_line(f"{system}\n{log}", name)
        if memory:
            message = f"{name} was killed because memory ran out: {memory}"
            return JobFailure(FailureKind.TEST, message, field="lowmemorykiller", detail=memory)
    # The exit status of an app is not known; its log has the reason.
    is_app = isinstance(entry.job, AppJob)
    crash = _crash_of_app(f"{system}\n{log}", said, name) if is_app else signal_name(status)
    if crash:
        return JobFailure(FailureKind.TEST, f"{name} crashed with {crash}", field="signal", detail=_crash(system, log))
    errors = [line.partition(_ERROR)[2] for line in log.splitlines() if _ERROR in line]
    errors += [line.strip() for line in said.splitlines() if line.startswith("Error") or "FAILED" in line]
    errors.sort(key=lambda line: line.startswith("Error type"))
    what = errors[0] if errors else f"see its log, of {len(log)} characters"
    return JobFailure(FailureKind.TEST, f"{name} ended with status {status}: {what}", field="exit status")


def _name_of(job: Job) -> str:
    """How the phone calls what runs."""
    if isinstance(job, AppJob):
        return job.package_name
    return job.binary.target.rpartition("/")[2] if job.binary is not None else "the program"


def _memory_line(text: str, name: str) -> str:
    lines = [line for line in text.splitlines() if any(word in line for word in MEMORY_WORDS)]
    # Another app may have been killed to make room for this one.
    ours = [line for line in lines if name in line or "bad_alloc" in line or "OutOf" in line]
    return ours[0].strip() if ours else ""


def _crash_of_app(text: str, said: str, name: str) -> str:
    """What ended an app; empty: nothing did."""
    # The system cuts long names at the front.
    shown = name[-_SHOWN:]
    for line in text.splitlines():
        if "Fatal signal " in line and shown in line:
            return line.partition("Fatal signal ")[2].partition("(")[2].partition(")")[0]
        if f"Process: {name}" in line:
            return "an uncaught exception"
        if f"Process {name} " in line and "has died" in line:
            return "an unknown signal"
    return "an unknown signal" if "Process crashed" in said else ""


def _crash(system: str, log: str) -> str:
    """The crash as the system logged it, or the end of the log."""
    lines = system.splitlines()
    crash = [line for line in lines if " F " in line or "AndroidRuntime" in line]
    return "\n".join((crash or log.splitlines())[-_DETAIL_LINES:])


def _tail(left: LeftBehind, log: str) -> str:
    return "\n".join((left.text("am") + log).splitlines()[-_DETAIL_LINES:])


def _pulled(entry: Entry, folder: Path) -> Iterator[tuple[str, Path]]:
    for index, path in enumerate(entry.job.pull):
        local = folder / "pull" / str(index)
        if local.exists():
            yield path, local


def none_ran(count: int, serial: str, message: str, kind: FailureKind) -> tuple[JobResult, ...]:
    """The results of a farm run whose phone is gone, or could not be prepared.

    Args:
        count: of entries.
        serial: of the phone.
        message: what happened.
        kind: of the failure.

    Returns:
        One for each.
    """
    return (JobResult(failure=JobFailure(kind, message, field="adb", instance=serial)),) * count
