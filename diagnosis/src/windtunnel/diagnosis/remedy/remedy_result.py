"""What a search for a remedy says in the end. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from windtunnel.artifacts.stores.port import sha256_of
from windtunnel.diagnosis.remedy.measure.model_figures import Figures, Latency, Measure
from windtunnel.diagnosis.remedy.measure.model_timing import Device
from windtunnel.diagnosis.remedy.search.candidates import Check, Trial, pareto
from windtunnel.diagnosis.remedy.search.recipes import Unit

SCHEMA: Final = "windtunnel.remedy/1"

# On held-back samples, a proven remedy meets every gate. One that is not_proven misses a gate, but is no worse than the
# variant. With none, nothing was found, or it misses a gate and is worse. If not_needed, the variant meets every gate.
Verdict = Literal["proven", "not_proven", "none", "not_needed"]


@dataclass(frozen=True, slots=True)
class Side:
    """One model on the held-back samples, and what it costs."""

    figures: Figures
    size_bytes: int
    latency: Latency

    def to_json(self) -> dict[str, Any]:
        """The entry of `proof`."""
        return {**self.figures.to_json(), "size_bytes": self.size_bytes, "latency_ms": asdict(self.latency)}


@dataclass(frozen=True, slots=True)
class Proof:
    """Float model, variant and remedy side by side; without a remedy the first two alone."""

    reference: Side
    variant: Side
    remedy: Side | None

    def to_json(self) -> dict[str, Any]:
        """`proof` of the document."""
        remedy = self.remedy
        return {
            "float": self.reference.to_json(),
            "variant": self.variant.to_json(),
            "remedy": None if remedy is None else remedy.to_json(),
            "ratios": None
            if remedy is None
            else {"to_float": _ratios(remedy, self.reference)} | {"to_variant": _ratios(remedy, self.variant)},
        }


def _ratios(remedy: Side, variant: Side) -> dict[str, float]:
    return {
        "size": remedy.size_bytes / variant.size_bytes,
        "latency_p50": remedy.latency.p50 / variant.latency.p50,
        "latency_p95": remedy.latency.p95 / variant.latency.p95,
    }


@dataclass(frozen=True, slots=True)
class Drawn:
    """How the samples were split, and by what accuracy is measured. `repeated` ones equal another and were left out."""

    calibration: int
    search: int
    held_back: int
    unused: int
    repeated: int
    stratified: bool
    seed: int
    measure: Measure


@dataclass(frozen=True, slots=True)
class Pair:
    """The two models that it started from; `scheme` says how the variant is quantized.

    `foreign_weights` are those of the variant that its float model does not explain.
    """

    reference: Path
    variant: Path
    scheme: str
    foreign_weights: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Remedy:
    """The result. `model` and `calibration` are files; None: there is none, or the recipe needs none.

    `checks` are the gates on the held-back samples, of the remedy or else of the variant. `device` is what latencies
    are of. `trials` do not hold the variant itself, which `before` is, on the search samples.
    """

    verdict: Verdict
    reason: str
    pair: Pair
    drawn: Drawn
    checks: tuple[Check, ...]
    proof: Proof
    before: Trial
    device: Device
    trials: tuple[Trial, ...] = ()
    choice: Trial | None = None
    model: Path | None = None
    calibration: Path | None = None
    ranking: tuple[tuple[str, float], ...] = ()
    out_of_time: bool = False
    builds: int = 0
    seconds: float = 0.0

    @property
    def recipe(self) -> list[dict[str, Any]]:
        """The rules of the remedy as JSON; none without one."""
        return [] if self.choice is None else [dict(rule) for rule in self.choice.candidate.rules]

    @property
    def certain(self) -> bool | None:
        """Whether the whole 95 % interval of the drop is within its gate; None if there is no interval."""
        side = self.proof.remedy or self.proof.variant
        limit = next((check.limit for check in self.checks if check.gate == "accuracy_drop"), None)
        interval = side.figures.drop_interval
        return None if limit is None or interval is None else interval[1] <= limit

    @property
    def front(self) -> list[Trial]:
        """What nothing else beats of all that was tried, the variant among it."""
        return pareto([self.before, *self.trials])

    def to_json(self) -> dict[str, Any]:
        """`windtunnel.remedy/1`."""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "reason": self.reason,
            "gates": [check.to_json() for check in self.checks],
            "certain": self.certain,
            "samples": asdict(self.drawn),
            "float": _file(self.pair.reference),
            "variant": {
                **_file(self.pair.variant),
                "scheme": self.pair.scheme,
                "strange": list(self.pair.foreign_weights),
            },
            "remedy": None if self.choice is None else self._remedy(self.choice),
            "latency_device": asdict(self.device),
            "proof": self.proof.to_json(),
            "tried": [trial.to_json() for trial in (self.before, *self.trials)],
            "front": [trial.id for trial in self.front],
            "builds": self.builds,
            "seconds": self.seconds,
            "out_of_time": self.out_of_time,
        }

    def _remedy(self, choice: Trial) -> dict[str, Any]:
        calibration = self.calibration
        return {
            "trial": choice.id,
            "family": choice.candidate.family,
            "what": choice.candidate.what,
            "kept_as": choice.candidate.precision,
            "kept": [self._kept(unit, choice) for unit in choice.candidate.kept],
            "recipe": self.recipe,
            "calibration": None if calibration is None else {**_file(calibration), "samples": self.drawn.calibration},
            "dominated_by": [trial.id for trial in self.front if trial.beats(choice)],
            "sha256": None if self.model is None else sha256_of(self.model),
        }

    def _kept(self, unit: Unit, choice: Trial) -> dict[str, Any]:
        """`weight`: that of the ranking; `drop_without`: on the search samples, with all others kept but this one."""
        others = {one.key for one in choice.candidate.kept} - {unit.key}
        precision = choice.candidate.precision if others else None
        trials = [
            trial
            for trial in self.trials
            if {one.key for one in trial.candidate.kept} == others
            and trial.candidate.precision == precision
            and trial.candidate.family in ("calibration", "per_channel", "percentile", "algorithm", "layers")
            and trial.candidate.base == choice.candidate.base
        ]
        figures = trials[0].figures if trials else None
        return {
            "layer": unit.name,
            "op": unit.operation,
            "op_index": unit.op_index,
            "weight": dict(self.ranking).get(unit.name),
            "drop_without": None if figures is None else figures.drop,
        }


def _file(path: Path) -> dict[str, Any]:
    return {"name": path.name, "sha256": sha256_of(path), "size_bytes": path.stat().st_size}
