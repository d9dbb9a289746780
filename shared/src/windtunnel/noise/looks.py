"""When jobs are compared, and how sure an alarm must be at each of these looks.

Looking again after each new job gives noise several chances to raise an alarm. The boundary of O'Brien and Fleming
(1979, Biometrics 35) allows for it: an alarm after a share f of the jobs needs z / sqrt(f) standard errors.

z is calibrated on measured jobs of phones, each series judged with what the others taught (benchmarks/noise_gate.py):
of all pairs of identical jobs, 3 to 4 % raise an alarm. In the noisiest pools it is more: there the limit of the gate
adds nothing, and a single look at all jobs alone raises an alarm in 6 %.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

# Jobs of the candidate, and of the baseline, at most.
MOST_JOBS: Final = 6
# The numbers of jobs of the candidate after which it is compared.
LOOKS: Final = (1, 3, MOST_JOBS)
# Standard errors that an alarm with all jobs needs: z above.
_BOUNDARY: Final = 1.55
# How likely an increase above the limit must be for an alarm, whatever the noise.
LIKELIER: Final = 0.6
# How unlikely an increase above the limit must be to stop before all jobs are there, and with less than 3 jobs.
_UNLIKELY: Final = 0.03
_UNLIKELY_EARLY: Final = 0.01
_EARLY: Final = 3


def confidence(candidate: int, baseline: int) -> float:
    """How sure it must be that the candidate is slower at all before an alarm is raised.

    Args:
        candidate: how many jobs it has.
        baseline: how many jobs it has.

    Returns:
        Phi(z sqrt(MOST_JOBS / n)), n the harmonic mean of both numbers, at most MOST_JOBS.
    """
    return NormalDist().cdf(_BOUNDARY * math.sqrt(MOST_JOBS / _pairs(candidate, baseline)))


def unlikely(candidate: int, baseline: int) -> float:
    """How unlikely an increase above the limit must be to call the candidate not slower.

    Args:
        candidate: how many jobs it has.
        baseline: how many jobs it has.

    Returns:
        A probability.
    """
    return _UNLIKELY if _pairs(candidate, baseline) >= _EARLY else _UNLIKELY_EARLY


def pairs_wanted(jobs: int) -> int:
    """How many more pairs of jobs an undecided comparison needs for its next look.

    Args:
        jobs: how many the candidate has, or the baseline if it has fewer.

    Returns:
        0: it has `MOST_JOBS`, and more are not spent on it.
    """
    return next((look - jobs for look in LOOKS if look > jobs), 0)


def _pairs(candidate: int, baseline: int) -> float:
    """So many pairs of jobs say as much as these two numbers of jobs."""
    return min(2.0 / (1.0 / candidate + 1.0 / baseline), float(MOST_JOBS))
