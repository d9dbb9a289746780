"""Ranges of a candidate that only follow from a fault before them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from windtunnel.diagnosis.graph import Matching
from windtunnel.diagnosis.rules.effect_on_outputs import Tested
from windtunnel.diagnosis.static.suspect import Suspect

# A range this many times as wide as the candidate's own values does not fit them either.
_FITS: Final = 1.6


class Downstream:
    """Tells ranges that only follow from a fault before them: with it the values there are others.

    A candidate that was quantised with the fault in it has ranges that fit its own values.
    """

    def __init__(
        self, matching: Matching, faults: Sequence[Tested], reached: Mapping[int, tuple[float, float]]
    ) -> None:
        self._steps, self._reached = matching.candidate, reached
        self._faults = [one.suspect for one in faults if one.suspect.code.startswith("conversion.")]
        self._after: set[int] = set()
        for fault in self._faults:
            self._spread(fault)

    def __call__(self, suspect: Suspect) -> bool:
        """Whether the suspect is such a range."""
        if suspect.code.startswith("quantization.calibration"):
            return any(
                one.op_index is not None and suspect.op_index is not None and one.op_index <= suspect.op_index
                for one in self._faults
            )
        held, own = suspect.evidence.get("held"), self._reached.get(suspect.tensor)
        if held is None or not suspect.tensors & self._after:
            return False
        wide = suspect.evidence.get("kind") == "wide" and own is not None
        return not (wide and own is not None and held[1] - held[0] > _FITS * (max(own[1], 0.0) - min(own[0], 0.0)))

    def _spread(self, fault: Suspect) -> None:
        """Notes every tensor that the fault reaches."""
        left = [fault.tensor]
        while left:
            tensor = left.pop()
            if tensor not in self._after:
                self._after.add(tensor)
                left += [index for op in self._steps.readers[tensor] for index in op.outputs if index >= 0]
