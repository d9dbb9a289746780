"""One job of a run: its states on the virtual clock, and what really runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from support.farm_peers.aws.faults import Outcome
from support.farm_peers.aws.test_host import Execution

# Seconds that a job takes in each state before it waits for a slot, and before its test starts.
PENDING_S: Final = 10.0
SCHEDULING_S: Final = 5.0
PREPARING_S: Final = 30.0
STOPPING_S: Final = 6.0
WAITING: Final = ("PENDING", "PROCESSING", "SCHEDULING", "PENDING_CONCURRENCY", "PENDING_DEVICE")
TIMED_OUT: Final = "The job was stopped because it exceeded the job timeout."


@dataclass
class Job:
    """A job; times are those of the virtual clock, `minutes` what is billed when it has ended."""

    arn: str
    device: Mapping[str, Any]
    outcome: Outcome
    created: float
    timeout_minutes: int
    # Makes what runs; None: nothing does (standard environment, iOS).
    prepare: Callable[[], Execution] | None
    status: str = "PENDING"
    result: str = "PENDING"
    message: str | None = None
    slot_at: float | None = None
    test_at: float | None = None
    stopping_at: float | None = None
    stopped: float | None = None
    minutes: float = 0.0
    execution: Execution | None = None
    artifacts: list[tuple[str, str, str, str, bytes]] = field(default_factory=list)

    @property
    def in_flight(self) -> bool:
        return self.status != "COMPLETED"

    @property
    def holds_slot(self) -> bool:
        return self.slot_at is not None and self.in_flight

    def step(self, now: float, has_slot: Callable[[], bool]) -> None:
        """Moves on to its state at `now`."""
        if self.stopping_at is not None and self.status == "STOPPING" and now >= self.stopping_at + STOPPING_S:
            self.end(self.stopping_at + STOPPING_S, "STOPPED", self.message or "The run was stopped.")
        if self.status in WAITING:
            self._wait(now, has_slot)
        if self.status == "PREPARING" and self.slot_at is not None and now >= self.slot_at + PREPARING_S:
            self._begin(self.slot_at + PREPARING_S)
        if self.status == "RUNNING":
            self._watch(now)

    def stop(self, now: float) -> None:
        """StopRun: free where the test has not begun; its minutes so far are billed where it has."""
        if not self.in_flight:
            return
        if self.test_at is None:
            self.end(now, "STOPPED", "The run was stopped.")
            return
        self.status, self.stopping_at = "STOPPING", now
        if self.execution is not None:
            self.execution.kill()

    def _wait(self, now: float, has_slot: Callable[[], bool]) -> None:
        if now < self.created + PENDING_S:
            self.status = "PENDING"
        elif now < self.created + PENDING_S + SCHEDULING_S:
            self.status = "SCHEDULING"
        elif self.slot_at is None and not has_slot():
            self.status = "PENDING_CONCURRENCY"
        elif now < self.created + PENDING_S + SCHEDULING_S + self.outcome.device_wait_s:
            self.status = "PENDING_DEVICE"
        else:
            self.status, self.slot_at = "PREPARING", now

    def _begin(self, at: float) -> None:
        if not self.outcome.runs:
            self.end(at, self.outcome.result or "ERRORED", self.outcome.message)
            return
        self.status, self.test_at = "RUNNING", at
        if self.prepare is not None:
            self.execution = self.prepare()
            self.execution.start()

    def _watch(self, now: float) -> None:
        assert self.test_at is not None
        minutes = min(self.outcome.minutes, float(self.timeout_minutes))
        if now < self.test_at + minutes * 60:
            return
        if self.outcome.minutes >= self.timeout_minutes:
            if self.execution is not None:
                self.execution.kill()
            self.end(self.test_at + minutes * 60, self.outcome.result or "STOPPED", self.outcome.message or TIMED_OUT)
        elif self.execution is None or self.execution.ended.is_set():
            passed = self.execution is None or self.execution.passed
            self.end(
                self.test_at + minutes * 60,
                self.outcome.result or ("PASSED" if passed else "FAILED"),
                self.outcome.message or (None if passed else "Tests failed: a command of the test phase failed."),
            )

    def end(self, at: float, result: str, message: str | None) -> None:
        """Ends it; what it took so far is billed."""
        self.status, self.result, self.message, self.stopped = "COMPLETED", result, message, at
        if self.test_at is not None:
            self.minutes = round((at - self.test_at) / 60, 4)

    def counters(self) -> dict[str, int]:
        """Setup, the test, teardown; all 0 if no test was counted."""
        zero = dict.fromkeys(("total", "passed", "failed", "warned", "errored", "stopped", "skipped"), 0)
        if self.in_flight or not self.outcome.counted or self.test_at is None:
            return zero
        if self.result == "PASSED":
            return {**zero, "total": 3, "passed": 3}
        return {**zero, "total": 3, "passed": 2, self.result.lower(): 1}
