"""Makes candidates and runs them, each in a child process; the adapter behind a search."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from windtunnel.datacheck.classifier_scores import OutputKind
from windtunnel.diagnosis.quantize.make_variant import quantize
from windtunnel.diagnosis.quantize.variants import Calibration, Quantized, needs_calibration
from windtunnel.diagnosis.remedy.measure.model_figures import Answers, Figures, Latency, LatencyRatio, figures
from windtunnel.diagnosis.remedy.measure.model_timing import Stopwatch, Times
from windtunnel.diagnosis.remedy.measure.sample_parts import Part, Parts
from windtunnel.diagnosis.remedy.search.candidates import Candidate, Trial
from windtunnel.diagnosis.remedy.search.recipes import Unit, hits, quantized_units, require_kept
from windtunnel.diagnosis.remedy.search.whole_model_options import Ranges
from windtunnel.diagnosis.thresholds.remedy_thresholds import PROOF_SECONDS, PROOF_TURNS, SEARCH_SECONDS, SEARCH_TURNS
from windtunnel.errors import InvalidInput, UserError, WindtunnelError
from windtunnel.isolation import Pool, Progress
from windtunnel.plan import VariantSpec

OnProgress = Callable[[Progress], None] | None


@dataclass(frozen=True, slots=True)
class Models:
    """The float model and the variant that is to be fixed."""

    reference: Path
    variant: Path


class CandidateBuilder:
    """Everything that runs a model. Nothing that it makes outlives `folder`.

    Args:
        models: the two that a remedy starts from.
        parts: the samples.
        units: what recipes can address, to check that a rule hits one op exactly.
        folder: for models and outputs, private.
        pool: where native code runs.
        stopwatch: what measures latency.
        on_progress: called with the progress of a single run.
    """

    def __init__(
        self,
        models: Models,
        parts: Parts,
        units: tuple[Unit, ...],
        folder: Path,
        pool: Pool,
        stopwatch: Stopwatch,
        on_progress: OnProgress = None,
    ) -> None:
        self._models, self._parts, self._units = models, parts, units
        self._folder, self._pool, self._on_progress = folder, pool, on_progress
        self._stopwatch = stopwatch
        self._references: dict[Path, Answers] = {}
        self._count = 0
        self.builds = 0

    async def of_variant(self) -> Trial:
        """The variant itself on the search samples; its latency is its own measure, so the ratio is 1."""
        started = time.monotonic()
        path = self._models.variant
        found = await self.figures(path, self._parts.search)
        candidate = Candidate("variant", "the variant as it is", ())
        (times,) = await self._race([path], SEARCH_SECONDS, SEARCH_TURNS)
        size = path.stat().st_size
        ratio = LatencyRatio(1.0, 1.0, 1.0)
        return Trial(0, candidate, found, size, Latency.of(times), ratio, time.monotonic() - started)

    async def attempt(self, candidate: Candidate) -> Trial:
        """Implements `Bench.attempt`."""
        started = time.monotonic()
        self._count += 1
        number = self._count
        folder = self._folder / f"t{number}"
        try:
            made = await self.make(candidate, folder)
            found = await self.figures(made.model, self._parts.search)
            before, after = await self._race([self._models.variant, made.model], SEARCH_SECONDS, SEARCH_TURNS)
            size, states = made.model.stat().st_size, quantized_units(made.facts)
            latency, ratio = Latency.of(after), LatencyRatio.of(before, after)
            return Trial(number, candidate, found, size, latency, ratio, time.monotonic() - started, states=states)
        except WindtunnelError as error:
            if error.retryable:
                raise
            return Trial(number, candidate, None, None, None, None, time.monotonic() - started, error=str(error))
        finally:
            # A search of a large model would else fill the disk.
            for path in folder.glob("*"):
                path.unlink()

    async def clipped_ranges(self, percent: float) -> Ranges:
        """Implements `Bench.clipped_ranges`: empty if the float model cannot be run that way."""
        try:
            return await self._pool.run(
                _ranges, self._models.reference, self._parts.calibration, percent, on_progress=self._on_progress
            )
        except UserError:
            return {}

    async def make(self, candidate: Candidate, folder: Path) -> Quantized:
        """Makes a candidate as `windtunnel quantize` does, and checks that its rules apply.

        Args:
            candidate: to make.
            folder: of the new file.

        Returns:
            The new file, and how it was made.

        Raises:
            InvalidInput: it cannot be made, or no rule can address one of its units alone.
            JobFailed: the quantizer crashed or took too long.
            InternalError: a unit that was to be kept is quantized.
        """
        for rule, unit in zip(candidate.rules[len(candidate.base) :], candidate.kept, strict=True):
            addressed = hits(rule, self._units)
            if [one.key for one in addressed] != [unit.key]:
                raise InvalidInput(f"no rule can address {unit.operation} {unit.name!r} alone")
        spec = VariantSpec("remedy", candidate.rules)
        calibration = Calibration(self._parts.calibration_file) if needs_calibration(spec) else None
        self.builds += 1
        made = await quantize(
            self._models.reference, spec, folder, self._pool, calibration=calibration, on_progress=self._on_progress
        )
        if candidate.precision is not None:
            await asyncio.to_thread(require_kept, made.facts, candidate.kept, candidate.precision)
        return made

    async def figures(self, model: Path, part: Part) -> Figures:
        """Compares a model with the float model on one part of the samples.

        Args:
            model: the .tflite file.
            part: of the samples.

        Returns:
            The figures.
        """
        reference = await self._reference(part)
        if model == self._models.reference:
            found = reference
        else:
            outputs = part.folder / "outputs"
            found = await self._pool.run(
                _answer, model, part, outputs, self._models.reference, reference.kind, on_progress=self._on_progress
            )
        return figures(reference, found, part.classes, self._parts.measure)

    async def race(self, models: list[Path]) -> list[Latency]:
        """Measures models in turns, for the proof.

        Args:
            models: the .tflite files.

        Returns:
            Latencies, in the same order.
        """
        return [Latency.of(times) for times in await self._race(models, PROOF_SECONDS, PROOF_TURNS)]

    async def _race(self, models: list[Path], seconds: float, turns: int) -> list[Times]:
        fed, reference = self._parts.calibration, self._models.reference
        return await self._stopwatch.race(models, fed, reference, seconds=seconds, turns=turns)

    async def _reference(self, part: Part) -> Answers:
        if part.folder not in self._references:
            # Decisions are read the same way on all parts.
            kind = next((one.kind for one in self._references.values()), None)
            found = await self._pool.run(
                _answer_of_reference,
                self._models.reference,
                part,
                part.folder / "outputs",
                kind,
                on_progress=self._on_progress,
            )
            if found.non_finite:
                raise InvalidInput(
                    f"the float model answers NaN or infinity on {found.non_finite} of {part.count} samples",
                    hint="a remedy is measured against it: check the samples and the pipeline",
                )
            self._references[part.folder] = found
        return self._references[part.folder]


# Jobs: what they import is only ever loaded in the child.


def _answer(model: Path, part: Part, outputs: Path, reference: Path, kind: OutputKind | None) -> Answers:
    from windtunnel.diagnosis.remedy.measure import measure_models as evaluate

    return evaluate.answer(model, part, outputs, reference=reference, kind=kind)


def _answer_of_reference(reference: Path, part: Part, outputs: Path, kind: OutputKind | None) -> Answers:
    from windtunnel.diagnosis.remedy.measure import measure_models as evaluate

    return evaluate.answer_of_reference(reference, part, outputs, kind=kind)


def _ranges(model: Path, part: Part, percent: float) -> dict[str, tuple[float, float]]:
    from windtunnel.diagnosis.remedy.measure import measure_models as evaluate

    return evaluate.percentile_ranges(model, part, percent)
