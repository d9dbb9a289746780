"""What a search tries, what came of it, and whether that is enough. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from windtunnel.plan import Gates
from windtunnel.quantizer.remedy.figures import Figures, Latency
from windtunnel.quantizer.remedy.pareto import front
from windtunnel.quantizer.remedy.recipe import Precision, Rule, Unit

Family = Literal["variant", "calibration", "per_channel", "percentile", "algorithm", "layers", "precision"]

# Closest to the variant first: what changes nothing but ranges, then how weights are rounded, then what is kept out.
CLOSEST: Final[Mapping[Family, int]] = {
    "variant": 0,
    "calibration": 1,
    "per_channel": 2,
    "percentile": 3,
    "algorithm": 4,
    "layers": 5,
    "precision": 6,
}
# Another precision goes before kept layers only where it is smaller and faster by more than this.
_CLEARLY_SMALLER: Final = 0.98
_CLEARLY_FASTER: Final = 0.90


@dataclass(frozen=True, slots=True)
class Candidate:
    """A recipe to try. `kept` are the units that its last rules keep out, in `precision`."""

    family: Family
    what: str
    rules: tuple[Rule, ...]
    kept: tuple[Unit, ...] = ()
    precision: Precision | None = None

    @property
    def base(self) -> tuple[Rule, ...]:
        """The rules without those that keep a unit out."""
        return self.rules[: len(self.rules) - len(self.kept)]


@dataclass(frozen=True, slots=True)
class Check:
    """A gate and what was measured; an unknown figure does not pass."""

    gate: str
    limit: float
    measured: float | None

    @property
    def passed(self) -> bool:
        """Whether the figure is within the limit."""
        return self.measured is not None and self.measured <= self.limit

    def to_json(self) -> dict[str, Any]:
        """As in a report's `gates`."""
        return {"gate": self.gate, "limit": self.limit, "measured": self.measured, "passed": self.passed}


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate that was made and run on the search samples, or why it could not be.

    `latency_ratio` is its p50 over the variant's in the same run. `states` is what each unit was made.
    """

    number: int
    candidate: Candidate
    figures: Figures | None
    size_bytes: int | None
    latency: Latency | None
    latency_ratio: float | None
    seconds: float
    error: str | None = None
    states: Mapping[tuple[str, str], str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def id(self) -> str:
        """Its name in `tried` and `front`."""
        return f"t{self.number}"

    @property
    def point(self) -> tuple[float, float, float] | None:
        """Accuracy drop, size, latency ratio: the axes of the Pareto front; None where one has no figure."""
        drop = None if self.figures is None else self.figures.drop
        if drop is None or self.size_bytes is None or self.latency_ratio is None:
            return None
        return drop, float(self.size_bytes), self.latency_ratio

    def to_json(self) -> dict[str, Any]:
        """The entry of `tried`."""
        found = self.figures.to_json() if self.figures is not None else {}
        names = ("accuracy", "accuracy_drop", "agreement", "output_nrmse")
        return {
            "id": self.id,
            "family": self.candidate.family,
            "what": self.candidate.what,
            "kept": [unit.name for unit in self.candidate.kept],
            "kept_as": self.candidate.precision,
            **{name: found.get(name) for name in names},
            "size_bytes": self.size_bytes,
            "latency_ms": None if self.latency is None else {"p50": self.latency.p50, "p95": self.latency.p95},
            "latency_ratio": self.latency_ratio,
            "seconds": self.seconds,
            "error": self.error,
        }


def checks(gates: Gates, figures: Figures | None, size_bytes: int | None, latency: Latency | None) -> list[Check]:
    """Every gate that was set, with the figure that it bounds."""
    measured: dict[str, float | None] = {
        "accuracy_drop": None if figures is None else figures.drop,
        "latency_ms.p50": None if latency is None else latency.p50,
        "latency_ms.p95": None if latency is None else latency.p95,
        "size_mb": None if size_bytes is None else size_bytes / 1e6,
    }
    limits = {
        "accuracy_drop": gates.accuracy_drop,
        "latency_ms.p50": gates.latency_ms_p50,
        "latency_ms.p95": gates.latency_ms_p95,
        "size_mb": gates.size_mb,
    }
    return [Check(name, limit, measured[name]) for name, limit in limits.items() if limit is not None]


def checks_of(gates: Gates, trial: Trial) -> list[Check]:
    """The gates on the search samples."""
    return checks(gates, trial.figures, trial.size_bytes, trial.latency)


def passes(gates: Gates, trial: Trial) -> bool:
    """Whether it meets every gate on the search samples."""
    return trial.error is None and all(check.passed for check in checks_of(gates, trial))


def mends(gates: Gates, trial: Trial, variant: Trial) -> bool:
    """Whether it meets every gate, and is no worse than the variant in what it answers."""
    if trial.figures is None or variant.figures is None:
        return False
    return passes(gates, trial) and trial.figures.order <= variant.figures.order


def pick(gates: Gates, trials: Sequence[Trial], variant: Trial) -> Trial | None:
    """Of what mends, the closest to the variant; the fewest kept layers; of other precisions the smallest.

    Another precision goes before kept layers where it is clearly smaller and faster.
    """
    good = [trial for trial in trials if mends(gates, trial, variant)]
    if not good:
        return None
    best = min(good, key=_distance)
    if best.candidate.family == "layers":
        others = [trial for trial in good if trial.candidate.family == "precision" and _clearly_cheaper(trial, best)]
        return min(others, key=_distance, default=best)
    return best


def _distance(trial: Trial) -> tuple[int, int, int, int]:
    as_float = trial.candidate.precision in (None, "float")
    family = CLOSEST[trial.candidate.family]
    return family, len(trial.candidate.kept), 0 if as_float else 1, trial.size_bytes or 0


def _clearly_cheaper(trial: Trial, than: Trial) -> bool:
    a, b = trial.point, than.point
    return a is not None and b is not None and a[1] < b[1] * _CLEARLY_SMALLER and a[2] < b[2] * _CLEARLY_FASTER


def closest(trials: Sequence[Trial]) -> Trial | None:
    """The trial that answers most like the float model; None where none could be run."""
    run = [trial for trial in trials if trial.figures is not None]
    return min(run, key=lambda trial: trial.figures.order if trial.figures else (1.0, 1.0, 1.0), default=None)


def pareto(trials: Sequence[Trial]) -> list[Trial]:
    """What no other trial beats in accuracy drop, size and latency together, the most accurate first."""
    return [trials[index] for index in front([trial.point for trial in trials])]
