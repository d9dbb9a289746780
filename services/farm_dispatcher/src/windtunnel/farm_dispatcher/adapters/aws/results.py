"""From the artifacts of an ended run to one result for each of its entries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from windtunnel.farm_dispatcher.adapters.adb.conditions import conditions_of
from windtunnel.farm_dispatcher.adapters.aws.artifacts import Left
from windtunnel.farm_dispatcher.adapters.aws.catalog import device_facts
from windtunnel.farm_dispatcher.adapters.aws.failures import ended_failure, entry_failure
from windtunnel.farm_dispatcher.adapters.cut_logs import SUMMARY, cut_log
from windtunnel.farm_dispatcher.domain.device_runs import Collected, DeviceRun, JobFailure, JobResult
from windtunnel.farm_dispatcher.domain.jobs import Entry, FarmRunRequest
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.run_conditions import RunConditions

_FOLDER: Final = "windtunnel"
_DETAIL_LINES: Final = 20
# The runner's own lines in the output of the test spec.
_STATUS: Final = re.compile(r"^\[windtunnel\] status (\S+) (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Said:
    """What the runner says of an entry. `stage` empty: it did not end."""

    stage: str
    values: Mapping[str, str]
    log: str
    detail: str = ""
    pulled: Mapping[str, Path] = field(default_factory=dict)
    conditions: RunConditions | None = None

    @property
    def seconds(self) -> float | None:
        """How long the job took; None: not known."""
        return _number(self.values.get("seconds"))

    @property
    def code(self) -> int | None:
        """Exit status of the job; None: not known."""
        number = _number(self.values.get("exit"))
        return None if number is None else int(number)


def collected_of(
    run: Mapping[str, Any], jobs: Sequence[Mapping[str, Any]], left: Left, request: FarmRunRequest, arn: str
) -> Collected:
    """The results of a run, and its bill.

    Args:
        run: as GetRun shows it.
        jobs: as ListJobs shows them.
        left: what it left.
        request: as it was submitted.
        arn: of the device that it was to run on; empty: not known.

    Returns:
        One result for each entry.
    """
    job = jobs[0] if jobs else None
    device = (job or {}).get("device") or {}
    instance = str((job or {}).get("instanceArn") or device.get("arn") or "")
    failure = ended_failure(run, job)
    if arn and device.get("arn") and device["arn"] != arn:
        failure = JobFailure(FailureKind.DEVICE, f"it ran on {device.get('name')}, not on {request.device.name}")
        results = [JobResult(failure=replace(failure, field="job.device.arn", instance=instance))] * len(
            request.entries
        )
    else:
        facts = replace(device_facts(device), name=request.device.name) if device else request.device.facts
        whole = _Whole(left, len(request.entries), failure, instance)
        results = [whole.result(entry, facts) for entry in request.entries]
    return Collected(tuple(results), billed_minutes(run, jobs))


def billed_minutes(run: Mapping[str, Any], jobs: Sequence[Mapping[str, Any]]) -> Decimal | None:
    """The minutes that the service bills for a run: fractional, those of metered devices.

    Args:
        run: as GetRun shows it.
        jobs: as ListJobs shows them, for a run that does not say.

    Returns:
        None: it bills nothing.
    """
    if run.get("billingMethod") == "UNMETERED":
        return None
    metered = [_metered(run)]
    if metered == [None]:
        metered = [_metered(job) for job in jobs]
    # A double has no more digits than repr shows: 1.7 is billed as 1.7.
    total = sum((Decimal(repr(minutes)) for minutes in metered if minutes), Decimal(0))
    return total or None


def _metered(item: Mapping[str, Any]) -> float | None:
    value = (item.get("deviceMinutes") or {}).get("metered")
    return None if value is None else float(value)


@dataclass(frozen=True, slots=True)
class _Whole:
    """What is known of the run as a whole."""

    left: Left
    entries: int
    failure: JobFailure | None
    instance: str

    def result(self, entry: Entry, facts: Any) -> JobResult:
        said = self._of_runner(entry)
        if said is None:
            return self._without_runner(entry, facts)
        if said.stage == "done" and cut_log(said.log) is None:
            run = DeviceRun(said.log, None, facts, conditions=said.conditions, instance=self.instance)
            return JobResult(run=run, seconds=said.seconds, pulled=said.pulled)
        return JobResult(
            failure=replace(self._failure(entry, said), instance=self.instance),
            log=said.log, seconds=said.seconds, pulled=said.pulled,
        )  # fmt: skip

    def _failure(self, entry: Entry, said: Said) -> JobFailure:
        detail = said.detail.strip() or "\n".join(said.log.splitlines()[-_DETAIL_LINES:])
        if said.stage == "done":
            cut = cut_log(said.log) if said.log.strip() else None
            return cut or JobFailure(FailureKind.TEST, "the job printed nothing", field="entry.log")
        if not said.stage:
            # The run as a whole says what ended it in the middle of an entry.
            return self.failure or JobFailure(FailureKind.INFRASTRUCTURE, "the runner did not end", field="entry.stage")
        return entry_failure(said.stage, said.code, detail, entry.job.timeout_s)

    def _of_runner(self, entry: Entry) -> Said | None:
        """From the customer artifacts; from the output of the test spec if they are lost."""
        folder = self.left.folder / _FOLDER / entry.name
        if (folder / "status").is_file():
            return _read_folder(folder, entry)
        return _read_output(self.left.output, entry.name)

    def _without_runner(self, entry: Entry, facts: Any) -> JobResult:
        """An app that runs without a test spec, an entry that was never reached, or artifacts that are lost."""
        log = self.left.device_log if self.entries == 1 else ""
        for text in (*_texts(self.left.folder), self.left.output, self.left.device_log):
            if self.failure is None and self.entries == 1 and SUMMARY.search(text):
                return JobResult(run=DeviceRun(text, None, facts, instance=self.instance))
        return JobResult(failure=replace(self.failure or self._nothing_left(), instance=self.instance), log=log)

    def _nothing_left(self) -> JobFailure:
        if not self.left.has_customer_artifacts:
            return JobFailure(
                FailureKind.INFRASTRUCTURE, "AWS Device Farm kept no customer artifacts of the run",
                hint="above 1 GB all of them are lost: pull less", field="artifacts",
            )  # fmt: skip
        return JobFailure(
            FailureKind.INFRASTRUCTURE, "the artifacts of the run say nothing of this job", field="artifacts"
        )


def _read_folder(folder: Path, entry: Entry) -> Said:
    values = _values((folder / "status").read_text(encoding="utf-8", errors="replace").splitlines())
    pulled = {
        path: folder / "pulled" / str(number)
        for number, path in enumerate(entry.job.pull)
        if (folder / "pulled" / str(number)).exists()
    }
    log, detail, before, after = (_text(folder / f"{name}.txt") for name in ("log", "detail", "before", "after"))
    return Said(values.get("stage", ""), values, log, detail, pulled, conditions_of(before, after))


def _read_output(output: str, name: str) -> Said | None:
    for match in _STATUS.finditer(output):
        if match[1] == name:
            values = _values(match[2].split(" "))
            _, _, rest = output[match.end() :].partition(f"[windtunnel] log {name}\n")
            log, ended, _ = rest.partition(f"\n[windtunnel] end {name}\n")
            return Said(values.get("stage", ""), values, log if ended else rest)
    return None


def _texts(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".txt", ".log", ".out"} and path.is_file():
            yield _text(path)


def _values(lines: Sequence[str]) -> dict[str, str]:
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
