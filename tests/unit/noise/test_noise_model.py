"""What is learned from identical jobs, and how pools share it."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from windtunnel.errors import InvalidInput
from windtunnel.noise import Noise, NoisePools, PoolKey, built_in_noise, fit_prior
from windtunnel.noise.job_model import HYPOTHESES


def drawn(scale: float, count: int, seed: int, slow_share: float = 0.0, slow_length: float = 0.5) -> list[float]:
    random = np.random.default_rng(seed)
    slow = np.where(random.random(count) < slow_share, random.exponential(slow_length, count), 0.0)
    return list(map(float, np.exp(random.normal(2.0, scale, count) + slow)))


def scale_of(noise: Noise) -> float:
    return sum(weight * one.scale for weight, one in zip(noise.weights, HYPOTHESES, strict=True))


def test_a_quiet_pool_and_a_noisy_one_are_learned() -> None:
    prior = built_in_noise()
    quiet, noisy = prior.learned([drawn(0.01, 20, 1)]), prior.learned([drawn(0.1, 20, 2)])
    assert 0.005 < scale_of(quiet) < 0.02 < 0.07 < scale_of(noisy) < 0.13
    assert quiet.jobs == noisy.jobs == 20
    assert quiet.difference < noisy.difference
    assert quiet.power(0.1, 0.05) > 0.99 > 0.6 > noisy.power(0.1, 0.05)


def test_the_difference_is_that_of_pairs() -> None:
    jobs = drawn(0.05, 400, 5, slow_share=0.3)
    noise = built_in_noise().learned([jobs])
    found = sorted(a / b for i, a in enumerate(jobs) for j, b in enumerate(jobs) if i != j)
    assert 1 + noise.difference == pytest.approx(found[int(0.95 * len(found))], rel=0.12)


def test_groups_may_differ_in_speed_and_unit() -> None:
    jobs = drawn(0.03, 10, 3)
    as_one = built_in_noise().learned([jobs, [1000 * job for job in jobs]])
    as_two = built_in_noise().learned([jobs]).learned([jobs])
    assert as_one.weights == pytest.approx(as_two.weights, abs=1e-9)
    assert as_one.jobs == as_two.jobs == 20


def test_a_group_of_one_says_nothing() -> None:
    assert built_in_noise().learned([[5.0], [7.0]]) == built_in_noise()


def test_identical_figures_are_the_quietest_noise() -> None:
    noise = built_in_noise().learned([[5.0] * 20])
    assert scale_of(noise) < 0.006 and math.isfinite(noise.difference)


def test_json_keeps_the_noise() -> None:
    noise = built_in_noise().learned([drawn(0.02, 12, 7)])
    read = Noise.from_json(json.loads(json.dumps(noise.to_json(), allow_nan=False)))
    assert read.jobs == 12
    assert read.difference == pytest.approx(noise.difference, rel=1e-3)
    assert read.weights == pytest.approx(noise.weights, abs=1e-4)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "the schema of the noise is None"),
        ({"schema": "windtunnel.noise/1"}, "cannot be read"),
        (
            {
                "schema": "windtunnel.noise/1",
                "jobs": 1,
                "hypotheses": [{"scale": 7, "slow_share": 0, "slow_length": 0, "weight": 1}],
            },
            "cannot be read",
        ),
        ({"schema": "windtunnel.noise/1", "jobs": 1, "hypotheses": []}, "not probabilities"),
    ],
)
def test_what_is_not_a_noise_is_refused(document: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Noise.from_json(document)


def test_weights_must_be_probabilities() -> None:
    with pytest.raises(InvalidInput, match="must add up to 1"):
        dataclasses.replace(built_in_noise(), weights=tuple(0.5 for _ in HYPOTHESES))
    with pytest.raises(InvalidInput, match="3 weights"):
        Noise((0.2, 0.3, 0.5))


def test_the_prior_knows_what_pools_are_like() -> None:
    pools = [drawn(0.02, 20, seed) for seed in range(5)]
    prior = fit_prior(pools)
    near = sum(w for w, one in zip(prior.weights, HYPOTHESES, strict=True) if 0.01 < one.scale < 0.03)
    assert near > 0.5
    # A new pool may be unlike them.
    assert min(prior.weights) > 1e-4
    with pytest.raises(InvalidInput, match="no pool has two identical jobs"):
        fit_prior([[1.0], [2.0]])


def key(
    accelerator: str = "gpu", workload: str = "a", device: str = "pixel", figure: str = "latency_ms.p50"
) -> PoolKey:
    return PoolKey("aws", device, accelerator, figure, workload)


def test_a_new_workload_expects_what_others_on_its_device_show() -> None:
    prior = built_in_noise()
    noisy = [drawn(0.15, 20, seed) for seed in range(4)]
    same = NoisePools(prior, {key(workload=str(i)): [jobs] for i, jobs in enumerate(noisy)}).of(key(workload="new"))
    other_accelerator = NoisePools(prior, {key("cpu", workload=str(i)): [jobs] for i, jobs in enumerate(noisy)}).of(
        key(workload="new")
    )
    assert scale_of(prior) < scale_of(other_accelerator) < scale_of(same)
    assert same.jobs == 0


@pytest.mark.parametrize("far", [key(device="galaxy"), key(figure="init_ms")])
def test_another_device_or_figure_says_nothing(far: PoolKey) -> None:
    prior = built_in_noise()
    assert NoisePools(prior, {far: [drawn(0.15, 20, 1)]}).of(key()).weights == pytest.approx(prior.weights)


def test_own_jobs_count_most() -> None:
    pools = NoisePools(built_in_noise(), {key(workload="other"): [drawn(0.15, 20, 1)], key(): [drawn(0.01, 20, 2)]})
    assert scale_of(pools.of(key())) < 0.02
    assert pools.of(key()).jobs == 20
