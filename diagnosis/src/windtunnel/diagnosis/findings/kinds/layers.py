"""Errors of layers for which the files show no reason, and rounding that adds up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.document import OPTIONAL, in_fix
from windtunnel.diagnosis.findings.fixes import Fix, OpFix, TensorFix
from windtunnel.diagnosis.findings.kinds.phrases import BothSides
from windtunnel.diagnosis.findings.kinds.ranges import CALIBRATE_TENSOR, range_words
from windtunnel.diagnosis.findings.trial import isolated_words
from windtunnel.plain_text import clean, layer_title, nrmse_text


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDiverges(CauseFinding):
    """A layer gives another result on the reference's inputs, and the files show no reason.

    `ops`: the kinds of ops that lead to it from the last value that both models have, if these are others.
    """

    code: ClassVar[CauseCode] = CauseCode.CONVERSION_OP
    local_nrmse: float
    why: str = "on the reference's inputs this layer gives another result"
    ops: BothSides | None = field(default=None, metadata=OPTIONAL)
    op: str = field(default="", metadata=in_fix("op"))

    @property
    def isolated_error(self) -> float | None:
        """As in the document."""
        return self.local_nrmse

    def fix(self) -> Fix:
        """Convert again."""
        return OpFix(action="convert the op again", op=self.op)

    def words(self) -> tuple[str, ...]:
        """The error, and the ops that differ."""
        ops = () if self.ops is None else (f"the ops that lead here are {self.ops.words()}",)
        return (isolated_words(self.local_nrmse), clean(self.why), *ops)


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeUnexplained(CauseFinding):
    """The layer with the largest isolated error has a range that explains most of it, if other samples do not."""

    code: ClassVar[CauseCode] = CauseCode.PARAMETERS
    local_nrmse: float
    seen: tuple[float, float]
    values_outside: float
    kind: Literal["clipped", "wide"]
    held: tuple[float, float]
    tensor: str = field(default="", metadata=in_fix("tensor"))

    @property
    def isolated_error(self) -> float | None:
        """As in the document."""
        return self.local_nrmse

    def fix(self) -> Fix:
        """Calibrate the tensor."""
        return TensorFix(action=CALIBRATE_TENSOR, tensor=self.tensor)

    def words(self) -> tuple[str, ...]:
        """The range and the error."""
        said = f"the tensor {range_words(self.held, self.seen, self.values_outside)}"
        return (said, isolated_words(self.local_nrmse))


@dataclass(frozen=True, slots=True)
class LayerError:
    """A layer's isolated error (nRMSE)."""

    layer: str
    local_nrmse: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundingAccumulated(CauseFinding):
    """No single layer is at fault: rounding adds up. `root_sum_of_squares`: of all layers' isolated errors."""

    code: ClassVar[CauseCode] = CauseCode.ACCUMULATED
    largest_own_errors: tuple[LayerError, ...]
    root_sum_of_squares: float

    def fix(self) -> Fix:
        """Keep the worst layers precise."""
        return Fix(action="keep the layers with the largest isolated errors in float or 16 bit: windtunnel remedy")

    def words(self) -> tuple[str, ...]:
        """The largest errors and their sum."""
        return tuple(self._words())

    def _words(self) -> Iterator[str]:
        found = [f"{layer_title(one.layer)} {nrmse_text(one.local_nrmse)}" for one in self.largest_own_errors[:3]]
        if found:
            yield f"largest isolated errors: {', '.join(found)}"
        total = nrmse_text(self.root_sum_of_squares)
        yield f"isolated errors of all layers add up to {total} (root of the sum of squares)"
