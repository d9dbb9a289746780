"""Raw latencies for Prometheus."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from windtunnel.artifacts import MemoryStore
from windtunnel.metrics_store.domain import facts
from windtunnel.metrics_store.domain.values import CellSpec, Latency, Measurement
from windtunnel.metrics_store.metrics import BUCKETS, SAMPLES, Metrics, latencies

FACT = facts.Measured(
    CellSpec("c", "int8", "local", "host", "host", "12", "xnnpack", 1), 1, Measurement(Latency(p50=4.0))
)


def test_buckets_reach_from_ten_microseconds_to_ten_seconds() -> None:
    assert BUCKETS[0] == 1e-5 and BUCKETS[-1] == 10.0
    assert list(BUCKETS) == sorted(set(BUCKETS))
    assert {1e-4, 1e-3, 1e-2, 1e-1, 1.0} <= set(BUCKETS)


@pytest.mark.parametrize(("unit", "value"), [("ns", 2e6), ("us", 2e3), ("ms", 2), ("s", 0.002)])
async def test_units(unit: str, value: float) -> None:
    store = MemoryStore()
    ref = await store.put_bytes(json.dumps({"unit": unit, "inference": [value], "warmup": [9]}).encode())

    assert await latencies(store, ref.sha256, FACT) == [pytest.approx(0.002)]


@pytest.mark.parametrize(
    "samples",
    [
        "not JSON",
        [],
        {"unit": "us"},
        {"unit": "us", "inference": []},
        {"unit": "furlong", "inference": [1]},
        {"unit": "us", "inference": [1, None]},
        {"unit": "us", "inference": [1, -1]},
        {"unit": "us", "inference": [1, float("nan")]},
        {"unit": ["us"], "inference": [1]},
    ],
)
async def test_the_median_stands_in_for_samples_that_cannot_be_used(samples: Any) -> None:
    store = MemoryStore()
    ref = await store.put_bytes(samples.encode() if isinstance(samples, str) else json.dumps(samples).encode())

    assert await latencies(store, ref.sha256, FACT) == [pytest.approx(0.004)]
    assert await latencies(store, "0" * 64, FACT) == [pytest.approx(0.004)]
    assert await latencies(store, None, FACT) == [pytest.approx(0.004)]


async def test_nothing_is_observed_where_nothing_is_known() -> None:
    assert await latencies(MemoryStore(), None, facts.Measured(FACT.cell, 1, Measurement())) == []


async def test_no_more_than_the_cap_is_observed() -> None:
    store, registry = MemoryStore(), CollectorRegistry()
    ref = await store.put_bytes(json.dumps({"unit": "us", "inference": [1000] * (SAMPLES + 5)}).encode())

    Metrics(registry).measured("ssd", FACT, await latencies(store, ref.sha256, FACT))

    labels = {"model": "ssd", "variant": "int8", "device": "host", "accelerator": "xnnpack"}
    assert registry.get_sample_value("windtunnel_inference_latency_seconds_count", labels) == SAMPLES
