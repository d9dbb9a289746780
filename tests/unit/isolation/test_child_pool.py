"""ChildPool with real child processes: every way in which a job can end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import psutil
import pytest

from support import isolation_jobs as jobs
from windtunnel.errors import (
    Conflict,
    InternalError,
    InvalidInput,
    InvalidPlan,
    JobFailed,
    Unavailable,
    WindtunnelError,
)
from windtunnel.isolation import ChildPool, Progress


@pytest.fixture
async def pool() -> AsyncIterator[ChildPool]:
    async with ChildPool(timeout_s=20, memory_mb=500) as pool:
        yield pool
        assert await pool.run(jobs.add, 1, 1) == 2, "the pool must survive every job"


async def test_returns_the_result(pool: ChildPool) -> None:
    assert await pool.run(jobs.add, 2, b=3) == 5


async def test_mappings_that_cannot_be_changed_go_there_and_back(pool: ChildPool) -> None:
    view = MappingProxyType({"image": (1, 2)})
    found = await pool.run(jobs.itself, view)
    assert (type(found), found) == (MappingProxyType, view)


async def test_a_warm_child_is_used_again(pool: ChildPool) -> None:
    first = await pool.run(jobs.process_id)
    assert first != os.getpid()
    assert await pool.run(jobs.process_id) == first


@pytest.mark.heavy
async def test_a_used_up_child_is_replaced() -> None:
    async with ChildPool(timeout_s=20, memory_mb=500, max_jobs=2) as pool:
        pids = [await pool.run(jobs.process_id) for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]


@pytest.mark.heavy
@pytest.mark.parametrize(("job", "name"), [(jobs.abort, "SIGABRT"), (jobs.segfault, "SIGSEGV")])
async def test_a_crash_names_its_signal(pool: ChildPool, job: object, name: str) -> None:
    with pytest.raises(JobFailed, match=name) as caught:
        await pool.run(job)  # type: ignore[arg-type]
    assert caught.value.how == "signal"


@pytest.mark.heavy
async def test_a_crash_tells_the_last_lines(pool: ChildPool) -> None:
    await pool.run(jobs.noise, 3)
    with pytest.raises(JobFailed, match="line 99") as caught:
        await pool.run(jobs.noisy_abort, 100)
    assert caught.value.stderr.splitlines() == [f"line {number}" for number in range(80, 100)]


@pytest.mark.heavy
async def test_lines_of_an_earlier_job_are_not_blamed(pool: ChildPool) -> None:
    await pool.run(jobs.noise, 3)
    with pytest.raises(JobFailed) as caught:
        await pool.run(jobs.leave, 7)
    assert (caught.value.how, caught.value.stderr) == ("exit", "")
    assert "status 7" in str(caught.value)


@pytest.mark.heavy
async def test_a_job_past_its_time_is_killed(pool: ChildPool) -> None:
    before = time.monotonic()
    with pytest.raises(JobFailed, match=r"0\.3 s") as caught:
        await pool.run(jobs.nap, 30, timeout_s=0.3)
    assert caught.value.how == "timeout"
    assert time.monotonic() - before < 5


@pytest.mark.heavy
async def test_a_job_past_its_memory_is_killed(pool: ChildPool) -> None:
    with pytest.raises(JobFailed, match="200 MB") as caught:
        await pool.run(jobs.allocate, 400, memory_mb=200)
    assert caught.value.how == "memory"


async def test_memory_error_is_a_memory_failure(pool: ChildPool) -> None:
    with pytest.raises(JobFailed, match="asked for too much") as caught:
        await pool.run(jobs.out_of_memory)
    assert caught.value.how == "memory"


@pytest.mark.heavy
async def test_a_kill_from_outside_may_be_retried(pool: ChildPool) -> None:
    with pytest.raises(Unavailable, match="SIGKILL") as caught:
        await pool.run(jobs.be_killed_from_outside)
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("input", InvalidInput), ("plan", InvalidPlan), ("conflict", Conflict), ("internal", InternalError)],
)
async def test_our_errors_come_back_as_themselves(pool: ChildPool, kind: str, expected: type[WindtunnelError]) -> None:
    with pytest.raises(expected) as caught:
        await pool.run(jobs.raise_kind, kind)
    assert type(caught.value) is expected
    if isinstance(caught.value, InvalidPlan):
        assert (caught.value.line, caught.value.path) == (3, "gates")
    if isinstance(caught.value, Conflict):
        assert caught.value.code == "taken"


async def test_a_job_failed_of_the_job_keeps_its_fields(pool: ChildPool) -> None:
    with pytest.raises(JobFailed, match="inner") as caught:
        await pool.run(jobs.raise_kind, "job")
    assert (caught.value.how, caught.value.stderr) == ("signal", "inner lines")


async def test_other_exceptions_fail_the_job_with_their_traceback(pool: ChildPool) -> None:
    before = await pool.run(jobs.process_id)
    with pytest.raises(JobFailed, match="ValueError: library says no") as caught:
        await pool.run(jobs.raise_kind, "other")
    assert caught.value.how == "exit"
    assert "raise_kind" in caught.value.stderr
    assert await pool.run(jobs.process_id) == before, "a Python exception must not cost a warm child"


async def test_sys_exit_fails_the_job_only(pool: ChildPool) -> None:
    with pytest.raises(JobFailed, match="SystemExit"):
        await pool.run(jobs.soft_exit, 0)


async def test_noise_on_stdout_does_not_disturb(pool: ChildPool) -> None:
    assert await pool.run(jobs.noise, 20_000) == 20_000


@pytest.mark.heavy
async def test_large_arguments_and_results(pool: ChildPool) -> None:
    array = await pool.run(jobs.big_array, 50)
    assert array.nbytes == 50_000_000
    assert np.array_equal(array, np.arange(6_250_000, dtype=np.float64))
    assert await pool.run(jobs.total, array) == float(array.sum())


async def test_what_cannot_be_sent_is_our_bug(pool: ChildPool) -> None:
    with pytest.raises(InternalError, match="result"):
        await pool.run(jobs.unpicklable)
    with pytest.raises(InternalError, match="arguments"):
        await pool.run(jobs.add, 1, lambda: None)
    with pytest.raises(InternalError, match="top of a module"):
        await pool.run(lambda: None)


async def test_progress_arrives_in_order(pool: ChildPool) -> None:
    seen: list[Progress] = []
    assert await pool.run(jobs.report, 4, on_progress=seen.append) == "done"
    assert seen == [Progress(step / 4, f"step {step}") for step in range(1, 5)]


@pytest.mark.heavy
async def test_an_error_of_the_listener_ends_the_job(pool: ChildPool) -> None:
    def refuse(progress: Progress) -> None:
        raise Conflict(f"no {progress.text}")

    with pytest.raises(Conflict, match="step 1"):
        await pool.run(jobs.report, 2, on_progress=refuse)


@pytest.mark.heavy
async def test_two_children_work_at_once() -> None:
    async with ChildPool(size=2, timeout_s=20, memory_mb=500) as pool:
        before = time.monotonic()
        pids = await asyncio.gather(*(pool.run(jobs.nap, 0.5) for _ in range(4)))
        elapsed = time.monotonic() - before
    assert len(set(pids)) == 2
    assert 0.9 < elapsed < 1.9


@pytest.mark.heavy
async def test_cancelling_kills_the_child(pool: ChildPool) -> None:
    pid = await pool.run(jobs.process_id)
    job = asyncio.create_task(pool.run(jobs.nap, 30))
    await asyncio.sleep(0.2)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert not psutil.pid_exists(pid)


@pytest.mark.heavy
async def test_an_idle_child_that_died_is_not_noticed_by_the_next_job(pool: ChildPool) -> None:
    pid = await pool.run(jobs.process_id)
    os.kill(pid, signal.SIGKILL)
    assert await pool.run(jobs.process_id) != pid


async def test_a_job_has_a_private_folder_that_goes(pool: ChildPool) -> None:
    first, second = Path(await pool.run(jobs.write_file, "a")), Path(await pool.run(jobs.write_file, "a"))
    assert first != second
    assert not first.parent.exists()
    assert not second.parent.exists()


async def test_modules_are_loaded_before_the_first_job() -> None:
    async with ChildPool(preload=["wave"], timeout_s=20, memory_mb=500, env={"EXTRA": "1"}) as pool:
        assert await pool.run(jobs.preloaded, "wave")
        assert not await pool.run(jobs.preloaded, "sndhdr_no_such")
        assert await pool.run(os.getenv, "EXTRA") == "1"


async def test_a_missing_preload_is_said() -> None:
    with pytest.raises(InternalError, match="no_such_module_here"):
        async with ChildPool(preload=["no_such_module_here"], timeout_s=20, memory_mb=500):
            pass


async def test_a_closed_pool_leaves_no_process() -> None:
    before = set(psutil.Process().children(recursive=True))
    async with ChildPool(size=2, timeout_s=20, memory_mb=500) as pool:
        with pytest.raises(JobFailed):
            await pool.run(jobs.abort)
        assert set(psutil.Process().children(recursive=True)) - before
    assert set(psutil.Process().children(recursive=True)) - before == set(), "a child or a zombie is left"
    with pytest.raises(Unavailable, match="closed"):
        await pool.run(jobs.add, 1, 1)
    with pytest.raises(InternalError, match="not running"):
        await ChildPool(timeout_s=1, memory_mb=100).run(jobs.add, 1, 1)


async def test_closing_ends_what_runs_and_what_starts() -> None:
    before = set(psutil.Process().children(recursive=True))
    pool = ChildPool(size=1, timeout_s=20, memory_mb=500)
    await pool.start()
    job = asyncio.create_task(pool.run(jobs.nap, 30))
    await asyncio.sleep(0.1)
    await pool.close()
    with pytest.raises(Unavailable):
        await job
    async with ChildPool(size=1, timeout_s=20, memory_mb=500, max_jobs=1) as other:
        await other.run(jobs.add, 1, 1)
    assert set(psutil.Process().children(recursive=True)) - before == set()


async def test_a_replacement_that_closing_forbids_is_nothing_to_complain_of() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    pool = ChildPool(size=1, timeout_s=20, memory_mb=500)
    await pool.start()
    # The job's end asks for the next child just before the pool is closed.
    replacing = asyncio.create_task(pool._slots[0].replace())
    await asyncio.sleep(0)
    await pool.close()
    await replacing
    await asyncio.sleep(0.05)
    del pool, replacing
    gc.collect()
    assert complaints == []


async def test_a_job_that_waits_for_a_worker_fails_as_unavailable_when_the_pool_closes() -> None:
    pool = ChildPool(timeout_s=20, memory_mb=500, max_jobs=1)
    await pool.start()
    await pool.run(jobs.add, 1, 1)
    waiting = [asyncio.create_task(pool.run(jobs.add, 1, 1)) for _ in range(2)]
    await asyncio.sleep(0)
    await pool.close()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable, Unavailable]


@pytest.mark.heavy
async def test_open_files_do_not_pile_up() -> None:
    async with ChildPool(timeout_s=20, memory_mb=500) as pool:
        with pytest.raises(JobFailed):
            await pool.run(jobs.leave, 1)
        await pool.run(jobs.add, 1, 1)
        before = psutil.Process().num_fds()
        for _ in range(3):
            with pytest.raises(JobFailed):
                await pool.run(jobs.leave, 1)
        await pool.run(jobs.add, 1, 1)
        assert psutil.Process().num_fds() <= before


def test_children_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = f"from support import isolation_jobs as j; j.serve_until_killed({str(pid_file)!r})"
    tests = Path(jobs.__file__).parents[1]
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(tests)})
    try:
        child = _wait_for_pid(pid_file)
        assert psutil.pid_exists(child)
    finally:
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 5
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.02)


def _wait_for_pid(path: Path) -> int:
    deadline = time.monotonic() + 20
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(path.read_text())
