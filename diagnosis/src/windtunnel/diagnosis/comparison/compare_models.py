"""The use case: run two models over the same samples, compare every layer, and say why they differ.

Native code runs here: call it as a job of `windtunnel.isolation.ChildPool`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from windtunnel.diagnosis.comparison.count_coverage import coverage_of
from windtunnel.diagnosis.comparison.explain import Inside, Run, histograms_of, look_inside
from windtunnel.diagnosis.comparison.layer_entries import layer_entry
from windtunnel.diagnosis.comparison.sample_findings import look_at_data
from windtunnel.diagnosis.execution.checkpoint import Checkpoint
from windtunnel.diagnosis.execution.match_by_values import settle
from windtunnel.diagnosis.execution.output_pairs import pair_outputs
from windtunnel.diagnosis.execution.output_sums import OutputSums
from windtunnel.diagnosis.execution.run_samples import Models, ahead_of, stream
from windtunnel.diagnosis.execution.runnable_pair import open_pair
from windtunnel.diagnosis.feeding.paired_inputs import feed
from windtunnel.diagnosis.feeding.random_inputs import StretchedFeed
from windtunnel.diagnosis.findings.causes import Cause, Exclusion
from windtunnel.diagnosis.findings.comparison import Comparison, Histogram, LayerDiff, OutputDiff
from windtunnel.diagnosis.graph import Matching, match_layers
from windtunnel.diagnosis.graph.model_precision import is_quantized
from windtunnel.diagnosis.graph.scale_overflow import overflowed_pairs
from windtunnel.diagnosis.rules.equivalent_layers import without_rewritten
from windtunnel.diagnosis.rules.non_finite_causes import plain_causes
from windtunnel.diagnosis.rules.non_finite_outputs import non_finite
from windtunnel.diagnosis.rules.unexplained_layers import accumulated
from windtunnel.diagnosis.rules.verdict import chance_of_drop, judge, left_open, samples_reasons
from windtunnel.diagnosis.static.simplest_matching import simplest
from windtunnel.diagnosis.static.subgraphs import inner_layers
from windtunnel.diagnosis.thresholds.execution_thresholds import FEWEST_TYPICAL_SAMPLES, ISOLATED_SAMPLES
from windtunnel.diagnosis.thresholds.verdict_thresholds import CHANCE
from windtunnel.errors import InvalidInput
from windtunnel.pipeline import Feed
from windtunnel.tflite import Accelerator, read_model, require_values
from windtunnel.thresholds import DEFAULT_THRESHOLD


def compare_models(
    reference: Path,
    candidate: Path,
    samples: Path | None,
    pipeline: Mapping[str, Any] | None = None,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    max_samples: int | None = None,
    threads: int = 1,
    accelerator: Accelerator = "xnnpack",
    checkpoint: Checkpoint | None = None,
    mend: bool = True,
    look: bool = False,
) -> Comparison:
    """Compares a candidate with its reference over samples.

    Args:
        reference, candidate: .tflite files that take the same inputs.
        samples: what `load_samples` reads: arrays x and optionally y, or a folder per class; None: a few seeded
            random inputs in the range that both models take.
        pipeline: preprocessing from samples to the model's input; None: samples are inputs already.
        threshold: nRMSE above which a layer is over.
        max_samples: only the first so many samples; None: all.
        threads: CPU threads of each interpreter.
        accelerator: of both models. The default is the runtime's own and the fastest; every tensor can be read under
            it, and all layers are tried once more on other kernels.
        checkpoint: goes on from it where it fits, and saves to it.
        look: look also at the samples themselves: their values, and the numbering of their labels.
        mend: put what looks wrong right for a try, and try the layers on other kernels.

    Layers are compared as real numbers and summed up sample by sample, so memory does not grow with their number: rows
    of 2048 squares in float32, the rows in float64 (docs/decisions/0005). Reports progress. Raises InvalidInput and
    Unsupported from reading and running.
    """
    if not threshold > 0.0:
        raise InvalidInput(f"the threshold {threshold} is not positive")
    if max_samples is not None and max_samples < 1:
        raise InvalidInput(f"max_samples is {max_samples}", hint="give at least 1")
    reference_facts, candidate_facts = read_model(reference), read_model(candidate)
    for model in (reference_facts, candidate_facts):
        require_values(model)
    matching = simplest(match_layers(reference_facts, candidate_facts))
    given = feed(samples, pipeline, reference_facts, candidate_facts)
    count = given.count if max_samples is None else min(given.count, max_samples)
    with open_pair(
        matching, next(iter(given)), synthetic=samples is None, threads=threads, accelerator=accelerator
    ) as reach:
        whole, matching = matching, reach.readable(matching)
        overflowed = overflowed_pairs(whole, reach.hidden[0])
        if not reach.keeps_state:
            matching = settle(matching, reach.reference, reach.candidate, given, reach.hidden)
        paired = pair_outputs(reach, given, count, matching.same_outputs())
        outputs = OutputSums(reference_facts, candidate_facts, given.labels, paired.same, reach.no_figure)
        # What a model keeps between its runs is in no checkpoint.
        saved = None if reach.keeps_state else checkpoint
        models = Models(reach.reference, reach.candidate)
        ahead = ahead_of(models, matching.pairs) if reach.repeats else None
        figures = stream(models, given, matching.pairs, outputs, limit=count, checkpoint=saved, ahead=ahead)
        output, findings = outputs.result(), outputs.findings()
        matching, figures = without_rewritten(matching, figures, output, threshold)
        typical = samples is not None and count >= FEWEST_TYPICAL_SAMPLES
        run = Run(reach, given, matching, figures, output, count, threads, typical, threshold, mend, overflowed)
        inside = look_inside(run)
        inside = replace(inside, causes=(*paired.causes, *inside.causes), notes=(*paired.findings, *inside.notes))
        drawn = histograms_of(run, inside.causes, threshold)
    settings = {
        "accelerator": reach.accelerator,
        "threads": threads,
        "max_samples": max_samples,
        "synthetic_samples": samples is None,
        "local_samples": min(count, ISOLATED_SAMPLES) if inside.local else 0,
        "local_problem": inside.problem,
        "calibration_problem": "" if typical else _not_typical(matching, given, count),
        "mended_for_a_try": mend,
    }
    if look:
        findings += look_at_data(reference, given, pipeline, outputs, count)
    found = _conclude(run, output, inside, threshold, settings, drawn)
    return replace(
        found,
        reasons=(*samples_reasons(found.verdict, findings), *found.reasons),
        findings=(*found.findings, *non_finite(found), *findings),
    )


def _not_typical(matching: Matching, given: Feed, count: int) -> str:
    """Why calibrated ranges cannot be judged by the samples; empty where the candidate has none."""
    if not any(pair.candidate.tensor.quantization for pair in matching.pairs):
        return ""
    if isinstance(given, StretchedFeed):
        ranges = ", ".join(f"{low:.4g} to {high:.4g}" for low, high in given.ranges.values())
        held = f" (they fill what the models' own inputs hold, {ranges})" if ranges else ""
        return f"random inputs reach other values than data{held}: give samples"
    return f"{count} of at least {FEWEST_TYPICAL_SAMPLES} samples that tell which values the model meets"


def _conclude(
    run: Run,
    output: OutputDiff,
    inside: Inside,
    threshold: float,
    settings: Mapping[str, Any],
    drawn: Mapping[str, Histogram],
) -> Comparison:
    matching = run.reach.judged(run.matching, run.figures)
    layers = _layers(run, matching, inside)
    coverage = coverage_of(matching, inner_layers(run.reach.inner))
    causes = inside.causes
    if not causes:
        causes = plain_causes(layers, matching.pairs, matching.reference.facts, matching.candidate.facts, threshold)
    verdict, reasons = judge(
        layers,
        output,
        coverage,
        threshold=threshold,
        samples=run.count,
        synthetic=bool(settings["synthetic_samples"]),
        causes=causes,
    )
    if verdict != "healthy" and not causes:
        causes = inside.shared or accumulated(matching, inside.local)
    if run.reach.not_run is not None:
        verdict = "degraded" if verdict == "healthy" else verdict
        reasons = (*reasons, f"the candidate runs in part only: {run.reach.not_run}")
    if verdict == "healthy":
        reasons = (*reasons, *left_open(layers, output, coverage))
    if verdict != "healthy" and is_quantized(matching.reference.facts) and not is_quantized(matching.candidate.facts):
        reasons = (*reasons, "the reference is quantised and the candidate is not: are the two swapped?")
    return Comparison(
        verdict,
        reasons,
        coverage,
        layers,
        output,
        threshold,
        run.count,
        causes,
        tuple(
            one
            for one in (*inside.excluded, *_by_chance(output, run.count, causes))
            if one.code not in {cause.code for cause in causes}
        ),
        settings=settings,
        histograms=drawn,
        findings=inside.notes,
    )


def _layers(run: Run, matching: Matching, inside: Inside) -> tuple[LayerDiff, ...]:
    """The entries of the layers that can be judged: those of `matching`."""
    judged = {pair.candidate.tensor.index for pair in matching.pairs}
    return tuple(
        layer_entry(
            pair,
            figures,
            inside.local.get(pair.candidate.tensor.index),
            run.matching,
            inside.why.get(pair.candidate.tensor.index, ()),
            is_choice=run.reach.is_choice(pair.candidate.tensor),
        )
        for pair, figures in zip(run.matching.pairs, run.figures, strict=True)
        if pair.candidate.tensor.index in judged
    )


def _by_chance(output: OutputDiff, samples: int, causes: Sequence[Cause]) -> tuple[Exclusion, ...]:
    """A loss of accuracy that is too small for these samples to mean something, said where no cause is known."""
    if causes or not output.lost or (output.accuracy_drop or 0.0) <= 0.0:
        return ()
    chance = chance_of_drop(output, samples)
    why = (
        f"{output.lost} of {samples} samples lose the right class and {output.gained} gain it: "
        f"chance does that {chance:.0%} of the time"
    )
    return (Exclusion("quantization.accumulated", why, rule="drop_may_be_chance"),) if chance >= CHANCE else ()
