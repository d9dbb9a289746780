"""The use case: find a recipe that mends a variant, and prove it on samples that nothing has seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from windtunnel.diagnosis.remedy.candidate_builder import Lab, Models
from windtunnel.diagnosis.remedy.candidates import Check, Trial, checks, checks_of, closest, passes
from windtunnel.diagnosis.remedy.measure_models import require_same_ends
from windtunnel.diagnosis.remedy.model_figures import Figures, Latency
from windtunnel.diagnosis.remedy.model_timing import Device, Stopwatch, ThisMachine
from windtunnel.diagnosis.remedy.recipe_search import Found, Search
from windtunnel.diagnosis.remedy.recipes import Scheme, scheme_of, units_of
from windtunnel.diagnosis.remedy.remedy_result import Drawn, Pair, Proof, Remedy, Side, Verdict
from windtunnel.diagnosis.remedy.sample_parts import Parts, make_parts
from windtunnel.diagnosis.remedy.variant_origin import strange_weights
from windtunnel.errors import InvalidInput
from windtunnel.isolation import Pool, Progress
from windtunnel.plan import Gates
from windtunnel.tflite import ModelFacts, read_model

# From the calibration set (.npz of model inputs) to (layer of the float model, weight), in any order.
Rank = Callable[[Path], Awaitable[Sequence[tuple[str, float]]]]


async def find_remedy(
    reference: Path,
    variant: Path,
    samples: Path,
    folder: Path,
    pool: Pool,
    *,
    gates: Gates,
    rank: Rank,
    pipeline: Mapping[str, Any] | None = None,
    budget_s: float = 900.0,
    stopwatch: Stopwatch | None = None,
    on_trial: Callable[[Trial, Trial | None], None] = lambda trial, best: None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Remedy:
    """Searches a recipe under which the variant meets the gates, and proves it on held-back samples.

    Args:
        reference: the float .tflite model.
        variant: what was made of it and loses accuracy.
        samples: what `load_samples` reads; with labels where there are some.
        folder: private; the mended model lies in it afterwards.
        pool: where native code runs.
        gates: accuracy_drop, latency_ms and size_mb; accuracy_drop must be set.
        rank: tells which layers are likely to do the damage; asked once, with the calibration set.
        budget_s: the search ends after so many seconds; the proof comes on top.
        stopwatch: measures latency; None: on this machine, which is not taken for a device that the model is meant
            for.
        on_trial: told of every trial, with the best so far.

    Raises InvalidInput: too few samples, a reference that is not float, a variant that was not made from it.
    """
    started = time.monotonic()
    models = Models(reference.absolute(), variant.absolute())
    facts, made, scheme = await asyncio.to_thread(_require_pair, models)
    strange = await pool.run(strange_weights, facts, made)
    units = await asyncio.to_thread(units_of, facts)
    parts = await pool.run(
        make_parts, facts, samples.absolute(), pipeline, folder.absolute() / "samples", on_progress=on_progress
    )
    stopwatch = stopwatch or ThisMachine(pool)
    lab = Lab(models, parts, units, folder.absolute(), pool, stopwatch, on_progress)
    case = _Case(
        lab,
        stopwatch.device,
        models,
        parts,
        gates,
        Pair(models.reference, models.variant, scheme.words, tuple(strange)),
    )
    before = await lab.of_variant()
    if passes(gates, before) and (unneeded := await _as_it_is(case, before)) is not None:
        return replace(unneeded, seconds=time.monotonic() - started)
    ranking = await rank(parts.calibration_file)
    search = Search(
        lab,
        scheme,
        units,
        gates,
        ranking,
        budget_s=budget_s,
        on_target=stopwatch.device.is_target,
        on_trial=lambda trial: on_trial(trial, search.best),
    )
    result = await _prove(case, before, await search.run(), folder.absolute())
    return replace(result, ranking=tuple(ranking), builds=lab.builds, seconds=time.monotonic() - started)


@dataclass(frozen=True, slots=True)
class _Case:
    """What stays the same through one search."""

    lab: Lab
    device: Device
    models: Models
    parts: Parts
    gates: Gates
    pair: Pair

    @property
    def drawn(self) -> Drawn:
        parts = self.parts
        counts = (parts.calibration.count, parts.search.count, parts.held_back.count, parts.unused, parts.repeated)
        return Drawn(*counts, parts.stratified, parts.seed, parts.measure)

    async def side(self, model: Path, latency: Latency) -> Side:
        figures = await self.lab.figures(model, self.parts.held_back)
        return Side(figures, model.stat().st_size, latency)

    def checks(self, side: Side) -> tuple[Check, ...]:
        return tuple(checks(self.gates, side.figures, side.size_bytes, side.latency))


def _require_pair(models: Models) -> tuple[ModelFacts, ModelFacts, Scheme]:
    """The float model, the variant, and how that is quantised."""
    reference, variant = read_model(models.reference), read_model(models.variant)
    own = scheme_of(reference)
    if own is not None:
        raise InvalidInput(
            f"{reference.path.name} is quantised itself ({own.words})",
            hint="the first model is the float model, the second the variant that was made from it",
        )
    scheme = scheme_of(variant)
    if scheme is None:
        raise InvalidInput(
            f"{variant.path.name} is not quantised: there is no recipe to mend",
            hint="give its quantised variant second, and whole: a damaged file may look like a float model; "
            "`windtunnel diff` compares any two",
        )
    require_same_ends(reference, variant)
    return reference, variant, scheme


async def _as_it_is(case: _Case, before: Trial) -> Remedy | None:
    """The result where the variant meets every gate on the held-back samples too."""
    proof = await _proof(case, None)
    if not all(check.passed for check in case.checks(proof.variant)):
        return None
    reason = f"{case.pair.variant.name} meets every gate as it is, on samples of either part"
    return Remedy("not_needed", reason, case.pair, case.drawn, case.checks(proof.variant), proof, before, case.device)


async def _proof(case: _Case, model: Path | None) -> Proof:
    models = [case.models.reference, case.models.variant]
    latencies = await case.lab.race(models if model is None else [*models, model])
    reference = await case.side(case.models.reference, latencies[0])
    variant = await case.side(case.models.variant, latencies[1])
    return Proof(reference, variant, None if model is None else await case.side(model, latencies[2]))


async def _prove(case: _Case, before: Trial, found: Found, folder: Path) -> Remedy:
    """Makes the choice once more and runs it on the held-back samples."""
    choice = found.choice
    if choice is None:
        proof = await _proof(case, None)
        reason = why_none(found, case.gates)
        result = Remedy("none", reason, case.pair, case.drawn, case.checks(proof.variant), proof, before, case.device)
        return replace(result, trials=found.trials, out_of_time=found.out_of_time)
    made = await case.lab.make(choice.candidate, folder / "remedy")
    proof = await _proof(case, made.model)
    assert proof.remedy is not None
    gates = case.checks(proof.remedy)
    verdict, reason = judge(proof.variant, proof.remedy, gates)
    result = Remedy(verdict, reason, case.pair, case.drawn, gates, proof, before, case.device, trials=found.trials)
    result = replace(result, out_of_time=found.out_of_time)
    if verdict == "none":
        return result
    calibration = case.parts.calibration_file if made.calibration_samples else None
    return replace(result, choice=choice, model=made.model, calibration=calibration)


def judge(variant: Side, remedy: Side, gates: Sequence[Check]) -> tuple[Verdict, str]:
    """What the held-back samples say of the choice: its gates decide, then whether its drop is larger."""
    drops = f"the drop is {_drop(remedy.figures)}, was {_drop(variant.figures)}"
    missed = [check.gate for check in gates if not check.passed]
    if not missed:
        return "proven", f"every gate is met on the held-back samples; {drops}"
    start = f"it met the gates on the search samples, but on the held-back samples it misses {', '.join(missed)} and"
    if _is_worse(remedy.figures, variant.figures):
        return "none", f"{start} answers worse than the variant: {drops}"
    return "not_proven", f"{start} is no worse than the variant: {drops}"


def _is_worse(remedy: Figures, variant: Figures) -> bool:
    """By what the drop is measured by, and nothing else; a remedy without a figure is worse than one with."""
    if remedy.drop is None or variant.drop is None:
        return remedy.drop is None and variant.drop is not None
    return remedy.drop > variant.drop


def why_none(found: Found, gates: Gates) -> str:
    """Why no trial was chosen: what the most accurate one misses."""
    best = closest(found.trials)
    if best is None or best.figures is None:
        if not found.out_of_time:
            return "nothing that was tried could be made and run"
        if not found.trials:
            return "the budget ran out before anything was tried"
        return "the budget ran out, and nothing that was tried by then could be made and run"
    missed = ", ".join(check.gate for check in checks_of(gates, best) if not check.passed)
    which = (
        f"the most accurate, {best.id} ({best.candidate.what}), has a drop of {_drop(best.figures)} and misses {missed}"
    )
    if found.out_of_time:
        return f"the budget ran out before a recipe met every gate; {which}"
    return f"none of {len(found.trials)} recipes meets every gate on the search samples; {which}"


def _drop(figures: Figures) -> str:
    return "unknown size" if figures.drop is None else f"{figures.drop:.4g}"
