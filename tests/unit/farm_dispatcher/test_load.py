"""What other processes do is seen in /proc: with real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from windtunnel.farm_dispatcher.adapters.benchmark.host_load import Watch
from windtunnel.farm_dispatcher.domain.trust_measurement import judge_series

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")


@contextmanager
def pinned() -> Iterator[int]:
    """This thread runs on one processor meanwhile."""
    before = os.sched_getaffinity(0)
    one = min(before)
    os.sched_setaffinity(0, {one})
    try:
        yield one
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def busy_loop(processor: int, *words: str) -> Iterator[None]:
    """A process that does nothing but work, on one processor."""
    code = f"import os; os.sched_setaffinity(0, {{{processor}}}); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def work(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_a_busy_loop_on_the_same_processor_makes_a_measurement_unstable() -> None:
    with pinned() as one, busy_loop(one):
        watch = Watch()
        work(0.6)
        load = watch.load()
    assert load.cores == 1
    assert load.other_cores is not None and load.other_cores > 0.25
    assert load.waited is not None and load.waited > 0.25
    assert judge_series([1.0] * 100, load, 1).is_unstable


def test_own_work_is_not_that_of_others() -> None:
    watch = Watch()
    work(0.5)
    load = watch.load()
    assert load.other_cores is not None and load.ran_s is not None
    # What this process did is known to the nanosecond; other tests may run at the same time.
    assert 0 < load.ran_s <= 0.6
    assert load.other_cores <= load.cores - load.ran_s / 0.5 + 0.2


def test_windtunnels_own_processes_are_told_from_others() -> None:
    with pinned() as one, busy_loop(one, "-m", "windtunnel.layer_diff"):
        watch = Watch(with_own=True)
        # Its time is counted in ticks of 10 ms, and on a loaded machine it gets them late.
        deadline = time.monotonic() + 20
        while not (watch.load().windtunnel_cores or 0) > 0.1:
            assert time.monotonic() < deadline, watch.load()
            time.sleep(0.02)
    watch = Watch()
    while watch.elapsed_s <= 0:
        pass
    assert watch.load().windtunnel_cores is None
