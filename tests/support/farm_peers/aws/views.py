"""Runs, jobs, suites and tests as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from support.farm_peers.aws.jobs import WAITING, Job
from support.farm_peers.aws.runs import Run

_ORDER = ("ERRORED", "FAILED", "STOPPED", "WARNED", "SKIPPED", "PASSED")


def run_view(run: Run, *, web_url: bool = True) -> dict[str, Any]:
    """A run as GetRun shows it."""
    request = run.request
    status, result = _state(run)
    shown: dict[str, Any] = {
        "arn": run.arn, "name": run.name, "type": request["test"]["type"], "platform": run.platform,
        "created": run.created, "status": status, "result": result, "counters": _sum([j.counters() for j in run.jobs]),
        "totalJobs": len(run.jobs), "completedJobs": sum(not job.in_flight for job in run.jobs),
        "billingMethod": (request.get("configuration") or {}).get("billingMethod", "METERED"),
        "deviceMinutes": _minutes(run, sum(job.minutes for job in run.jobs)),
        "jobTimeoutMinutes": (request.get("executionConfiguration") or {}).get("jobTimeoutMinutes", 150),
    }  # fmt: skip
    if web_url:
        shown["webUrl"] = f"https://us-west-2.console.aws.amazon.com/devicefarm/home#/runs/{run.arn.rsplit('/', 1)[1]}"
    shown |= _times(run)
    message = run.message or next((job.message for job in run.jobs if job.message), None)
    if message is not None:
        shown["message"] = message
    if status == "COMPLETED" and result == "SKIPPED" and run.result_code:
        shown["resultCode"] = run.result_code
    if (selection := request.get("deviceSelectionConfiguration")) is not None:
        shown["deviceSelectionResult"] = {
            "filters": selection["filters"], "matchedDevicesCount": run.matched, "maxDevices": selection["maxDevices"],
        }  # fmt: skip
    return shown


def job_view(run: Run, job: Job) -> dict[str, Any]:
    """A job as GetJob shows it."""
    shown: dict[str, Any] = {
        "arn": job.arn, "name": job.device["name"], "type": run.request["test"]["type"], "created": job.created,
        "status": job.status, "result": job.result, "counters": job.counters(), "device": dict(job.device),
        "deviceMinutes": _minutes(run, job.minutes),
    }  # fmt: skip
    if job.test_at is not None:
        shown["started"] = job.test_at
    if job.stopped is not None:
        shown["stopped"] = job.stopped
    if job.message is not None:
        shown["message"] = job.message
    return shown


def suite_views(run: Run, job: Job) -> list[dict[str, Any]]:
    """The suites of a job: setup, tests, teardown."""
    if not job.counters()["total"]:
        return []
    return [_part(run, job, "suite", number, name) for number, name in enumerate(_PARTS)]


def test_views(run: Run, job: Job, suite: int) -> list[dict[str, Any]]:
    """The tests of a suite: one."""
    return [_part(run, job, "test", suite, _PARTS[suite])] if job.counters()["total"] else []


_PARTS = ("Setup Suite", "Tests Suite", "Teardown Suite")


def _part(run: Run, job: Job, level: str, number: int, name: str) -> dict[str, Any]:
    result = job.result if name == "Tests Suite" else "PASSED"
    ending = f"/{number:05d}" if level == "suite" else f"/{number:05d}/00000"
    return {
        "arn": job.arn.replace(":job:", f":{level}:") + ending, "name": name, "type": run.request["test"]["type"],
        "created": job.created, "status": job.status, "result": result, "deviceMinutes": _minutes(run, job.minutes),
    }  # fmt: skip


def _state(run: Run) -> tuple[str, str]:
    if not run.jobs:
        return "COMPLETED", "SKIPPED"
    if all(not job.in_flight for job in run.jobs):
        return "COMPLETED", min((job.result for job in run.jobs), key=_ORDER.index)
    states = [job.status for job in run.jobs if job.in_flight]
    running = [state for state in states if state not in WAITING]
    return (running or states)[0], "PENDING"


def _times(run: Run) -> dict[str, float]:
    started = [job.test_at for job in run.jobs if job.test_at is not None]
    stopped = [job.stopped for job in run.jobs if job.stopped is not None]
    times = {"started": min(started)} if started else {}
    return times | ({"stopped": max(stopped)} if len(stopped) == len(run.jobs) and stopped else {})


def _minutes(run: Run, minutes: float) -> dict[str, float]:
    metered = (run.request.get("configuration") or {}).get("billingMethod", "METERED") == "METERED"
    return {"total": minutes, "metered": minutes if metered else 0.0, "unmetered": 0.0 if metered else minutes}


def _sum(counters: Sequence[dict[str, int]]) -> dict[str, int]:
    names = ("total", "passed", "failed", "warned", "errored", "stopped", "skipped")
    return {name: sum(one[name] for one in counters) for name in names}
