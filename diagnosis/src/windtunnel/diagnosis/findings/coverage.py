"""Which layers were compared, and which were not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Unmatched:
    """A layer without a counterpart, and why. `inside`: it is part of a layer that was compared."""

    name: str
    op: str
    op_index: int
    reason: str
    inside: bool = False

    def to_json(self) -> dict[str, Any]:
        """The entry of `unmatched_layers` and `unmatched_reference`."""
        return {"name": self.name, "op": self.op, "op_index": self.op_index, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many of the candidate's layers were compared; what was not is named.

    Layers are op outputs that depend on the input; QUANTIZE and DEQUANTIZE only restate a value, and do not
    count. `unmatched_reference` are layers of the reference that the candidate does not have.
    """

    compared: int
    total: int
    unmatched: tuple[Unmatched, ...] = ()
    unmatched_reference: tuple[Unmatched, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """`coverage` of a diagnosis."""
        return {
            "compared": self.compared,
            "total": self.total,
            "unmatched": [layer.name for layer in self.unmatched],
            "unmatched_layers": [layer.to_json() for layer in self.unmatched],
            "unmatched_reference": [layer.to_json() for layer in self.unmatched_reference],
        }
