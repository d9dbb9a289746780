"""One case, diagnosed and judged."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from support.app_faults.case import Case, Planted

_TIMEOUT_S = 240


@dataclass(frozen=True)
class Judged:
    """One planted fault, and whether it was named.

    Attributes:
        code: that was expected.
        fault: its name.
        visibility: visible, faint or invisible.
        found: the expected code, or an accepted one, was among the causes.
        placed: None: no place was expected; otherwise whether the right layer was named.
    """

    code: str
    fault: str
    visibility: str
    found: bool
    placed: bool | None = None


@dataclass(frozen=True)
class Outcome:
    """What was expected of a case and what was found.

    Attributes:
        name: of the case.
        faults: the planted ones.
        named: codes of the causes, in order.
        false: those that nothing explains.
        verdict: of the diagnosis.
        note: what cannot be distinguished in principle.
        seconds: of the command.
        error: why there is no diagnosis.
    """

    name: str
    faults: tuple[Judged, ...]
    named: tuple[str, ...]
    false: tuple[str, ...]
    verdict: str
    note: str = ""
    seconds: float = 0.0
    error: str = ""

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Outcome:
        """The outcome that `to_json` wrote."""
        sequences = {key: tuple(entry[key]) for key in ("named", "false")}
        return cls(**{**entry, **sequences, "faults": tuple(Judged(**one) for one in entry["faults"])})

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @property
    def wanted(self) -> tuple[Judged, ...]:
        """The faults that had to be named."""
        return tuple(one for one in self.faults if one.visibility == "visible")

    @property
    def clean(self) -> bool:
        """Whether nothing was planted."""
        return not self.faults

    @property
    def missed(self) -> tuple[Judged, ...]:
        """Visible faults that were not named."""
        return tuple(one for one in self.wanted if not one.found)

    @property
    def right(self) -> bool:
        """Every visible fault named, at its place, and nothing else; a right app: healthy."""
        if self.error or self.missed or self.false or any(one.placed is False for one in self.wanted):
            return False
        return self.verdict == "healthy" if self.clean else True

    def line(self) -> str:
        """For the terminal."""
        mark = "right" if self.right else "WRONG"
        wanted = ", ".join(one.code for one in self.wanted) or "healthy"
        found = self.error or ", ".join(self.named) or self.verdict
        return f"{mark}  {self.name}  wanted {wanted}; found {found}  ({self.seconds:.1f} s)"


def diagnose(case: Case) -> dict[str, Any]:
    """Runs `windtunnel diagnose` on a case, as a user does.

    Args:
        case: its files.

    Returns:
        The document, `seconds`, and `error` if there is no document.
    """
    command = [str(Path(sys.executable).with_name("windtunnel")), "diagnose", "--json"]
    command += ["--model", str(case.model), "--edge", str(case.edge)]
    command += ["--pipeline", str(case.pipeline)] if case.pipeline else []
    command += ["--reference", str(case.reference)] if case.reference else []
    began = time.perf_counter()
    try:
        ended = subprocess.run([*command, *case.extra], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"took over {_TIMEOUT_S} s", "seconds": float(_TIMEOUT_S)}
    seconds = {"seconds": time.perf_counter() - began}
    if ended.returncode not in (0, 1):
        return seconds | {"error": f"exit code {ended.returncode}: {ended.stderr.strip()[-300:]}"}
    try:
        document: dict[str, Any] = json.loads(ended.stdout)
    except ValueError:
        return seconds | {"error": f"not JSON: {ended.stdout[:200]!r} {ended.stderr.strip()[-300:]}"}
    return document | seconds


def judged(case: Case, document: Mapping[str, Any]) -> Outcome:
    """Compares what was found with what was planted.

    Args:
        case: its truth.
        document: of `diagnose`.

    Returns:
        The outcome.
    """
    causes = document.get("causes") or []
    named = [str(cause["code"]) for cause in causes]
    explained = set(case.truth.tolerated) | {code for one in case.truth.planted for code in (one.code, *one.accepted)}
    return Outcome(
        name=case.truth.name,
        faults=tuple(_judged(one, causes) for one in case.truth.planted),
        named=tuple(named),
        false=tuple(dict.fromkeys(code for code in named if code not in explained)),
        verdict=str(document.get("verdict", "error")),
        note=case.truth.note,
        seconds=float(document.get("seconds", 0.0)),
        error=str(document.get("error", "")),
    )


def _judged(planted: Planted, causes: Sequence[Mapping[str, Any]]) -> Judged:
    same = [cause for cause in causes if cause["code"] in (planted.code, *planted.accepted)]
    placed = None
    if planted.op_index is not None:
        placed = any(
            cause["place"]["layer"] == planted.layer and cause["place"]["op_index"] == planted.op_index
            for cause in same
        )
    elif planted.layer is not None:
        placed = any(cause["place"]["layer"] == planted.layer for cause in same)
    return Judged(planted.code, planted.fault, planted.visibility, bool(same), placed)
