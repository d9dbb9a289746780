"""The port through which rules request runs.

The models answer (`LiveTrials`), or the record of a run (`RecordedTrials`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.histogram import Histogram
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
        """Adds one sample.

        Args:
            values: real, in the tensor's shape.
        """
        ...

    def state(self) -> list[float]:
        """The sums, for `restore`."""
        ...

    def restore(self, state: Sequence[float]) -> None:
        """Replaces the sums with those of another `state`.

        Args:
            state: the numbers.
        """
        ...


class Trials(Protocol):
    """Runs of both models on the first samples, and of candidates with a change."""

    def layers(self, samples: int) -> Mapping[int, Local]:
        """Runs the layers in isolation.

        Args:
            samples: how many.

        Returns:
            Isolated errors by the candidate's tensor index.

        Raises:
            UserError: they cannot be run.
        """
        ...

    def other_kernels(self, samples: int) -> Mapping[int, Local]:
        """Runs the layers in isolation on other kernels.

        Args:
            samples: how many.

        Returns:
            Isolated errors by the candidate's tensor index; empty if these kernels cannot run the model.
        """
        ...

    def try_layers(self, patch: Patch) -> tuple[Mapping[int, Local], Mapping[int, Local]] | None:
        """Runs the layers in isolation, without and with a change, on the same kernels.

        Args:
            patch: the change.

        Returns:
            Isolated errors by the candidate's tensor index, without and with it; None: not run.
        """
        ...

    def try_output(self, patch: Patch) -> tuple[float, float] | None:
        """Runs the candidate without and with a change, on the same kernels.

        Args:
            patch: the change.

        Returns:
            nRMSE of the last layer that counts, without and with it; None: not run or not known.
        """
        ...

    def try_beyond(self, base: Patch | None, patch: Patch, samples: int) -> list[tuple[float, float]] | None:
        """Runs the candidate with a change, and with another one in addition.

        Args:
            base: a change that is there in both runs; None: none.
            patch: the change of the second run.
            samples: how many.

        Returns:
            nRMSE of each output and last layer, without and with `patch`; None: not run or not known.
        """
        ...

    def observe(self, sums: Mapping[str, ValueSums], samples: int) -> None:
        """Adds the reference's values to sums.

        Args:
            sums: each under a key of its own.
            samples: how many.
        """
        ...

    def histograms(
        self, pairs: Sequence[Pair], figures: Sequence[LayerFigures], samples: int
    ) -> Sequence[Histogram | None]:
        """Counts the values of layers.

        Args:
            pairs: the layers.
            figures: of the pairs, in their order.
            samples: how many.

        Returns:
            One for each pair; None: not known.
        """
        ...
