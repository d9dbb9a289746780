"""What a phone cannot run at all; known before anything is pushed."""

from __future__ import annotations

from windtunnel.farm_dispatcher.adapters.cell_refusals import cell_refusal, unsupported
from windtunnel.farm_dispatcher.domain.device_runs import JobFailure
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.jobs import AppJob, Entry


def refusal(entry: Entry, device: Device) -> JobFailure | None:
    """Why an entry is not run.

    Args:
        entry: of a farm run.
        device: that the farm run asks for.

    Returns:
        None: it is run.
    """
    cell, job = entry.cell, entry.job
    if (refused := cell_refusal(cell, device)) is not None:
        return refused
    if isinstance(job, AppJob):
        if job.platform != "android" or job.kind == "xctest":
            return unsupported(f"an app for {job.platform} ({job.kind}) does not run on an Android phone")
    elif job.binary is None:
        return unsupported("the job names no benchmark binary", "add one for this ABI to the catalog of binaries")
    return None
