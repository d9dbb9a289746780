"""A difference between the files that precision does not explain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.trial import SubgraphPlace
from windtunnel.tflite.edit import Editor

Patch = Callable[[Editor], None]


def all_of(patches: Sequence[Patch]) -> Patch:
    """One patch that applies several.

    Args:
        patches: in their order.

    Returns:
        The patch.
    """

    def patch(editor: Editor) -> None:
        for one in patches:
            one(editor)

    return patch


@dataclass(frozen=True, slots=True)
class Suspect:
    """A possible cause: what was found, its place as in a diagnosis, and `tensor`, the place's tensor index.

    `plain`: the files alone prove the difference, whatever its effect. `patch` fixes the candidate; None: changing the
    file cannot. `tensors` are the candidate's tensors that have the fault.
    """

    finding: CauseFinding
    layer: str
    op_index: int | None
    tensor: int
    plain: bool
    patch: Patch | None = None
    tensors: frozenset[int] = frozenset()
    reads: int = -1
    inside: SubgraphPlace | None = None

    @property
    def code(self) -> CauseCode:
        """The code that a cause of it has."""
        return self.finding.code
