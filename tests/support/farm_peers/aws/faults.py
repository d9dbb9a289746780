"""What goes wrong, on request."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from support.farm_peers.aws.api import Refused


@dataclass
class Bucket:
    """A token bucket of one operation: `size` at once, then `per_s` a second of real time."""

    size: float
    per_s: float
    _tokens: float | None = None
    _at: float = 0.0

    def take(self) -> bool:
        now = time.monotonic()
        tokens = self.size if self._tokens is None else min(self.size, self._tokens + (now - self._at) * self.per_s)
        self._at = now
        self._tokens = tokens - 1 if tokens >= 1 else tokens
        return tokens >= 1


@dataclass(frozen=True)
class Outcome:
    """How a job goes.

    `result` None: as the commands of its test spec end. `minutes` of the device, as billed. `runs` False: the test
    never starts. `device_wait_s`: how long the device is busy with others. `counted`: tests in the counters.
    """

    result: str | None = None
    message: str | None = None
    result_code: str | None = None
    minutes: float = 1.7
    runs: bool = True
    device_wait_s: float = 0.0
    counted: bool = True
    # Customer artifacts above 1 GB: all of them are lost.
    artifacts_lost: bool = False
    other_device: bool = False


@dataclass
class Faults:
    """Changed by tests at any time. Each entry of a list is used once, in order."""

    # Operation -> answers that it gives instead of working.
    refuse: dict[str, list[Refused]] = field(default_factory=dict)
    # Operations that are done, and whose answer is lost.
    lose_answer: list[str] = field(default_factory=list)
    # Operations whose connection is closed before anything is done.
    drop: list[str] = field(default_factory=list)
    # Operations that answer only after so many seconds.
    slow: dict[str, list[float]] = field(default_factory=dict)
    buckets: dict[str, Bucket] = field(default_factory=dict)
    # How the next jobs go; empty: well.
    outcomes: list[Outcome] = field(default_factory=list)
    # Messages with which the next uploads fail.
    upload_failures: list[str] = field(default_factory=list)
    # PUTs that store nothing and answer 503, and bytes that arrive changed.
    failed_puts: int = 0
    # The lowest level whose artifacts ListArtifacts shows: run, job, suite or test.
    artifacts_at: str = "run"
    # ListArtifacts shows them so long after the end of a job, in virtual seconds.
    artifacts_late_s: float = 0.0
    # ListRuns shows a run only when it is so old, in virtual seconds.
    runs_hidden_s: float = 0.0

    def refusal(self, operation: str) -> Refused | None:
        """What the operation answers instead of working; None: it works."""
        queued = self.refuse.get(operation)
        if queued:
            return queued.pop(0)
        bucket = self.buckets.get(operation)
        if bucket is not None and not bucket.take():
            return Refused("ThrottlingException", "Rate exceeded")
        return None
