"""What was noticed about samples, labels, preprocessing or outputs, and that the user should know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was noticed. It changes no verdict by itself.

    `code` is stable, for example "input.range", "accuracy.chance", "labels.unused". `message` says what was found,
    with the values; `fix` what to do about it, empty where there is nothing to do; `evidence` has the figures behind
    it as JSON values.
    """

    code: str
    message: str
    fix: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The entry of `findings` in a report or diagnosis."""
        return {"code": self.code, "message": self.message, "fix": self.fix or None, "evidence": dict(self.evidence)}


def distinct(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings in their order, each once: what holds for every variant is said once."""
    return tuple({(one.code, one.message): one for one in findings}.values())
