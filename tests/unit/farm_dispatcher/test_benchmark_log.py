"""Our benchmark log is read whole by the parser of such logs."""

from __future__ import annotations

import dataclasses
import statistics
from typing import Any

import pytest

from windtunnel.farm_dispatcher.adapters.benchmark.benchmark_log import render
from windtunnel.farm_dispatcher.adapters.benchmark.delegation import Delegation
from windtunnel.farm_dispatcher.adapters.benchmark.measurement import Measured
from windtunnel.log_parser import RunLog, parse_log

TIMES = tuple(1000.0 + (index * 37 % 101) * 13.4 for index in range(60))


def measured(**changes: Any) -> Measured:
    usual = Measured(
        model_bytes=13_978_624,
        accelerator="xnnpack",
        threads=2,
        init_us=20_345.6,
        warmup_us=(2500.4, 1300.0, 1290.0),
        inference_us=TIMES,
        init_mb=27.5,
        overall_mb=31.25,
        delegation=Delegation(60, 65, 3, 5),
    )
    return dataclasses.replace(usual, **changes)


def parsed(item: Measured) -> RunLog:
    log = parse_log(render(item))
    assert log.unrecognized_lines == 0
    (run,) = log.runs
    assert run.error is None
    assert run.warnings == ()
    assert not run.truncated
    return run


def test_every_figure_comes_back() -> None:
    run = parsed(measured())
    assert (run.tool, run.model, run.threads, run.accelerator_requested) == ("tflite", "model.tflite", 2, "xnnpack")
    assert run.model_size_mb == pytest.approx(13.9786)
    assert (run.init_us, run.first_inference_us) == (20_346, 2500)
    assert (run.warmup.count, run.warmup.first_us, run.warmup.min_us) == (3, 2500, 1290)
    series = [round(time) for time in TIMES]
    found = run.inference
    assert (found.count, found.first_us, found.min_us, found.max_us) == (60, series[0], min(series), max(series))
    assert found.avg_us == pytest.approx(statistics.fmean(series), rel=1e-5)
    assert found.std_us == pytest.approx(statistics.pstdev(series), rel=1e-5)
    assert found.p5_us is not None and found.median_us is not None and found.p95_us is not None
    assert found.p5_us < found.median_us < found.p95_us
    assert (run.memory.init_mb, run.memory.overall_mb, run.memory.kind) == (27.5, 31.25, "peak")


@pytest.mark.parametrize(
    ("delegation", "outcome", "kernels"),
    [
        (Delegation(65, 65, 1, 1), "full", None),
        (Delegation(60, 65, 3, 5), "partial", 3),
        (Delegation(0, 65, 0, 1), "none", None),
    ],
)
def test_delegate(delegation: Delegation, outcome: str, kernels: int | None) -> None:
    run = parsed(measured(delegation=delegation))
    assert run.delegate is not None
    assert (run.delegate.name, run.delegate.implicit, run.delegate.outcome) == ("xnnpack", False, outcome)
    assert run.delegate.kernels == kernels
    if outcome != "none":
        assert (run.delegate.nodes_delegated, run.delegate.nodes_total) == (delegation.nodes_delegated, 65)
        assert run.delegate.partitions == delegation.partitions


def test_no_delegate() -> None:
    run = parsed(measured(accelerator="cpu", delegation=Delegation(0, 65, 0, 1)))
    assert run.accelerator_requested == "cpu"
    assert run.delegate is None
    assert run.other_delegates == ()


def test_one_warmup_run_and_equal_times() -> None:
    run = parsed(measured(warmup_us=(7.2,), inference_us=(3.0,) * 50))
    assert (run.warmup.count, run.warmup.avg_us) == (1, 7.2)
    assert (run.inference.count, run.inference.avg_us) == (50, 3)


def test_memory_that_the_system_does_not_tell_is_left_out() -> None:
    run = parsed(measured(init_mb=None, overall_mb=None))
    assert run.memory.init_mb is None and run.memory.overall_mb is None
