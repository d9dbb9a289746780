"""The values of a layer in both models, counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of real values per bin: `edges` are bins + 1 rising numbers, the last bin includes its upper edge."""

    edges: tuple[float, ...]
    reference: tuple[int, ...]
    candidate: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """The entry of `histograms` in a diagnosis."""
        return {"edges": list(self.edges), "reference": list(self.reference), "candidate": list(self.candidate)}
