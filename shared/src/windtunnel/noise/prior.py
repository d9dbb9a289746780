"""What is known of noise before a pool has run anything: fitted on many pools, kept in prior.json."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

import numpy as np

from windtunnel.errors import InvalidInput
from windtunnel.noise.job_model import HYPOTHESES, group_log_likelihood, log_figures
from windtunnel.noise.noise_model import Noise

_ROUNDS: Final = 200
# Half of the prior is spread evenly over the grid: a new pool may be unlike all that were seen.
_EVEN: Final = 0.5


@functools.cache
def built_in_noise() -> Noise:
    """The noise of a pool that nothing is known of.

    Returns:
        Fitted by `benchmarks/noise_gate.py --write-prior` on measured jobs of phones.
    """
    text = files("windtunnel.noise").joinpath("prior.json").read_text(encoding="utf-8")
    return Noise.from_json(json.loads(text))


def fit_prior(pools: Sequence[Sequence[float]]) -> Noise:
    """The distribution of hypotheses over pools.

    Expectation maximization for the weights of a mixture (Laird 1978, Journal of the American Statistical Association
    73), with half of the mass kept even over the grid.

    Args:
        pools: the figures of identical jobs of each pool, at least two.

    Returns:
        A prior for a pool that is none of them.

    Raises:
        InvalidInput: no pool has two jobs, or a figure is not a finite number above 0.
    """
    rows = [group_log_likelihood(log_figures(jobs, "pool")) for jobs in pools if len(jobs) > 1]
    if not rows:
        raise InvalidInput("no pool has two identical jobs", hint="a prior needs several pools with several jobs each")
    likelihood = np.asarray(rows)
    likelihood = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
    even = np.full(len(HYPOTHESES), 1.0 / len(HYPOTHESES))
    weights = even
    for _ in range(_ROUNDS):
        shares = weights * likelihood
        weights = (1.0 - _EVEN) * (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0) + _EVEN * even
    return Noise(tuple((weights / weights.sum()).tolist()))
