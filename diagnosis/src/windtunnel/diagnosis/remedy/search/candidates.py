"""What a search tries, what came of it, and whether that is enough. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from windtunnel.diagnosis.remedy.measure.model_figures import Figures, Latency, LatencyRatio
from windtunnel.diagnosis.remedy.search.recipes import Precision, Rule, Unit
from windtunnel.diagnosis.thresholds.remedy_thresholds import CLEARLY_FASTER, CLEARLY_SMALLER
from windtunnel.plan import Gates

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

    `latency_ratio` is its latency over the variant's in the same run. `states` is what each unit was made.
    """

    number: int
    candidate: Candidate
    figures: Figures | None
    size_bytes: int | None
    latency: Latency | None
    latency_ratio: LatencyRatio | None
    seconds: float
    error: str | None = None
    states: Mapping[tuple[str, str], str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def id(self) -> str:
        """Its name in `tried` and `front`."""
        return f"t{self.number}"

    def beats(self, other: Trial) -> bool:
        """Whether it is as accurate, as small and as fast as another trial, and better in one of these.

        Latencies differ only beyond their noise. What lacks a figure neither beats nor is beaten.

        Args:
            other: trial of the same search.
        """
        costs, other_costs = self._costs, other._costs
        if costs is None or other_costs is None or self.latency_ratio is None or other.latency_ratio is None:
            return False
        if other.latency_ratio.is_below(self.latency_ratio) or any(
            a > b for a, b in zip(costs, other_costs, strict=True)
        ):
            return False
        return costs != other_costs or self.latency_ratio.is_below(other.latency_ratio)

    def equals(self, other: Trial) -> bool:
        """Whether two trials are as accurate and as small, and their latencies differ no more than the noise.

        Args:
            other: trial of the same search.

        Returns:
            False if one lacks a figure.
        """
        return self.has_figures and self._costs == other._costs and not (self.beats(other) or other.beats(self))

    @property
    def has_figures(self) -> bool:
        """Whether it can be compared with others."""
        return self._costs is not None and self.latency_ratio is not None

    @property
    def _costs(self) -> tuple[float, int] | None:
        """Accuracy drop and size: what is the same on any machine."""
        drop = None if self.figures is None else self.figures.drop
        return None if drop is None or self.size_bytes is None else (drop, self.size_bytes)

    def to_json(self) -> dict[str, Any]:
        """The entry of `tried`."""
        found = self.figures.to_json() if self.figures is not None else {}
        names = ("accuracy", "accuracy_drop", "agreement", "output_nrmse")
        ratio = self.latency_ratio
        return {
            "id": self.id,
            "family": self.candidate.family,
            "what": self.candidate.what,
            "kept": [unit.name for unit in self.candidate.kept],
            "kept_as": self.candidate.precision,
            **{name: found.get(name) for name in names},
            "size_bytes": self.size_bytes,
            "latency_ms": None if self.latency is None else {"p50": self.latency.p50, "p95": self.latency.p95},
            "latency_ratio": None if ratio is None else ratio.value,
            "latency_ratio_ci": None if ratio is None else [ratio.low, ratio.high],
            "seconds": self.seconds,
            "error": self.error,
        }


def checks(gates: Gates, figures: Figures | None, size_bytes: int | None, latency: Latency | None) -> list[Check]:
    """Compares figures with the gates that were set.

    Args:
        gates: None fields are not set.
        figures: None: not measured.
        size_bytes: None: not measured.
        latency: None: not measured.

    Returns:
        Every gate, with the figure that it bounds.
    """
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
    """Compares a trial's figures on the search samples with the gates.

    Args:
        gates: to be met.
        trial: of the search.

    Returns:
        Every gate, with the figure that it bounds.
    """
    return checks(gates, trial.figures, trial.size_bytes, trial.latency)


def passes(gates: Gates, trial: Trial) -> bool:
    """Whether a trial meets every gate on the search samples.

    Args:
        gates: to be met.
        trial: of the search.

    Returns:
        False for a trial with an error.
    """
    return trial.error is None and all(check.passed for check in checks_of(gates, trial))


def pick(gates: Gates, trials: Sequence[Trial], *, on_target: bool = False) -> Trial | None:
    """Chooses, of what meets every gate, the closest to the variant.

    Then the fewest kept layers count; of other precisions the smallest model.

    Args:
        gates: what must hold on the search samples.
        trials: of the search.
        on_target: latencies are of a device that the model is meant for. Only then do they decide: another precision
            goes before kept layers if it is clearly smaller and clearly faster.

    Returns:
        None if none meets every gate.
    """
    good = [trial for trial in trials if passes(gates, trial)]
    if not good:
        return None
    best = min(good, key=_distance)
    if on_target and best.candidate.family == "layers":
        others = [trial for trial in good if trial.candidate.family == "precision" and _clearly_cheaper(trial, best)]
        return min(others, key=_distance, default=best)
    return best


def _distance(trial: Trial) -> tuple[int, int, int, int]:
    as_float = trial.candidate.precision in (None, "float")
    family = CLOSEST[trial.candidate.family]
    return family, len(trial.candidate.kept), 0 if as_float else 1, trial.size_bytes or 0


def _clearly_cheaper(trial: Trial, than: Trial) -> bool:
    if trial.size_bytes is None or than.size_bytes is None or trial.latency_ratio is None or than.latency_ratio is None:
        return False
    is_smaller = trial.size_bytes < than.size_bytes * CLEARLY_SMALLER
    return is_smaller and trial.latency_ratio.is_below(than.latency_ratio, CLEARLY_FASTER)


def closest(trials: Sequence[Trial]) -> Trial | None:
    """The trial whose answers are the most similar to the float model's.

    Args:
        trials: of the search.

    Returns:
        None if none could be run.
    """
    run = [trial for trial in trials if trial.figures is not None]
    return min(run, key=lambda trial: trial.figures.order if trial.figures else (1.0, 1.0, 1.0), default=None)


def pareto(trials: Sequence[Trial]) -> list[Trial]:
    """The trials that no other one beats in accuracy drop, size and latency together.

    Args:
        trials: of the search; of equal ones the first stays.

    Returns:
        The most accurate first.
    """
    known = [trial for trial in trials if trial.has_figures]
    unbeaten = [trial for trial in known if not any(other.beats(trial) for other in known)]
    found = [one for place, one in enumerate(unbeaten) if not any(one.equals(other) for other in unbeaten[:place])]
    return sorted(found, key=lambda trial: (trial._costs or (), trial.number))
