"""Runs two models over samples: everything about a comparison that needs interpreters.

Native code runs here: call it as a job of `windtunnel.isolation.ChildPool`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from windtunnel.accelerators import XNNPACK
from windtunnel.diagnosis.comparison.explain import isolated_pairs
from windtunnel.diagnosis.comparison.match_by_structure import matched_by_structure
from windtunnel.diagnosis.comparison.run_result import MatchedRun, RunResult, RunSettings
from windtunnel.diagnosis.comparison.sample_findings import look_at_data
from windtunnel.diagnosis.execution.checkpoint import Checkpoint
from windtunnel.diagnosis.execution.match_by_values import match_by_values
from windtunnel.diagnosis.execution.output_pairs import OutputPairs, pair_outputs
from windtunnel.diagnosis.execution.output_sums import OutputSums
from windtunnel.diagnosis.execution.patched_runs import LiveTrials
from windtunnel.diagnosis.execution.run_samples import Models, Sums, ahead_of, sum_samples
from windtunnel.diagnosis.execution.runnable_pair import RunnablePair, open_pair
from windtunnel.diagnosis.feeding.paired_inputs import feed
from windtunnel.diagnosis.feeding.random_inputs import StretchedFeed
from windtunnel.diagnosis.graph import Matching
from windtunnel.diagnosis.graph.scale_overflow import overflowed_pairs
from windtunnel.pipeline import Feed
from windtunnel.pipeline.feed import SampledFeed
from windtunnel.task_names import TaskSpec
from windtunnel.tasks.open_task import Asked
from windtunnel.tasks.raw_heads import postprocess_of
from windtunnel.tflite import Accelerator


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run the models; the fields are those of `compare_models`."""

    max_samples: int | None = None
    threads: int = 1
    accelerator: Accelerator = XNNPACK
    checkpoint: Checkpoint | None = None
    patches: bool = True
    look: bool = False
    task: TaskSpec | None = None


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run whose models are still open, for trials."""

    result: RunResult
    runnable: RunnablePair
    given: Feed

    def trials(self, matched: MatchedRun) -> LiveTrials:
        """Trials of the layers to judge.

        Args:
            matched: the layers.

        Returns:
            They run the models on request.
        """
        settings = self.result.settings
        return LiveTrials(
            self.runnable,
            self.given,
            matched.matching,
            isolated_pairs(self.result, matched),
            settings.count,
            threads=settings.threads,
            accelerator=self.result.facts.accelerator,
            try_fixes=settings.patches,
        )


@contextmanager
def open_run(
    reference: Path, candidate: Path, samples: Path | None, pipeline: Mapping[str, Any] | None, options: RunOptions
) -> Iterator[OpenRun]:
    """Runs two models over samples; they stay open for trials until the block ends.

    Args:
        reference: as `compare_models` takes it.
        candidate: as `compare_models` takes it.
        samples: as `compare_models` takes them.
        pipeline: as `compare_models` takes it.
        options: how to run.

    Yields:
        The run.

    Raises:
        InvalidInput: the models or the samples cannot be used.
        Unsupported: the runtime cannot run a model.
    """
    structure = matched_by_structure(reference, candidate)
    given = feed(samples, pipeline, structure.reference.facts, structure.candidate.facts)
    count = given.count if options.max_samples is None else min(given.count, options.max_samples)
    ranges = given.ranges if isinstance(given, StretchedFeed) else None
    settings = RunSettings(options.threads, options.max_samples, count, samples is None, ranges, options.patches)
    with open_pair(
        structure,
        next(iter(given)),
        synthetic=settings.synthetic,
        threads=options.threads,
        accelerator=options.accelerator,
    ) as runnable:
        hidden = runnable.hidden(structure)
        matching = runnable.facts.without_hidden(structure, hidden)
        overflowed = overflowed_pairs(structure, hidden.reference.keys())
        if not runnable.facts.keeps_state:
            sides = hidden.reference.keys(), hidden.candidate.keys()
            matching = match_by_values(matching, runnable.reference, runnable.candidate, given, sides)
        outputs = pair_outputs(runnable, given, count, matching.same_outputs())
        loaded = given.samples if isinstance(given, SampledFeed) else None
        asked = Asked(options.task, loaded, postprocess_of(pipeline))
        sums = _sum(runnable, matching, outputs, given, settings, options.checkpoint, asked)
        feedable = runnable.feedable(matching)
        data = look_at_data(reference, given, pipeline, sums.outputs, count) if options.look else ()
        result = RunResult(settings, runnable.facts, matching, feedable, overflowed, sums, outputs, data)
        result = replace(result, asked=sums.outputs.task.declared_spec, task=sums.outputs.task_diff())
        yield OpenRun(result, runnable, given)


def _sum(
    runnable: RunnablePair,
    matching: Matching,
    outputs: OutputPairs,
    given: Feed,
    settings: RunSettings,
    checkpoint: Checkpoint | None,
    asked: Asked,
) -> Sums:
    facts = matching.reference.facts, matching.candidate.facts
    sums = OutputSums(*facts, given.labels, outputs.same, runnable.facts.no_figure, asked)
    models = Models(runnable.reference, runnable.candidate)
    ahead = ahead_of(models, matching.pairs) if runnable.facts.repeats else None
    # What a model keeps between its runs is in no checkpoint.
    saved = None if runnable.facts.keeps_state else checkpoint
    return sum_samples(models, given, matching.pairs, sums, limit=settings.count, checkpoint=saved, ahead=ahead)
