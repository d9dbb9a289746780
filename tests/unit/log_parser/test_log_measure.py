"""Measurements from samples and from logs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from windtunnel.errors import InvalidInput
from windtunnel.log_parser import Latency, RunLog, measure, parse_log

LOGS = Path(__file__).parent / "logs"


def run(name: str) -> RunLog:
    return parse_log((LOGS / f"{name}.txt").read_bytes()).runs[0]


def test_samples_make_a_distribution() -> None:
    latency = measure(None, [1000.0, 2000.0, 3000.0, 4000.0]).latency_ms
    assert latency.p50 == 2.5
    assert latency.p95 == pytest.approx(3.85)
    assert (latency.mean, latency.min, latency.max, latency.samples) == (2.5, 1.0, 4.0, 4)
    assert latency.std == pytest.approx(np.sqrt(1.25))


def test_float32_samples_are_summed_in_float64() -> None:
    samples = np.full(100_000, 16_777_217.0, dtype=np.float64)
    assert measure(None, samples.tolist()).latency_ms.mean == 16_777.217


def test_samples_win_over_the_log() -> None:
    result = measure(run("xnnpack_implicit"), [7000.0])
    assert result.latency_ms == Latency(p50=7, p95=7, mean=7, min=7, max=7, std=0, samples=1)
    assert result.init_ms == 102.321
    assert result.memory_mb == 112.25


def test_a_log_alone() -> None:
    result = measure(run("gpu_full_nnapi_none"), None)
    assert result.latency_ms == Latency(307.968, 315.711, 309.35, 305.938, 333.03, 4.411, 50)
    assert result.memory_mb == 375.48
    assert result.accelerator_requested == "gpu"
    assert result.delegate is not None and result.delegate.outcome == "full"
    assert [other.name for other in result.other_delegates] == ["nnapi"]


def test_what_a_log_lacks_stays_unknown() -> None:
    result = measure(run("truncated"), None)
    assert result.latency_ms == Latency()
    assert result.init_ms == 12.5
    assert result.memory_mb is None


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        ([], "shape (0,)"),
        ([1.0, float("nan")], "sample 1 is nan"),
        ([float("inf")], "sample 0 is inf"),
        ([3.0, 2.0, -1.0], "sample 2 is -1.0"),
        ([[1.0]], "shape (1, 1)"),
        (["fast"], "not numbers"),
    ],
)
def test_bad_samples_are_refused(samples: list[float], says: str) -> None:
    with pytest.raises(InvalidInput, match=says.replace("(", r"\(").replace(")", r"\)")):
        measure(None, samples)


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(InvalidInput, match="neither a log nor samples"):
        measure(None, None)
