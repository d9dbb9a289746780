"""A job for a caller who waits: a busy farm is asked again, and a caller who gives up leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.domain.device_runs import Collected, Phase, Polled, Submitted
from windtunnel.farm_dispatcher.domain.farm_settings import FarmSettings, PollSeconds
from windtunnel.farm_dispatcher.use_cases.run_once import run_once

REQUEST: Any = type("Request", (), {"key": "wt-1"})()
FILES: Any = None


class SlowFarm:
    """Fails so often; `submitting` is set while it is asked to start, `go` lets it answer."""

    settings = FarmSettings(name="slow", poll_seconds=PollSeconds(0.001, 0.002))

    def __init__(self, failures: int = 0, *, retryable: bool = True) -> None:
        self.calls: Counter[str] = Counter()
        self.canceled: list[str] = []
        self.submitting, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()
        self._failures, self._retryable = failures, retryable

    def _count(self, name: str) -> None:
        self.calls[name] += 1
        if self.calls[name] <= self._failures:
            raise FarmError("busy", retryable=self._retryable)

    async def submit(self, request: Any, files: Any) -> Submitted:
        self._count("submit")
        self.submitting.set()
        await self.go.wait()
        return Submitted("id-1")

    async def find(self, key: str) -> Submitted | None:
        return None

    async def poll(self, submitted: Submitted) -> Polled:
        self._count("poll")
        return Polled(Phase.ENDED)

    async def collect(self, submitted: Submitted, request: Any, into: Path) -> Collected:
        self._count("collect")
        return Collected(())

    async def cancel(self, submitted: Submitted) -> None:
        self.canceled.append(submitted.id)


async def test_a_busy_farm_is_asked_again(tmp_path: Path) -> None:
    farm: Any = SlowFarm(failures=2)
    await run_once(farm, REQUEST, FILES, tmp_path, patience_s=30)
    assert farm.calls == {"submit": 3, "poll": 3, "collect": 3}


@pytest.mark.parametrize(("retryable", "patience_s"), [(False, 30.0), (True, 0.0)])
async def test_a_refusal_is_an_error_at_once(tmp_path: Path, retryable: bool, patience_s: float) -> None:
    farm: Any = SlowFarm(failures=1, retryable=retryable)
    with pytest.raises(FarmError, match="busy"):
        await run_once(farm, REQUEST, FILES, tmp_path, patience_s=patience_s)
    assert farm.calls == {"submit": 1}


async def test_a_run_that_is_being_started_is_canceled_too(tmp_path: Path) -> None:
    farm: Any = SlowFarm()
    farm.go.clear()
    work = asyncio.create_task(run_once(farm, REQUEST, FILES, tmp_path, on_cancel=farm.go.set))
    await farm.submitting.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert farm.canceled == ["id-1"]


async def test_what_was_found_is_not_submitted_again(tmp_path: Path) -> None:
    farm: Any = SlowFarm()
    submitted, _ = await run_once(farm, REQUEST, FILES, tmp_path, found=Submitted("earlier"))
    assert submitted.id == "earlier" and "submit" not in farm.calls
