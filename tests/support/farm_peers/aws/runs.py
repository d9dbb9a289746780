"""Runs: what ScheduleRun takes, the queue, and the answers about runs, jobs, suites, tests and artifacts."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from support.farm_peers.aws import phone as phones
from support.farm_peers.aws import test_host
from support.farm_peers.aws.api import Refused, bad_argument
from support.farm_peers.aws.clock import VirtualClock
from support.farm_peers.aws.devices import matches_filters, matches_rules
from support.farm_peers.aws.faults import Faults, Outcome
from support.farm_peers.aws.jobs import Job
from support.farm_peers.aws.uploads import Upload, Uploads

AT_ONCE: Final = 5
IN_FLIGHT: Final = 250
# Types of the packages of a test type, if they are not its name with an ending.
_PACKAGES: Final = {"XCTEST": "XCTEST_TEST_PACKAGE", "XCTEST_UI": "XCTEST_UI_TEST_PACKAGE"}
_NO_APP: Final = "APPIUM_WEB_"


@dataclass
class Run:
    """One run."""

    arn: str
    request: Mapping[str, Any]
    created: float
    platform: str
    jobs: list[Job] = field(default_factory=list)
    result_code: str | None = None
    message: str | None = None
    matched: int = 0

    @property
    def name(self) -> str:
        return str(self.request.get("name") or self.arn)


@dataclass
class Runs:
    """All runs of a project. `phones` are those that were used, in order."""

    project: str
    folder: Path
    clock: VirtualClock
    faults: Faults
    uploads: Uploads
    devices: list[dict[str, Any]]
    pools: dict[str, dict[str, Any]]
    base_url: str = ""
    by_arn: dict[str, Run] = field(default_factory=dict)
    phones: list[phones.Phone] = field(default_factory=list)
    # How new phones are made: further arguments of make_phone.
    phone_options: dict[str, Any] = field(default_factory=dict)
    # What the system of an iOS device logs.
    ios_log: str = ""
    at_once: int = AT_ONCE
    in_flight: int = IN_FLIGHT

    def jobs(self) -> Iterator[Job]:
        return (job for run in self.by_arn.values() for job in run.jobs)

    def step(self) -> None:
        """Moves every job to its state now."""
        now = self.clock.now()
        for run in self.by_arn.values():
            for job in run.jobs:
                was = job.in_flight
                job.step(now, self._has_slot)
                if was and not job.in_flight:
                    self._gather(run, job)

    def _has_slot(self) -> bool:
        return sum(job.holds_slot for job in self.jobs()) < self.at_once

    def schedule(self, request: Mapping[str, Any]) -> Run:
        """Implements ScheduleRun."""
        if request["projectArn"] != self.project:
            raise Refused("NotFoundException", f"No project was found for {request['projectArn']}")
        test_spec, package, app = self._check(request)
        selected, most = self._select(request)
        if sum(job.in_flight for job in self.jobs()) + min(len(selected), most) > self.in_flight:
            raise Refused("LimitExceededException", f"You can have at most {self.in_flight} jobs in flight.")
        project = self.project.rsplit(":", 1)[1]
        identity = str(uuid.uuid4())
        arn = f"{self.project.rsplit(':', 2)[0]}:run:{project}/{identity}"
        platform = "IOS" if app is not None and app.type == "IOS_APP" else "ANDROID"
        run = Run(arn, request, self.clock.now(), platform, matched=len(selected))
        for number, device in enumerate(selected[:most]):
            self._add_job(run, number, device, (test_spec, package, app))
        outcome = run.jobs[0].outcome if run.jobs else Outcome()
        run.result_code = outcome.result_code
        self.by_arn[arn] = run
        return run

    def _add_job(self, run: Run, number: int, device: Mapping[str, Any], parts: tuple[Upload | None, ...]) -> None:
        outcome = self.faults.outcomes.pop(0) if self.faults.outcomes else Outcome()
        timeout = (run.request.get("executionConfiguration") or {}).get("jobTimeoutMinutes", 150)
        shown = next(one for one in self.devices if one["arn"] != device["arn"]) if outcome.other_device else device
        arn = f"{run.arn.replace(':run:', ':job:')}/{number:05d}"
        folder = self.folder / arn.rsplit(":", 1)[1].replace("/", "-")
        test_spec, package, app = parts
        prepare: Callable[[], test_host.Execution] | None = None
        if test_spec is not None and package is not None and run.platform == "ANDROID":
            spec, files, binary = test_spec.content or b"", package.content or b"", app.content if app else None

            def prepare() -> test_host.Execution:
                phone = phones.make_phone(
                    folder / "phone", f"UDID{len(self.phones):04d}", os=device["os"], model=device["model"],
                    **self.phone_options,
                )  # fmt: skip
                self.phones.append(phone)
                return test_host.prepare(folder / "host", phone, spec, files, binary)

        run.jobs.append(Job(arn, shown, outcome, run.created, timeout, prepare))

    def _check(self, request: Mapping[str, Any]) -> tuple[Upload | None, Upload | None, Upload | None]:
        """The test spec, the test package and the app of a request."""
        test = request["test"]
        kind = test["type"]
        minutes = (request.get("executionConfiguration") or {}).get("jobTimeoutMinutes", 150)
        if not 5 <= minutes <= 150:
            raise bad_argument(f"jobTimeoutMinutes must be between 5 and 150, not {minutes}")
        package_type = _PACKAGES.get(kind, f"{kind}_TEST_PACKAGE")
        needed = {
            "testSpecArn": (test.get("testSpecArn"), (f"{kind}_TEST_SPEC",)),
            "testPackageArn": (test.get("testPackageArn"), (package_type,)),
            "appArn": (request.get("appArn"), ("ANDROID_APP", "IOS_APP")),
        }
        if kind != "BUILTIN_FUZZ" and not test.get("testPackageArn"):
            raise bad_argument("Missing or unprocessed resources.")
        if not request.get("appArn") and not kind.startswith(_NO_APP):
            raise bad_argument("Missing or unprocessed resources.")
        found = {name: self._resource(name, arn, types) for name, (arn, types) in needed.items()}
        return found["testSpecArn"], found["testPackageArn"], found["appArn"]

    def _resource(self, name: str, arn: str | None, types: tuple[str, ...]) -> Upload | None:
        if not arn:
            return None
        upload = self.uploads.get(arn, *types)
        if upload.status != "SUCCEEDED":
            raise bad_argument(f"Missing or unprocessed resources. {name} is {upload.status}")
        return upload

    def _select(self, request: Mapping[str, Any]) -> tuple[list[dict[str, Any]], int]:
        pool, selection = request.get("devicePoolArn"), request.get("deviceSelectionConfiguration")
        if (pool is None) == (selection is None):
            raise bad_argument("Exactly one of devicePoolArn and deviceSelectionConfiguration must be given")
        if selection is not None:
            if selection["maxDevices"] < 1:
                raise bad_argument("maxDevices must be at least 1")
            chosen = [one for one in self.devices if matches_filters(one, selection["filters"])]
            return chosen, selection["maxDevices"]
        if pool not in self.pools:
            raise Refused("NotFoundException", f"No device pool was found for {pool}")
        found = self.pools[str(pool)]
        return [one for one in self.devices if matches_rules(one, found["rules"])], found.get("maxDevices", 1000)

    def get(self, arn: str) -> Run:
        if arn not in self.by_arn:
            raise Refused("NotFoundException", f"No run was found for {arn}")
        return self.by_arn[arn]

    def _gather(self, run: Run, job: Job) -> None:
        """The artifacts of a job that has ended: (category, type, name, extension, content)."""
        if job.execution is None:
            if run.platform == "IOS" and job.test_at is not None:
                job.artifacts.append(("LOG", "DEVICE_LOG", "Syslog", "syslog", self.ios_log.encode()))
            return
        execution = job.execution
        add = job.artifacts.append
        add(("LOG", "DEVICE_LOG", "Logcat", "logcat", execution.phone.logcat().encode()))
        add(("FILE", "TESTSPEC_OUTPUT", "Test spec output", "txt", execution.output.encode(errors="replace")))
        add(("FILE", "VIDEO", "Video", "mp4", b"video"))
        add(("SCREENSHOT", "SCREENSHOT", "screen", "png", b"png"))
        if not job.outcome.artifacts_lost:
            zipped = execution.customer_artifacts()
            add(("FILE", "CUSTOMER_ARTIFACT", "Customer Artifacts", "zip", zipped))
        add(("FILE", "CUSTOMER_ARTIFACT_LOG", "Customer Artifacts Log", "txt", b"gathered"))
        test_host.forget(execution)
