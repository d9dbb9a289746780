"""One case of the fault matrix: diagnosed, and judged."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from support.faults import Case


def diagnose(reference: Path, candidate: Path, samples: Path) -> dict[str, Any]:
    """The diagnosis of two models as JSON, and how many seconds it took. A job of a child process."""
    from windtunnel.diagnosis import compare_models

    began = time.perf_counter()
    document = compare_models(reference, candidate, samples).to_json()
    return {
        "seconds": time.perf_counter() - began,
        "verdict": document["verdict"],
        "causes": document["causes"],
    }


@dataclass(frozen=True)
class Outcome:
    """A case, what was expected of its diagnosis and what it said."""

    name: str
    expected: tuple[str, ...]
    layers: tuple[str, ...]
    op_indices: tuple[int, ...]
    what: str
    visibility: str
    effect: float
    noise: float
    verdict: str
    code: str | None
    layer: str | None
    op_index: int | None
    confidence: float
    causes: int
    seconds: float
    error: str = ""

    @classmethod
    def of(cls, case: Case, found: dict[str, Any], error: str = "") -> Outcome:
        """The outcome of what `diagnose` returned, or of the error in which it ended."""
        first = found["causes"][0] if found.get("causes") else None
        return cls(
            name=case.spec.name,
            expected=case.codes,
            layers=tuple(sorted(case.layers)),
            op_indices=tuple(sorted(case.op_indices)),
            what=case.what,
            visibility=case.visibility,
            effect=case.effect,
            noise=case.noise,
            verdict=found.get("verdict", "error"),
            code=first["code"] if first else None,
            layer=first["place"]["layer"] if first else None,
            op_index=first["place"]["op_index"] if first else None,
            confidence=first["confidence"] if first else 0.0,
            causes=len(found.get("causes", ())),
            seconds=found.get("seconds", 0.0),
            error=error,
        )

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Outcome:
        """The outcome that `to_json` wrote."""
        return cls(**{field.name: entry[field.name] for field in fields(cls)})

    @property
    def code_right(self) -> bool:
        """Whether the first cause is right; for a healthy pair: no cause, and the verdict healthy."""
        if self.error:
            return False
        if self.visibility == "unsound":
            return self.code in (None, "quantization.accumulated")
        if not self.expected:
            return self.code is None and self.verdict == "healthy"
        return self.code in self.expected

    @property
    def place_right(self) -> bool:
        """Whether layer and op index are among the accepted ones; any place is right if none is expected."""
        if not self.expected or not self.layers:
            return self.code_right
        return self.layer in self.layers and self.op_index in self.op_indices

    @property
    def right(self) -> bool:
        return self.code_right and self.place_right

    @property
    def quiet(self) -> bool:
        """Whether nothing was found."""
        return not self.error and self.code is None and self.verdict == "healthy"

    def line(self) -> str:
        """For people who watch."""
        mark = "ok " if self.right else ("-- " if self.visibility in ("invisible", "faint", "unsound") else "BAD")
        wanted = "|".join(self.expected) or "healthy"
        got = self.error or f"{self.verdict} {self.code or 'no cause'}"
        place = "" if not self.layers else f" place {_short(self.layers)}"
        said = "" if self.layer is None else f" at {self.layer[-40:]} ({self.op_index}, {self.confidence:.2f})"
        right = "" if self.right or not self.code_right else " WRONG PLACE"
        figures = f"{self.visibility} {self.effect:.2g}/{self.noise:.2g} {self.seconds:.1f} s"
        return f"{mark} {self.name}: {wanted}{place}: {got}{said}{right} [{figures}]"

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"code_right": self.code_right, "place_right": self.place_right}


def _short(layers: tuple[str, ...]) -> str:
    return layers[0][-40:] + (f" or {len(layers) - 1} more" if len(layers) > 1 else "")
