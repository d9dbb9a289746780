"""How the outputs of two models compare."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A classifier's figures: shares in [0, 1], loss in nats."""

    top1: float
    precision: float
    recall: float
    loss: float

    def to_json(self) -> dict[str, float]:
        """`accuracy.reference` and `accuracy.candidate` of a diagnosis."""
        return {"top1": self.top1, "precision": self.precision, "recall": self.recall, "loss": self.loss}


@dataclass(frozen=True, slots=True)
class OutputFailure:
    """Why an output is broken.

    `non_finite`: it holds NaN or infinity, and the reference does not; otherwise its shape differs.
    """

    output: str
    non_finite: bool

    def words(self) -> str:
        """The failure as a sentence."""
        problem = "holds NaN or infinity" if self.non_finite else "has another shape than the reference's"
        return f"output {self.output!r} {problem}"


@dataclass(frozen=True, slots=True)
class OutputDiff:
    """How the models' outputs compare.

    `agreement` is the share of samples with the same argmax; None: outputs have none. `is_classifier`: that argmax is
    known to be a class (labels, or a softmax or sigmoid in the graph).
    `judged` is how many outputs have been compared. `changed` is the share of samples whose argmax changed although
    the reference's was clear (`outputs.CLEAR`).
    `nrmse` is that of the worst output, None where one has no figure. `failures`: outputs that are broken.
    `reference_finite`: some output of the reference is finite. `lost` and `gained` count the samples that only the
    reference, only the candidate classifies as labeled. `elements`: the share of right elements of masks, of the
    reference and of the candidate.
    """

    reference: Accuracy | None
    candidate: Accuracy | None
    agreement: float | None
    nrmse: float | None
    failures: tuple[OutputFailure, ...] = ()
    is_classifier: bool = True
    reference_finite: bool = True
    lost: int | None = None
    gained: int | None = None
    changed: float = 0.0
    elements: tuple[float | None, float | None] = (None, None)
    judged: int = 1

    @property
    def accuracy_drop(self) -> float | None:
        """Top-1 of the reference less the candidate's, absolute; None where one is unknown."""
        if self.reference is None or self.candidate is None:
            return None
        return self.reference.top1 - self.candidate.top1
