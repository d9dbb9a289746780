"""What a scorer does, whatever the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# The outputs of a model for one sample, real numbers without the batch, by tensor name.
Outputs = Mapping[str, NDArray[Any]]
# What was kept of each sample.
Rows = Sequence[NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Scored:
    """Figures of one model, by metric; those of single classes by metric and class; and a confusion table."""

    figures: Mapping[str, float | None]
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()


class Scorer(Protocol):
    """Reads what a task needs of the outputs of a model. `main`: the default metric for these samples."""

    main: str

    def read(self, sample: int, outputs: Outputs) -> NDArray[np.float64]:
        """What counts of one sample's outputs; always of the same number of dimensions.

        Args:
            sample: its number, for labels and messages.
            outputs: of the model.

        Returns:
            The row of that sample.
        """
        ...

    def figures(self, rows: Rows, reference: Rows) -> Scored:
        """Figures of a model.

        Args:
            rows: what was read of each sample, in order.
            reference: the same of the reference; of the reference itself: `rows`.

        Returns:
            The figures.
        """
        ...


def class_name(names: Sequence[str], number: int) -> str:
    """The name of a class, for the figures of single classes.

    Args:
        names: of the classes, in order.
        number: of the class.

    Returns:
        Its number where it has no name.
    """
    return names[number] if 0 <= number < len(names) else str(number)
