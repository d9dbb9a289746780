"""A run's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Report:
    """A `windtunnel.report/1`; `json` is the whole document."""

    json: Mapping[str, Any]

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return str(self.json["run_id"])

    @property
    def verdict(self) -> str | None:
        """passed, failed or could_not_run; None while the run is not finished."""
        value = self.json["verdict"]
        return None if value is None else str(value)

    @property
    def passed(self) -> bool:
        """Whether the verdict is passed."""
        return self.verdict == "passed"

    @property
    def canceled(self) -> bool:
        """Whether the run was canceled."""
        return bool(self.json.get("canceled"))

    @property
    def reasons(self) -> Sequence[str]:
        """Why the run did not pass; empty if it did."""
        return list(self.json["reasons"])

    @property
    def variants(self) -> Sequence[Mapping[str, Any]]:
        """The entries of the variants, as in the document."""
        return list(self.json["variants"])
