"""All hypotheses that were judged, and which of them explains with the fewest differences."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar


class Explained(Protocol):
    """A hypothesis that was judged."""

    @property
    def differences(self) -> frozenset[Any]:
        """What differs from the pipeline."""
        ...

    @property
    def misfit(self) -> float:
        """The nRMSE of what it gives against what the app fed."""
        ...


J = TypeVar("J", bound=Explained)


@dataclass(slots=True)
class Table(Generic[J]):
    """All hypotheses that were judged, the best for each set of differences."""

    best: dict[frozenset[Any], J] = field(default_factory=dict)

    def add(self, judged: J) -> None:
        """Notes a hypothesis.

        Args:
            judged: with its misfit.
        """
        known = self.best.get(judged.differences)
        if known is None or judged.misfit < known.misfit:
            self.best[judged.differences] = judged

    def without(self, difference: Hashable) -> float:
        """The least misfit of all hypotheses in which one thing is right.

        Args:
            difference: the thing.

        Returns:
            The misfit; infinite if every hypothesis has it.
        """
        found = (one.misfit for differences, one in self.best.items() if difference not in differences)
        return min(found, default=float("inf"))

    def simplest(self, floor: float, ratio: float) -> J:
        """The hypothesis with the fewest differences, unless one with more leaves a much smaller misfit.

        Args:
            floor: misfit that rounding explains.
            ratio: what an explanation that is much better leaves at most of the misfit of another one.

        Returns:
            The hypothesis.
        """
        enough = max(floor, min(one.misfit for one in self.best.values()) / ratio)
        able = [one for one in self.best.values() if one.misfit <= enough]
        return min(able, key=lambda one: (len(one.differences), one.misfit))

    def cheapest(self, cost: Callable[[J], tuple[float, ...]]) -> J:
        """The hypothesis of the least cost.

        Args:
            cost: of a hypothesis.

        Returns:
            The hypothesis.
        """
        return min(self.best.values(), key=cost)
