"""Errors of Windtunnel as failures of a job."""

from __future__ import annotations

from windtunnel.errors import FarmError, InvalidInput, JobFailed, Unsupported, WindtunnelError
from windtunnel.farm_dispatcher.domain.device_runs import JobFailure
from windtunnel.farms.failure_kinds import FailureKind


def failure_of(error: WindtunnelError) -> JobFailure:
    """What an error says about the job that raised it.

    Args:
        error: of one job.

    Returns:
        Its failure.
    """
    detail = error.stderr if isinstance(error, JobFailed) else ""
    return JobFailure(_kind_of(error), error.message, error.hint, detail=detail, code=error.code)


def _kind_of(error: WindtunnelError) -> FailureKind:
    if isinstance(error, FarmError):
        return FailureKind(error.kind)
    if isinstance(error, Unsupported):
        return FailureKind.UNSUPPORTED
    if isinstance(error, JobFailed):
        return FailureKind.TIMEOUT if error.how == "timeout" else FailureKind.TEST
    # The runtime refuses the model, or the shapes that the plan gives it.
    return FailureKind.TEST if isinstance(error, InvalidInput) else FailureKind.OTHER
