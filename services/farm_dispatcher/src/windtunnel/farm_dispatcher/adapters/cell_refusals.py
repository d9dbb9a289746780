"""Cells that a device of the catalog cannot run: they are refused before a device is paid for."""

from __future__ import annotations

from windtunnel.farm_dispatcher.domain.cells import Cell
from windtunnel.farm_dispatcher.domain.device_runs import JobFailure
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farms.failure_kinds import FailureKind


def unsupported(message: str, hint: str = "") -> JobFailure:
    """The failure of what a farm cannot run at all.

    Args:
        message: what it cannot.
        hint: what to do.

    Returns:
        The failure.
    """
    return JobFailure(FailureKind.UNSUPPORTED, message, hint, code="unsupported")


def cell_refusal(cell: Cell, device: Device) -> JobFailure | None:
    """Why a device cannot run a cell, as far as its catalog says.

    Args:
        cell: of a farm run.
        device: of it.

    Returns:
        None: nothing speaks against it.
    """
    if cell.accelerator not in device.accelerators:
        known = ", ".join(device.accelerators)
        return unsupported(f"accelerator {cell.accelerator!r} is not on {device.name}", f"it has {known}")
    if cell.threads < 1:
        return unsupported(f"{cell.threads} threads cannot run a model", "give 1 or more")
    return None
