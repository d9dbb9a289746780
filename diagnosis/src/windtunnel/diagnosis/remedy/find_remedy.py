"""The use case: find a recipe that fixes a variant, and prove it on samples that nothing has seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from windtunnel.diagnosis.remedy.candidate_builder import CandidateBuilder, Models
from windtunnel.diagnosis.remedy.judge_remedy import judge, why_none
from windtunnel.diagnosis.remedy.measure.measure_models import require_same_ends
from windtunnel.diagnosis.remedy.measure.model_figures import Latency
from windtunnel.diagnosis.remedy.measure.model_timing import Device, Stopwatch, ThisMachine
from windtunnel.diagnosis.remedy.measure.sample_parts import Parts, make_parts
from windtunnel.diagnosis.remedy.rank_layers import Rank, RankByComparison
from windtunnel.diagnosis.remedy.remedy_result import Drawn, Pair, Proof, Remedy, Side
from windtunnel.diagnosis.remedy.search.candidates import Check, Trial, checks, passes
from windtunnel.diagnosis.remedy.search.recipe_search import Found, Search
from windtunnel.diagnosis.remedy.search.recipes import Scheme, Unit, scheme_of, units_of
from windtunnel.diagnosis.remedy.variant_origin import foreign_weights
from windtunnel.errors import InvalidInput
from windtunnel.isolation import Pool, Progress
from windtunnel.plan import Gates
from windtunnel.tflite import ModelFacts, read_model

OnTrial = Callable[[Trial, Trial | None], None]


async def find_remedy(
    reference: Path,
    variant: Path,
    samples: Path,
    folder: Path,
    pool: Pool,
    *,
    gates: Gates,
    rank: Rank | None = None,
    pipeline: Mapping[str, Any] | None = None,
    budget_s: float = 900.0,
    stopwatch: Stopwatch | None = None,
    on_trial: OnTrial = lambda trial, best: None,
    on_note: Callable[[str], None] = lambda text: None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Remedy:
    """Searches a recipe under which the variant meets the gates, and proves it on held-back samples.

    Args:
        reference: the float .tflite model.
        variant: what was made of it and loses accuracy.
        samples: what `load_samples` reads; with labels if there are some.
        folder: private; the model of the remedy is written to it.
        pool: where native code runs.
        gates: accuracy_drop, latency_ms and size_mb; accuracy_drop must be set.
        rank: which layers are likely to cause the loss; asked once, with the calibration set. None: the layers are
            compared.
        pipeline: preprocessing from samples to the model's input; None: samples are inputs already.
        budget_s: the search ends after so many seconds; the proof comes on top.
        stopwatch: measures latency; None: on this machine, which does not count as a device that the model is meant
            for.
        on_trial: receives every trial, with the best so far.
        on_note: receives what a user should know, as a sentence.
        on_progress: receives the progress of single runs.

    Returns:
        The remedy, its proof, and every trial.

    Raises:
        InvalidInput: there are too few samples, the reference is not float, or the variant was not made from it.
    """
    started = time.monotonic()
    models = Models(reference.absolute(), variant.absolute())
    stopwatch = stopwatch or ThisMachine(pool)
    case = await _prepare(models, samples, folder, pool, pipeline, gates, stopwatch, on_progress)
    before = await case.builder.of_variant()
    if passes(gates, before) and (unneeded := await _as_it_is(case, before)) is not None:
        return replace(unneeded, seconds=time.monotonic() - started)
    rank = rank or RankByComparison(models, pool, on_note)
    ranking = await rank(case.parts.calibration_file)
    search = Search(
        case.builder,
        case.scheme,
        case.units,
        gates,
        ranking,
        budget_s=budget_s,
        on_target=stopwatch.device.is_target,
        on_trial=lambda trial: on_trial(trial, search.best),
    )
    result = await _prove(case, before, await search.run(), folder.absolute())
    return replace(result, ranking=tuple(ranking), builds=case.builder.builds, seconds=time.monotonic() - started)


async def _prepare(
    models: Models,
    samples: Path,
    folder: Path,
    pool: Pool,
    pipeline: Mapping[str, Any] | None,
    gates: Gates,
    stopwatch: Stopwatch,
    on_progress: Callable[[Progress], None] | None,
) -> _Case:
    """Reads both models and draws the samples. Raises InvalidInput as `find_remedy`."""
    facts, made, scheme = await asyncio.to_thread(_require_pair, models)
    foreign = await pool.run(foreign_weights, facts, made)
    units = await asyncio.to_thread(units_of, facts)
    parts = await pool.run(
        make_parts, facts, samples.absolute(), pipeline, folder.absolute() / "samples", on_progress=on_progress
    )
    builder = CandidateBuilder(models, parts, units, folder.absolute(), pool, stopwatch, on_progress)
    pair = Pair(models.reference, models.variant, scheme.words, tuple(foreign))
    return _Case(builder, stopwatch.device, models, parts, gates, pair, scheme, units)


@dataclass(frozen=True, slots=True)
class _Case:
    """What stays the same through one search."""

    builder: CandidateBuilder
    device: Device
    models: Models
    parts: Parts
    gates: Gates
    pair: Pair
    scheme: Scheme
    units: tuple[Unit, ...]

    @property
    def drawn(self) -> Drawn:
        parts = self.parts
        counts = (parts.calibration.count, parts.search.count, parts.held_back.count, parts.unused, parts.repeated)
        return Drawn(*counts, parts.stratified, parts.seed, parts.measure)

    async def side(self, model: Path, latency: Latency) -> Side:
        figures = await self.builder.figures(model, self.parts.held_back)
        return Side(figures, model.stat().st_size, latency)

    def checks(self, side: Side) -> tuple[Check, ...]:
        return tuple(checks(self.gates, side.figures, side.size_bytes, side.latency))


def _require_pair(models: Models) -> tuple[ModelFacts, ModelFacts, Scheme]:
    """The float model, the variant, and how that is quantized.

    Raises:
        InvalidInput: the reference is quantized, or the variant is not.
    """
    reference, variant = read_model(models.reference), read_model(models.variant)
    own = scheme_of(reference)
    if own is not None:
        raise InvalidInput(
            f"{reference.path.name} is quantized itself ({own.words})",
            hint="the first model is the float model, the second the variant that was made from it",
        )
    scheme = scheme_of(variant)
    if scheme is None:
        raise InvalidInput(
            f"{variant.path.name} is not quantized: there is no recipe to fix",
            hint="give its quantized variant second, and whole: a damaged file may look like a float model; "
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
    latencies = await case.builder.race(models if model is None else [*models, model])
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
    made = await case.builder.make(choice.candidate, folder / "remedy")
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
