"""How far each threshold of the diagnosis library was changed before an answer got worse: the file of the sweep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "benchmarks" / "diagnosis" / "threshold_sweep.json"


@dataclass(frozen=True)
class Side:
    """How far a threshold moved in one direction.

    `factor`: the last one at which no answer got worse; 1: none. `case` and `how`: the first answer that got worse at
    the next one; empty: none did at any.
    """

    factor: float
    case: str = ""
    how: str = ""


@dataclass(frozen=True)
class Span:
    """How far a threshold can be changed.

    `value`: as text. `cases`: so many execute code that names it. `run_again`: so many cases of them ran again with
    the models, because their stored runs do not hold the answer. `unknown`: so many more would have to, and did not.
    `felt`: at the ends, so many answers change in any respect. `beside_one`: the distance to 1 is multiplied.
    `down`, `up`: None if there is no other value or no case to try.
    """

    value: str
    cases: int
    run_again: int
    unknown: int
    felt: int
    beside_one: bool
    down: Side | None
    up: Side | None

    @property
    def is_limited(self) -> bool:
        """Whether a case gets a worse answer in any direction."""
        return any(side is not None and side.case for side in (self.down, self.up))


def read_spans(path: Path = FILE) -> dict[str, Span]:
    """The spans by the names of their thresholds; none if there is no file.

    Args:
        path: of the file that `write_spans` wrote.

    Returns:
        By name of the threshold.
    """
    if not path.is_file():
        return {}
    kept: Mapping[str, Any] = json.loads(path.read_text())["thresholds"]
    return {name: _span(one) for name, one in kept.items()}


def _span(kept: Mapping[str, Any]) -> Span:
    ends = {end: None if kept[end] is None else Side(**kept[end]) for end in ("down", "up")}
    return Span(**{**kept, **ends})


def write_spans(spans: Mapping[str, Span], cases: int, path: Path = FILE) -> None:
    """Writes the file; `cases`: how many the sweep has.

    Args:
        spans: by name of the threshold.
        cases: how many the sweep ran.
        path: of the file.
    """
    document = {"cases": cases, "thresholds": {name: asdict(span) for name, span in sorted(spans.items())}}
    path.write_text(json.dumps(document, indent=1) + "\n")


def value_text(value: Any) -> str:
    """A value as the file has it: another text is another value.

    Args:
        value: of a threshold.

    Returns:
        One line.
    """
    return json.dumps(value)


def measured_cases(path: Path = FILE) -> int:
    """How many cases the sweep has; 0 if there is no file.

    Args:
        path: of the file that `write_spans` wrote.

    Returns:
        How many cases the sweep ran.
    """
    return int(json.loads(path.read_text())["cases"]) if path.is_file() else 0
