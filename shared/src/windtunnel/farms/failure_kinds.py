"""The kinds of failure of a cell: what to do about it follows from the kind, whatever the farm."""

from __future__ import annotations

from enum import StrEnum


class FailureKind(StrEnum):
    """Why a cell has no measurement. The values are those of reports."""

    # The farm failed: the cell is tried again.
    INFRASTRUCTURE = "infrastructure"
    # The model or the app failed on the device.
    TEST = "test"
    # The device is not available, or the app does not fit it.
    DEVICE = "device"
    # The account may not run more now.
    QUOTA = "quota"
    # It took longer than it may.
    TIMEOUT = "timeout"
    # It would cost more than the plan or the installation allows.
    BUDGET = "budget"
    # The run was canceled, or its deadline has passed.
    CANCELLED = "cancelled"
    # The farm cannot run this at all.
    UNSUPPORTED = "unsupported"
    OTHER = "other"

    @property
    def is_retried(self) -> bool:
        """Whether another attempt may succeed: only where the farm itself failed."""
        return self is FailureKind.INFRASTRUCTURE
