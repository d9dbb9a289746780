"""Values against the statistics that a batch norm kept of the training: no labels are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import WindtunnelError
from windtunnel.pipeline import InputSpec, Pipeline, Samples
from windtunnel.pipeline.feed import SampledFeed
from windtunnel.tflite import Runner

# Samples of the training's own kind stay under the first; another normalization is far over it.
FITS: Final = 0.5
# Divergences that differ by no more are as good.
AS_GOOD: Final = 0.1
# So many samples are enough for a mean and a variance.
NORM_SAMPLES: Final = 64
# What fits better by this factor is what the training did.
BETTER: Final = 4.0
MEASURE: Final = "divergence from the first batch norm's statistics"
_SMALLEST: Final = 1e-12


class Moments:
    """Mean and variance of each channel over all that is added, in float64; no values are kept.

    Args:
        channels: how many; the last axis of the values.
    """

    def __init__(self, channels: int) -> None:
        self.mean: NDArray[np.float64] = np.zeros(channels)
        self._squares: NDArray[np.float64] = np.zeros(channels)
        self._count = 0

    def add(self, values: NDArray[Any]) -> None:
        """Adds values.

        Args:
            values: of the shape (..., channels).

        Raises:
            ValueError: their number is not a multiple of the channels.
        """
        rows = np.asarray(values).reshape(-1, len(self.mean))
        if not len(rows):
            return
        # The deviations of each part from its own mean are summed: a large mean cancels nothing.
        mean = rows.mean(axis=0, dtype=np.float64)
        squares = rows.var(axis=0, dtype=np.float64) * len(rows)
        total, step = self._count + len(rows), mean - self.mean
        self.mean = self.mean + step * (len(rows) / total)
        self._squares = self._squares + squares + np.square(step) * (self._count * len(rows) / total)
        self._count = total

    @property
    def variance(self) -> NDArray[np.float64]:
        """Of the population, one per channel; 0 before anything was added."""
        return self._squares / max(self._count, 1)


@dataclass(frozen=True, slots=True)
class NormJudge:
    """Runs a model up to its first batch norm. Native code: only in a child process.

    `mean` and `variance` are those of the batch norm, one per channel of the last axis.
    """

    runner: Runner
    samples: Samples
    specs: tuple[InputSpec, ...]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]

    def divergence(self, pipeline: Mapping[str, Any] | None) -> float | None:
        """Kullback-Leibler divergence of the values from the statistics, both as normal distributions.

        (v / V + (m - M)^2 / V - 1 - ln(v / V)) / 2 with the mean m and variance v of the values and M and V of the
        batch norm: the median of all channels.

        Args:
            pipeline: content of a pipeline.json; None: the samples as they are.

        Returns:
            In nats; 0: the same distribution. None if the samples do not fit.
        """
        steps = None if pipeline is None else Pipeline.parse(pipeline)
        try:
            moments = Moments(len(self.mean))
            for sample in SampledFeed(self.samples, steps, self.specs):
                moments.add(next(iter(self.runner.run(sample, dequantized=True).values())))
        except (WindtunnelError, ValueError):
            return None
        wanted = np.maximum(self.variance, _SMALLEST)
        ratio = np.maximum(moments.variance, _SMALLEST) / wanted
        offset = np.square(moments.mean - self.mean) / wanted
        # A channel that is dead during training has no variance, and any ratio.
        return float(np.median(0.5 * (ratio + offset - 1.0 - np.log(ratio))))
