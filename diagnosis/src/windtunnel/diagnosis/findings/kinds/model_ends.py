"""Outputs or inputs of the model that are exchanged, or have another order or other names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.fixes import Fix, InputsFix
from windtunnel.plain_text import layer_title, nrmse_text

_OUTPUTS_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class OutputPlaces:
    """Numbers of an output among the model's outputs, from 0."""

    reference: int
    candidate: int


@dataclass(frozen=True, slots=True)
class MovedOutput:
    """An output of the reference and the candidate's that holds its values, by name.

    `nrmse`: of these two; `nrmse_as_called`: of the candidate's output that a caller takes for it.
    """

    reference: str
    candidate: str
    place: OutputPlaces
    nrmse: float
    nrmse_as_called: float

    def words(self) -> str:
        """Where its values are."""
        return (
            f"the candidate's output {layer_title(self.candidate)} (number {self.place.candidate}) has the values "
            f"of the reference's {layer_title(self.reference)} (number {self.place.reference}): nRMSE "
            f"{nrmse_text(self.nrmse)}, and {nrmse_text(self.nrmse_as_called)} at the number that a caller reads"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputsExchanged(CauseFinding):
    """A caller takes outputs for others: they have another order, or exchanged names."""

    code: ClassVar[CauseCode] = CauseCode.CONVERSION_OUTPUTS
    kind: Literal["names", "order"]
    outputs: tuple[MovedOutput, ...]

    def fix(self) -> Fix:
        """The names or the order."""
        if self.kind == "names":
            return Fix(action="exchange the names of these outputs in the signature, or convert the model again")
        return Fix(
            action="read the outputs in the new order, or convert the model again with the outputs in the reference's "
            "order"
        )

    def words(self) -> tuple[str, ...]:
        """Each output that moved."""
        return tuple(one.words() for one in self.outputs[:_OUTPUTS_SHOWN])


@dataclass(frozen=True, slots=True, kw_only=True)
class InputsExchanged(CauseFinding):
    """Two inputs of one shape and type with which the outputs are right once they are exchanged."""

    code: ClassVar[CauseCode] = CauseCode.CONVERSION_OUTPUTS
    kind: Literal["inputs"] = "inputs"
    exchanged: tuple[str, ...]

    def fix(self) -> Fix:
        """Exchange them."""
        return InputsFix(action="exchange these inputs, or convert the model again", inputs=self.exchanged)

    def words(self) -> tuple[str, ...]:
        """Which ones."""
        names = " and ".join(layer_title(one) for one in self.exchanged)
        return (f"the inputs {names} are exchanged: fed the other way, the outputs are right",)
