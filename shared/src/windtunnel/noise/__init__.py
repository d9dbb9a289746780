"""What identical jobs differ by, and whether a candidate is slower than that explains.

A *job* is one measurement of a cell; its figure is one number above 0, such as the median latency of its inferences.
A *pool* is what jobs share their noise in: farm, device model, accelerator and figure (`PoolKey`).

    built-in prior ── families of pools ── posterior of a pool (`NoisePools.of`, `Noise.learned`)
    compare(candidate jobs, baseline jobs, noise, max_increase) ── `Comparison`

docs/noise.md has the model, the decision rule and what they reach on measured jobs. Everything here is a pure function
of its arguments: no clock, no random numbers, no transport.
"""

from windtunnel.noise.compare_jobs import Comparison, Decision, compare
from windtunnel.noise.job_model import Hypothesis
from windtunnel.noise.looks import LOOKS, MOST_JOBS, pairs_wanted
from windtunnel.noise.noise_model import Noise
from windtunnel.noise.pools import NoisePools, PoolKey
from windtunnel.noise.prior import built_in_noise, fit_prior

__all__ = [
    "LOOKS",
    "MOST_JOBS",
    "Comparison",
    "Decision",
    "Hypothesis",
    "Noise",
    "NoisePools",
    "PoolKey",
    "built_in_noise",
    "compare",
    "fit_prior",
    "pairs_wanted",
]
