"""InlinePool: the same interface in a thread."""

from __future__ import annotations

import asyncio

import pytest

from support import isolation_jobs as jobs
from windtunnel.errors import InternalError, InvalidInput, JobFailed
from windtunnel.isolation import InlinePool, Progress, progress


async def test_result_errors_and_progress() -> None:
    seen: list[Progress] = []
    async with InlinePool() as pool:
        assert await pool.run(jobs.report, 2, on_progress=seen.append) == "done"
        with pytest.raises(InvalidInput, match="bad tensor"):
            await pool.run(jobs.raise_kind, "input")
        with pytest.raises(JobFailed, match="library says no") as caught:
            await pool.run(jobs.raise_kind, "other")
    assert caught.value.how == "exit"
    await asyncio.sleep(0)
    assert [one.fraction for one in seen] == [0.5, 1.0]


async def test_time_limit() -> None:
    with pytest.raises(JobFailed) as caught:
        await InlinePool().run(jobs.nap, 0.5, timeout_s=0.05)
    assert caught.value.how == "timeout"


async def test_refuses_what_a_child_could_not_run() -> None:
    with pytest.raises(InternalError, match="top of a module"):
        await InlinePool().run(lambda: 1)


def test_progress_outside_a_job_is_ignored_but_checked() -> None:
    progress(0.5, "nobody listens")
    with pytest.raises(InternalError, match="outside"):
        progress(float("nan"))
