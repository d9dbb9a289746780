"""The operations that the peer answers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from support.farm_peers.aws.api import Refused, bad_argument
from support.farm_peers.aws.devices import matches_filters, matches_rules
from support.farm_peers.aws.jobs import Job
from support.farm_peers.aws.runs import Run, Runs
from support.farm_peers.aws.views import job_view, run_view, suite_views, test_views

Answer = dict[str, Any]
_LEVELS = ("run", "job", "suite", "test")


class Operations:
    """The state behind the API. `page_size` of every list."""

    def __init__(self, runs: Runs, page_size: int = 3) -> None:
        self.runs, self.page_size = runs, page_size
        self._table: dict[str, Callable[[Answer], Answer]] = {
            "CreateUpload": self._create_upload, "GetUpload": self._get_upload, "ListUploads": self._list_uploads,
            "DeleteUpload": self._delete_upload, "CreateDevicePool": self._create_pool,
            "ListDevicePools": self._list_pools, "ListDevices": self._list_devices, "GetDevice": self._get_device,
            "ScheduleRun": self._schedule, "GetRun": self._get_run, "ListRuns": self._list_runs,
            "StopRun": self._stop, "ListJobs": self._list_jobs, "GetJob": self._get_job,
            "ListSuites": self._list_suites, "ListTests": self._list_tests, "ListArtifacts": self._list_artifacts,
            "GetProject": self._get_project,
        }  # fmt: skip

    def answer(self, operation: str, request: Answer) -> Answer:
        """The answer to a checked request; Refused: there is none."""
        if operation not in self._table:
            raise Refused("InternalFailure", f"the peer does not know {operation}", 500)
        self.runs.step()
        return self._table[operation](request)

    def artifact(self, arn: str, number: int) -> bytes | None:
        """The content of an artifact of a job."""
        job = next((one for one in self.runs.jobs() if one.arn.endswith(arn)), None)
        return job.artifacts[number][4] if job is not None and number < len(job.artifacts) else None

    def _create_upload(self, request: Answer) -> Answer:
        self._project(request["projectArn"])
        made = self.runs.uploads.create(
            request["name"], request["type"], request.get("contentType", "application/octet-stream")
        )
        return {"upload": made.shown()}

    def _get_upload(self, request: Answer) -> Answer:
        return {"upload": self.runs.uploads.get(request["arn"]).shown()}

    def _delete_upload(self, request: Answer) -> Answer:
        del self.runs.uploads.by_arn[self.runs.uploads.get(request["arn"]).arn]
        return {}

    def _list_uploads(self, request: Answer) -> Answer:
        self._project(request["arn"])
        known = [self.runs.uploads.get(arn) for arn in self.runs.uploads.by_arn]
        shown = [one.shown() for one in known if request.get("type") in (None, one.type)]
        return self._page("uploads", shown, request)

    def _create_pool(self, request: Answer) -> Answer:
        self._project(request["projectArn"])
        for device in self.runs.devices:
            matches_rules(device, request["rules"])
        project = request["projectArn"].rsplit(":", 1)[1]
        arn = f"{request['projectArn'].rsplit(':', 2)[0]}:devicepool:{project}/{uuid.uuid4()}"
        names = ("name", "description", "rules", "maxDevices")
        kept: Answer = {name: request[name] for name in names if name in request}
        self.runs.pools[arn] = {"arn": arn, "type": "PRIVATE", **kept}
        return {"devicePool": self.runs.pools[arn]}

    def _list_pools(self, request: Answer) -> Answer:
        self._project(request["arn"])
        return self._page("devicePools", list(self.runs.pools.values()), request)

    def _list_devices(self, request: Answer) -> Answer:
        if "arn" in request:
            self._project(request["arn"])
        found = [one for one in self.runs.devices if matches_filters(one, request.get("filters") or ())]
        return self._page("devices", found, request)

    def _get_device(self, request: Answer) -> Answer:
        found = [one for one in self.runs.devices if one["arn"] == request["arn"]]
        if not found:
            raise Refused("NotFoundException", f"No device was found for {request['arn']}")
        return {"device": found[0]}

    def _get_project(self, request: Answer) -> Answer:
        self._project(request["arn"])
        return {"project": {"arn": request["arn"], "name": "windtunnel"}}

    def _schedule(self, request: Answer) -> Answer:
        return {"run": run_view(self.runs.schedule(request))}

    def _get_run(self, request: Answer) -> Answer:
        return {"run": run_view(self.runs.get(request["arn"]))}

    def _list_runs(self, request: Answer) -> Answer:
        self._project(request["arn"])
        newest = self.runs.clock.now() - self.runs.faults.runs_hidden_s
        listed = [run_view(run) for run in self.runs.by_arn.values() if run.created <= newest]
        return self._page("runs", listed[::-1], request)

    def _stop(self, request: Answer) -> Answer:
        run = self.runs.get(request["arn"])
        if all(not job.in_flight for job in run.jobs):
            raise bad_argument("The run has already completed.")
        for job in run.jobs:
            job.stop(self.runs.clock.now())
        return {"run": run_view(run)}

    def _list_jobs(self, request: Answer) -> Answer:
        run = self.runs.get(request["arn"])
        return self._page("jobs", [job_view(run, job) for job in run.jobs], request)

    def _get_job(self, request: Answer) -> Answer:
        return {"job": job_view(*self._job(request["arn"]))}

    def _list_suites(self, request: Answer) -> Answer:
        return self._page("suites", suite_views(*self._job(request["arn"])), request)

    def _list_tests(self, request: Answer) -> Answer:
        job, _, suite = request["arn"].replace(":suite:", ":job:").rpartition("/")
        return self._page("tests", test_views(*self._job(job), int(suite)), request)

    def _list_artifacts(self, request: Answer) -> Answer:
        arn = request["arn"]
        level = arn.split(":")[5]
        if _LEVELS.index(level) < _LEVELS.index(self.runs.faults.artifacts_at):
            return self._page("artifacts", [], request)
        if level == "run":
            jobs: Sequence[Job] = self.runs.get(arn).jobs
        else:
            parts = arn.replace(":suite:", ":job:").replace(":test:", ":job:").split("/")
            jobs = [self._job("/".join(parts[:3]))[1]]
        shown = [
            self._artifact(job, number, kept)
            for job in jobs
            for number, kept in enumerate(job.artifacts)
            if kept[0] == request["type"] and self._is_shown(job)
        ]
        return self._page("artifacts", shown, request)

    def _is_shown(self, job: Job) -> bool:
        since = self.runs.clock.now() - (job.stopped or 0.0)
        return since >= self.runs.faults.artifacts_late_s

    def _artifact(self, job: Job, number: int, kept: tuple[str, str, str, str, bytes]) -> Answer:
        _, kind, name, extension, _ = kept
        tail = job.arn.rsplit(":", 1)[1]
        url = f"{self.runs.base_url}/artifacts/{tail}/{number}?X-Amz-Expires=259200&X-Amz-Signature=bb22"
        arn = f"{job.arn.replace(':job:', ':artifact:')}/00000/00000/{number:05d}"
        return {"arn": arn, "name": name, "type": kind, "extension": extension, "url": url}

    def _job(self, arn: str) -> tuple[Run, Job]:
        for run in self.runs.by_arn.values():
            for job in run.jobs:
                if job.arn == arn:
                    return run, job
        raise Refused("NotFoundException", f"No job was found for {arn}")

    def _project(self, arn: str) -> None:
        if arn != self.runs.project:
            raise Refused("NotFoundException", f"No project was found for {arn}")

    def _page(self, name: str, items: Sequence[Answer], request: Answer) -> Answer:
        token = request.get("nextToken", "page0")
        if not (token.startswith("page") and token[4:].isdigit()):
            raise bad_argument("Invalid nextToken")
        start = int(token[4:])
        end = start + self.page_size
        more = {"nextToken": f"page{end}"} if end < len(items) else {}
        return {name: list(items[start:end]), **more}
