"""The port through which rules request runs.

The models answer (`LiveTrials`), or the record of a run (`RecordedTrials`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.comparison import Histogram
from windtunnel.diagnosis.graph import Pair
from windtunnel.diagnosis.numerics.isolated_sums import Local
from windtunnel.diagnosis.numerics.layer_sums import LayerFigures
from windtunnel.diagnosis.static.suspect import Patch


class ValueSums(Protocol):
    """What sums up the values of one tensor of the reference."""

    @property
    def tensor(self) -> int:
        """The reference's tensor."""
        ...

    def add(self, values: NDArray[np.float64]) -> None:
        """Adds the real values of one sample, in the tensor's shape."""
        ...

    def state(self) -> list[float]:
        """The sums, for `restore`."""
        ...

    def restore(self, state: Sequence[float]) -> None:
        """Takes the sums of another `state`."""
        ...


class Trials(Protocol):
    """Runs of both models on the first samples, and of candidates with a change."""

    def layers(self, samples: int) -> Mapping[int, Local]:
        """Isolated errors by the candidate's tensor index. Raises UserError if they cannot be run."""
        ...

    def other_kernels(self, samples: int) -> Mapping[int, Local]:
        """Isolated errors on other kernels; empty if these cannot run the model."""
        ...

    def try_layers(self, patch: Patch) -> tuple[Mapping[int, Local], Mapping[int, Local]] | None:
        """Isolated errors without and with a change, on the same kernels; None: not run."""
        ...

    def try_output(self, patch: Patch) -> tuple[float, float] | None:
        """nRMSE of the last layer that counts, without and with a change; None: not run or not known."""
        ...

    def try_beyond(self, base: Patch | None, patch: Patch, samples: int) -> list[tuple[float, float]] | None:
        """nRMSE of each output and last layer with `base`, and with `patch` on top; None: not run or not known."""
        ...

    def observe(self, sums: Mapping[str, ValueSums], samples: int) -> None:
        """Adds the reference's values of the first samples to the sums, each under a key of its own."""
        ...

    def histograms(
        self, pairs: Sequence[Pair], figures: Sequence[LayerFigures], samples: int
    ) -> Sequence[Histogram | None]:
        """A histogram of each pair over the first samples; None: not known."""
        ...
