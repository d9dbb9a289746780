"""The noise of many pools: what those of one device have in common helps one that has few jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from windtunnel.noise.noise_model import Noise, mixed

# How many workloads of the pool itself the general prior counts as, and how much one on another accelerator counts.
_OF_PRIOR: Final = 2.0
_OF_POOL: Final = 1.0
_OF_DEVICE: Final = 0.5


@dataclass(frozen=True, slots=True, order=True)
class PoolKey:
    """What jobs share their noise in, and what they run.

    Attributes:
        farm: name of the farm.
        device: model of the device, as the farm knows it.
        accelerator: as in the cell.
        figure: what was measured, for example "latency_ms.p50".
        workload: what ran, for example model name and variant; empty: one workload for the pool.
    """

    farm: str
    device: str
    accelerator: str
    figure: str
    workload: str = ""

    def nearness(self, other: PoolKey) -> float:
        """How much the noise under another key counts for this one.

        Args:
            other: the other key.

        Returns:
            0 on another device model, or for another figure; at most 1.
        """
        if (self.farm, self.device, self.figure) != (other.farm, other.device, other.figure):
            return 0.0
        return _OF_POOL if self.accelerator == other.accelerator else _OF_DEVICE


class NoisePools:
    """Noise in four levels: all pools (the prior), one device model, one accelerator on it, one workload there.

    What a workload is expected to show before it has jobs is a weighted mean. The general prior counts as two
    workloads, the posterior of each other workload on the same accelerator as one, and on another accelerator of the
    device model as half. That is the expectation under a Dirichlet prior. Its own identical jobs then update it.

    Args:
        prior: noise of a pool that nothing is known of.
        jobs: for each key the figures of identical jobs, one group for each version of the model. Groups may differ in
            speed.
    """

    def __init__(self, prior: Noise, jobs: Mapping[PoolKey, Sequence[Sequence[float]]]) -> None:
        self._prior = prior
        self._jobs = jobs

    def of(self, key: PoolKey) -> Noise:
        """The noise under a key.

        Args:
            key: of a workload in its pool; neither needs to have jobs.

        Returns:
            The posterior.

        Raises:
            InvalidInput: a figure on its device model is not a finite number above 0.
        """
        parts, shares = [self._prior], [_OF_PRIOR]
        for other in sorted(self._jobs):
            near = 0.0 if other == key else key.nearness(other)
            known = self._prior.learned(self._jobs[other]) if near else self._prior
            if known.jobs:
                parts.append(known)
                shares.append(near)
        return mixed(parts, shares).learned(self._jobs.get(key, ()))
