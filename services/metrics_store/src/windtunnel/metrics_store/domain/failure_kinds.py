"""Which kind of failure a cell has, for those events too that do not say it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.metrics_store.domain.values import Failure

# Codes of writers that give no kind.
_OF_CODE: Final[Mapping[str, FailureKind]] = MappingProxyType(
    {
        **dict.fromkeys(("unavailable", "attempts_exhausted", "farm", "outside"), FailureKind.INFRASTRUCTURE),
        **dict.fromkeys(("job_failed", "invalid_input"), FailureKind.TEST),
        # Error kinds of logs.
        **dict.fromkeys(("model_load_failure", "unsupported_op", "op_version", "delegate_failed"), FailureKind.TEST),
        **dict.fromkeys(("out_of_memory", "crash", "invalid_argument", "not_executed", "other"), FailureKind.TEST),
        "device": FailureKind.DEVICE,
        "quota": FailureKind.QUOTA,
        "timeout": FailureKind.TIMEOUT,
        "budget": FailureKind.BUDGET,
        "canceled": FailureKind.CANCELLED,
        "unsupported": FailureKind.UNSUPPORTED,
        "no_base_app": FailureKind.UNSUPPORTED,
    }
)


def kind_of_run(failure: Failure) -> FailureKind:
    """The kind of the failure of a device run.

    Args:
        failure: why a cell has no measurement.

    Returns:
        What the failure says, or what its code means.
    """
    return _said(failure.kind) or _OF_CODE.get(failure.code, FailureKind.OTHER)


def kind_of_app(failure: Failure) -> FailureKind:
    """The kind of the failure of cells whose app could not be built: nothing was tried on a device.

    Args:
        failure: of the app.

    Returns:
        What the failure says; otherwise `unsupported` or `other`.
    """
    of_code = _OF_CODE.get(failure.code)
    return _said(failure.kind) or (of_code if of_code is FailureKind.UNSUPPORTED else FailureKind.OTHER)


def kind_of_skip(kind: str) -> FailureKind:
    """The kind of the failure of a cell that was planned and is not run.

    Args:
        kind: as the planner says it; empty: an older one, which does not.

    Returns:
        The kind.
    """
    return _said(kind) or FailureKind.UNSUPPORTED


def _said(kind: str) -> FailureKind | None:
    return FailureKind(kind) if kind in tuple(FailureKind) else None
