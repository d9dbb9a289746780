"""The densities of the noise, compared with integrals and with jobs drawn from them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from windtunnel.errors import InvalidInput
from windtunnel.noise import job_model
from windtunnel.noise.job_model import HYPOTHESES, Hypothesis, group_log_likelihood, locations, log_figures

NORMAL = HYPOTHESES.index(Hypothesis(0.05, 0.0, 0.0))
MIXED = HYPOTHESES.index(Hypothesis(0.05, 0.3, 0.25))


def test_every_density_adds_up_to_one() -> None:
    total = np.exp(job_model._log_densities()).sum(axis=1) * job_model._TABLE_STEP
    assert total == pytest.approx(np.ones(len(HYPOTHESES)), abs=1e-4)


def test_the_modified_normal_is_a_convolution() -> None:
    x = np.array([-0.6, -0.1, -0.01, 0.0, 0.004, 0.05, 0.4, 2.0])
    for scale, length in ((0.005, 0.5), (0.05, 0.1), (0.2, 0.1)):
        step = scale / 50
        slower = (np.arange(round(12 * length / step)) + 0.5) * step
        normal = np.exp(-0.5 * ((x[:, None] - slower) / scale) ** 2) / (scale * math.sqrt(2 * math.pi))
        expected = (normal * np.exp(-slower / length) / length).sum(axis=1) * step
        assert job_model._modified_normal(x, scale, length) == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_the_likelihood_is_the_density_of_the_jobs_less_the_location() -> None:
    logs = np.log([10.0, 10.4, 13.0])
    found = locations(logs, np.array([NORMAL]))
    at = 260
    location = found.first + at * job_model.STEP
    outliers = [math.exp(-abs(y - location) / 0.5) for y in logs]
    normals = [math.exp(-0.5 * ((y - location) / 0.05) ** 2) / (0.05 * math.sqrt(2 * math.pi)) for y in logs]
    expected = sum(math.log(0.98 * normal + 0.02 * far) for normal, far in zip(normals, outliers, strict=True))
    assert found.log_likelihood[0, at] == pytest.approx(expected, abs=1e-3)


def test_a_density_explains_its_own_jobs_best() -> None:
    random = np.random.default_rng(3)
    normal = random.normal(0.0, 0.05, 200)
    slow = normal + np.where(random.random(200) < 0.3, random.exponential(0.25, 200), 0.0)
    by_normal = group_log_likelihood(np.sort(normal))
    by_slow = group_log_likelihood(np.sort(slow))
    assert HYPOTHESES[int(by_normal.argmax())].slow_share <= 0.05
    assert HYPOTHESES[int(by_slow.argmax())].slow_share in (0.15, 0.3, 0.5)
    assert by_slow[MIXED] > by_slow[NORMAL] + 20


def test_information_of_a_normal_mode_is_one_over_its_variance() -> None:
    assert job_model.information()[NORMAL] == pytest.approx(1 / 0.05**2, rel=0.1)
    # Slow jobs say less about the main mode.
    assert job_model.information()[MIXED] < 0.8 / 0.05**2


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_a_figure_that_is_no_time_is_refused(wrong: float) -> None:
    with pytest.raises(InvalidInput, match=r"job 2 of the baseline has the figure .*leave out jobs without"):
        log_figures([1.0, wrong], "baseline")


def test_no_jobs_are_refused() -> None:
    with pytest.raises(InvalidInput, match="there is no job of the candidate"):
        log_figures([], "candidate")


def test_a_wild_job_counts_as_far_away() -> None:
    logs = log_figures([1.0, 1.0, 1e30], "candidate")
    assert logs[-1] == pytest.approx(7.0)
    assert locations(logs, np.array([NORMAL])).log_likelihood.shape[1] < 3000
