"""Raw latencies for Prometheus."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from windtunnel.artifacts import MemoryStore
from windtunnel.metrics_store.adapters.prometheus import BUCKETS, MAX_CELLS, PrometheusMetrics
from windtunnel.metrics_store.domain import facts
from windtunnel.metrics_store.domain.values import CellSpec, Latency, Measurement
from windtunnel.metrics_store.use_cases.read_latencies import SAMPLES, latencies
from windtunnel.run_conditions import RunConditions

COUNT = "windtunnel_inference_latency_seconds_count"
FACT = facts.Measured(
    CellSpec("c", "int8", "local", "host", "host", "12", "xnnpack", 1), 1, Measurement(Latency(p50=4.0))
)


def test_buckets_reach_from_a_tenth_of_a_microsecond_to_ten_seconds() -> None:
    assert BUCKETS[0] == 1e-7 and BUCKETS[-1] == 10.0
    assert list(BUCKETS) == sorted(set(BUCKETS))
    assert all(1.5 < high / low < 1.7 for low, high in pairwise(BUCKETS))
    assert {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0} <= set(BUCKETS)


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

    PrometheusMetrics(registry).measured("ssd", "3", FACT, await latencies(store, ref.sha256, FACT))

    assert registry.get_sample_value(COUNT, labels_of()) == SAMPLES


def labels_of(**changes: str) -> dict[str, str]:
    """The labels of FACT's cell."""
    own = {"model": "ssd", "version": "3", "variant": "int8", "device": "host", "accelerator": "xnnpack"}
    return {**own, "threads": "1", **changes}


def test_thread_counts_and_versions_are_apart() -> None:
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    other = facts.Measured(dataclasses.replace(FACT.cell, threads=4), 1, Measurement())
    for version, fact, count in (("3", FACT, 1), ("4", FACT, 2), ("3", other, 3)):
        metrics.measured("ssd", version, fact, [5e-7] * count)

    assert [
        registry.get_sample_value(COUNT, labels_of(**changes)) for changes in ({}, {"version": "4"}, {"threads": "4"})
    ] == [1, 2, 3]
    # Half a microsecond has a bucket of its own: it is not below the smallest.
    assert registry.get_sample_value(f"{COUNT.removesuffix('_count')}_bucket", labels_of(le="1e-07")) == 0


def test_versions_without_end_stay_bounded() -> None:
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    for number in range(MAX_CELLS + 50):
        metrics.measured("ssd", "kept", FACT, [0.001])
        metrics.measured("ssd", str(number), FACT, [0.001])

    (family,) = [one for one in registry.collect() if one.name == COUNT.removesuffix("_count")]
    found = {one.labels["version"] for one in family.samples}
    assert len(found) == MAX_CELLS and {"kept", str(MAX_CELLS + 49)} <= found and "0" not in found
    # A cell with new events continues to count; the oldest one goes.
    assert registry.get_sample_value(COUNT, labels_of(version="kept")) == MAX_CELLS + 50


def test_an_unstable_measurement_is_counted_and_its_latencies_are_not() -> None:
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    unstable = dataclasses.replace(
        FACT, measurement=dataclasses.replace(FACT.measurement, conditions=RunConditions(unstable=True, reason="busy"))
    )
    metrics.measured("ssd", "3", unstable, [0.004])
    metrics.measured("ssd", "3", FACT, [0.002])

    labels = {"model": "ssd", "version": "3", "variant": "int8", "device": "host", "accelerator": "xnnpack"}
    assert registry.get_sample_value(COUNT, {**labels, "threads": "1"}) == 1
    name = "windtunnel_unstable_measurements_total"
    assert registry.get_sample_value(name, {"model": "ssd", "device": "host"}) == 1
