"""Measuring on this host: when a series ends, what is refused, and that measurements take turns."""

from __future__ import annotations

import asyncio
import fcntl
import time
from pathlib import Path

import numpy as np
import pytest

from support.graphs import GraphWriter, dense_model
from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.farm_dispatcher.adapters.benchmark import measure_model as benchmark
from windtunnel.farm_dispatcher.adapters.benchmark.measurement import Patience, Series
from windtunnel.farm_dispatcher.adapters.host.host_facts import host_facts
from windtunnel.farm_dispatcher.adapters.host.local_farm import LocalFarm, new_pool
from windtunnel.farm_dispatcher.bench import bench
from windtunnel.isolation import InlinePool
from windtunnel.log_parser import parse_log

SHORT = Series(min_runs=5, min_s=0.0, max_runs=10, max_s=1.0)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("series", "runs"),
    [
        (Series(7, 0.0, 100, 9.0), (7, 7)),
        (Series(1, 0.05, 1000, 9.0), (20, 60)),
        (Series(50, 1.0, 12, 9.0), (12, 12)),
        (Series(50, 1.0, 1000, 0.02), (5, 30)),
    ],
    ids=["fewest runs", "shortest time", "most runs", "longest time"],
)
def test_a_series_ends(series: Series, runs: tuple[int, int]) -> None:
    times = benchmark._timed(lambda: time.sleep(0.001), series)
    assert runs[0] <= len(times) <= runs[1]
    assert all(1000 <= one < 1_000_000 for one in times)


@pytest.mark.heavy
@pytest.mark.parametrize("accelerator", ["xnnpack", "cpu"])
def test_a_model_is_measured(tmp_path: Path, accelerator: str) -> None:
    model = dense_model(tmp_path / "m.tflite")
    found = benchmark.measure(model, accelerator, 2, procedure=benchmark.Procedure(SHORT, SHORT))
    assert (len(found.warmup_us), len(found.inference_us)) == (5, 5)
    assert found.init_us > 0
    assert found.model_bytes == model.stat().st_size
    assert (found.delegation.nodes_delegated, found.delegation.nodes_total) == (4 * (accelerator == "xnnpack"), 4)
    assert found.init_mb is not None and found.overall_mb is not None
    assert 0 <= found.init_mb <= found.overall_mb


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("float32", -0.5, 0.5), ("int8", -128, 127), ("uint8", 0, 255), ("int16", -32768, 32767), ("int32", 0, 99)],
)
def test_inputs_are_in_the_range_of_their_type(dtype: str, low: float, high: float) -> None:
    array = benchmark._random(np.random.default_rng(0), (4000,), np.dtype(dtype))
    assert array.dtype == dtype
    assert low <= array.min() < low + (high - low) * 0.05
    assert high >= array.max() > high - (high - low) * 0.05


def test_what_the_runtime_refuses_is_told(tmp_path: Path) -> None:
    writer = GraphWriter()
    source, output = writer.tensor("in", (1, 4)), writer.tensor("out", (1, 4))
    writer.op("Frobnicate", [source], [output])
    with pytest.raises(Unsupported, match="Frobnicate"):
        benchmark.measure(writer.write(tmp_path / "m.tflite", [source], [output]), "cpu", 1)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(InvalidInput, match="refuses the model"):
        benchmark.measure(tmp_path / "text", "cpu", 1)


def test_host_facts_name_the_runtime() -> None:
    facts = host_facts("host")
    assert facts.name == "host"
    assert facts.runtime.startswith("ai-edge-litert ")
    assert facts.cpu and facts.os
    assert facts.cores is not None and facts.cores >= 1
    assert facts.memory_bytes is not None and facts.memory_bytes > 1 << 28


@pytest.mark.heavy
async def test_measurements_take_turns_across_processes(tmp_path: Path) -> None:
    farm = LocalFarm(InlinePool(), tmp_path / "home" / "local-farm.lock")
    model = dense_model(tmp_path / "m.tflite")
    (tmp_path / "home").mkdir()
    # Another open file is what another process has.
    with (tmp_path / "home" / "local-farm.lock").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting = asyncio.create_task(farm.measure(model, "cpu", 1))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        fcntl.flock(other, fcntl.LOCK_UN)
        run = await asyncio.wait_for(waiting, 30)
    assert run.samples is not None


async def test_a_wait_for_the_lock_can_be_cancelled(tmp_path: Path) -> None:
    lock = tmp_path / "local-farm.lock"
    with lock.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting = asyncio.create_task(LocalFarm(InlinePool(), lock).measure(tmp_path / "m", "cpu", 1))
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(waiting, 5)


@pytest.mark.heavy
async def test_a_host_that_stays_busy_is_not_waited_for_again_and_again(tmp_path: Path) -> None:
    farm = LocalFarm(InlinePool(), tmp_path / "lock", Patience(repeats=0, own_s=100.0, others_s=5.0))
    assert farm._patience_now().own_s == 100.0
    farm._was_unstable = True
    assert farm._patience_now() == Patience(repeats=0, own_s=5.0, others_s=5.0)
    run = await farm.measure(dense_model(tmp_path / "m.tflite"), "cpu", 1)
    assert run.conditions is not None
    assert (farm._patience_now().own_s < 100.0) is run.conditions.unstable


@pytest.mark.heavy
async def test_bench_needs_no_service(tmp_path: Path) -> None:
    async with new_pool(60.0, 2000) as pool:
        run = await bench(dense_model(tmp_path / "m.tflite"), "xnnpack", 1, pool, lock=tmp_path / "lock")
    assert parse_log(run.log).unrecognized_lines == 0
    assert run.samples is not None and len(run.samples.inference) >= 50
    assert (run.facts.nodes_delegated, run.facts.nodes_total) == (4, 4)
