"""Logs of benchmarks that end before their summary: the device was lost, whatever the exit status says."""

from __future__ import annotations

import re
from typing import Final

from windtunnel.farm_dispatcher.domain.device_runs import JobFailure
from windtunnel.farms.failure_kinds import FailureKind

# Of TensorFlow Lite's tool, old and new, and of LiteRT's.
SUMMARY: Final = re.compile(r"nference timings in us|Inference \(avg\)")


def cut_log(log: str) -> JobFailure | None:
    """The failure of a job whose program ended well and whose log has no summary.

    Args:
        log: what the program printed.

    Returns:
        None: the log has its summary.
    """
    if SUMMARY.search(log):
        return None
    message = "its log ends before the summary"
    return JobFailure(FailureKind.INFRASTRUCTURE, message, hint="read the log; run it again", field="log")
