"""What a phone cannot run at all; known before anything is pushed."""

from __future__ import annotations

from windtunnel.farm_dispatcher.domain.device_runs import JobFailure
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.jobs import AppJob, Entry
from windtunnel.farms.failure_kinds import FailureKind


def refusal(entry: Entry, device: Device) -> JobFailure | None:
    """Why an entry is not run.

    Args:
        entry: of a farm run.
        device: that the farm run asks for.

    Returns:
        None: it is run.
    """
    cell, job = entry.cell, entry.job
    if cell.accelerator not in device.accelerators:
        has = ", ".join(device.accelerators)
        return _unsupported(f"accelerator {cell.accelerator!r} is not on {device.name}", f"it has {has}")
    if cell.threads < 1:
        return _unsupported(f"{cell.threads} threads cannot run a model", "give 1 or more")
    if isinstance(job, AppJob):
        if job.platform != "android" or job.kind == "xctest":
            return _unsupported(f"an app for {job.platform} ({job.kind}) does not run on an Android phone", "")
    elif job.binary is None:
        return _unsupported("the job names no benchmark binary", "add one for this ABI to the catalog of binaries")
    return None


def _unsupported(message: str, hint: str) -> JobFailure:
    return JobFailure(FailureKind.UNSUPPORTED, message, hint)
