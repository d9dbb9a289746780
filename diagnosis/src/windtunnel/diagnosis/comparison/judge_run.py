"""Judges a run: which layers diverge, whether the candidate is healthy, and why it is not.

A pure function of the run, the criteria and the answers of trials: nothing here loads an interpreter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from windtunnel.accelerators import spelled_in_comparisons
from windtunnel.diagnosis.comparison.count_coverage import coverage_of
from windtunnel.diagnosis.comparison.criteria import Criteria
from windtunnel.diagnosis.comparison.explain import Explanation, explain, histograms_of
from windtunnel.diagnosis.comparison.layer_entries import layer_entry
from windtunnel.diagnosis.comparison.run_result import MatchedRun, RunResult
from windtunnel.diagnosis.execution.trials import Trials
from windtunnel.diagnosis.findings.causes import Cause, Exclusion
from windtunnel.diagnosis.findings.comparison import Comparison, Verdict
from windtunnel.diagnosis.findings.comparison_settings import ComparisonSettings
from windtunnel.diagnosis.findings.coverage import Coverage
from windtunnel.diagnosis.findings.layer_diff import LayerDiff
from windtunnel.diagnosis.findings.output_diff import OutputDiff
from windtunnel.diagnosis.graph import Matching
from windtunnel.diagnosis.graph.model_precision import is_quantized
from windtunnel.diagnosis.rules.equivalent_layers import without_rewritten
from windtunnel.diagnosis.rules.non_finite_causes import causes_of_non_finite
from windtunnel.diagnosis.rules.non_finite_outputs import non_finite
from windtunnel.diagnosis.rules.unexplained_layers import accumulated
from windtunnel.diagnosis.rules.verdict import chance_of_drop, judge, left_open, samples_reasons
from windtunnel.diagnosis.static.subgraphs import nested_layers
from windtunnel.diagnosis.thresholds.execution_thresholds import FEWEST_TYPICAL_SAMPLES, ISOLATED_SAMPLES
from windtunnel.diagnosis.thresholds.verdict_thresholds import CHANCE


def layers_to_judge(run: RunResult, criteria: Criteria) -> MatchedRun:
    """The layers of a run without those that the candidate computes differently with the same effect.

    Args:
        run: what was run.
        criteria: what it is judged by.

    Returns:
        Pairs with their figures, and how the outputs compare.
    """
    output = run.sums.outputs.result()
    matching, figures = without_rewritten(run.matching, run.sums.figures(), output, criteria.limit.nrmse)
    return MatchedRun(matching, tuple(figures), output)


def judge_run(run: RunResult, matched: MatchedRun, trials: Trials, criteria: Criteria) -> Comparison:
    """Judges what was run.

    Args:
        run: what was run.
        matched: `layers_to_judge` of it, with the same criteria.
        trials: runs on request, or their record.
        criteria: what the run is judged by.

    Returns:
        The comparison.

    Raises:
        InvalidInput, Unsupported: from trials that run models.
    """
    findings = *run.sums.outputs.findings(), *run.data
    inside = explain(run, matched, trials, criteria)
    causes, notes = (*run.outputs.causes, *inside.causes), (*run.outputs.findings, *inside.notes)
    inside = replace(inside, causes=causes, notes=notes)
    drawn = histograms_of(run, matched, inside.causes, trials, criteria.limit.nrmse)
    found = replace(_conclude(run, matched, inside, criteria), histograms=drawn)
    return replace(
        found,
        reasons=(*samples_reasons(found.verdict, findings), *found.reasons),
        findings=(*found.findings, *non_finite(found), *findings),
    )


def _settings(run: RunResult, matched: MatchedRun, inside: Explanation, criteria: Criteria) -> ComparisonSettings:
    settings = run.settings
    return ComparisonSettings(
        accelerator=spelled_in_comparisons(run.facts.accelerator),
        threads=settings.threads,
        max_samples=settings.max_samples,
        synthetic=settings.synthetic,
        isolated_samples=min(settings.count, ISOLATED_SAMPLES) if inside.local else 0,
        isolated_problem=inside.problem,
        calibration_problem="" if settings.typical else _not_typical(run, matched.matching),
        fixes_tried=settings.patches,
        rules_left_out=criteria.rules.left_out,
    )


def _not_typical(run: RunResult, matching: Matching) -> str:
    """Why calibrated ranges cannot be judged by the samples; empty if the candidate has none."""
    if not any(pair.candidate.tensor.quantization for pair in matching.pairs):
        return ""
    if run.settings.ranges is not None:
        ranges = ", ".join(f"{low:.4g} to {high:.4g}" for low, high in run.settings.ranges.values())
        held = f" (they fill the ranges of the models' inputs, {ranges})" if ranges else ""
        return f"random inputs have other values than data{held}: give samples"
    return f"{run.settings.count} of at least {FEWEST_TYPICAL_SAMPLES} samples that show which values the model gets"


def _conclude(run: RunResult, matched: MatchedRun, inside: Explanation, criteria: Criteria) -> Comparison:
    output = matched.output
    judged = run.facts.judged(matched.matching, matched.figures)
    layers, count = _layers(run, matched, judged, inside), run.settings.count
    coverage = coverage_of(judged, nested_layers(run.facts.nested))
    models = judged.reference.facts, judged.candidate.facts
    causes = inside.causes or causes_of_non_finite(
        layers, judged.pairs, *models, criteria.limit, criteria.rules.non_finite
    )
    verdict, reasons = judge(
        layers,
        output,
        coverage,
        limit=criteria.limit,
        samples=count,
        synthetic=run.settings.synthetic,
        causes=causes,
    )
    if verdict != "healthy" and not causes:
        causes = inside.shared or accumulated(judged, inside.local)
    if run.facts.not_run is not None and verdict == "healthy":
        verdict = "degraded"
    found = _without_causes_of(causes, (*inside.excluded, *_by_chance(output, count, causes)))
    return Comparison(
        verdict,
        (*reasons, *_reasons_of_models(run, judged, verdict), *_open(verdict, layers, output, coverage)),
        coverage,
        layers,
        output,
        criteria.limit,
        count,
        causes,
        found,
        settings=_settings(run, matched, inside, criteria),
        findings=inside.notes,
        task=run.task,
    )


def _without_causes_of(causes: Sequence[Cause], excluded: Sequence[Exclusion]) -> tuple[Exclusion, ...]:
    """What is excluded, without the codes of causes."""
    codes = {cause.code for cause in causes}
    return tuple(one for one in excluded if one.code not in codes)


def _reasons_of_models(run: RunResult, judged: Matching, verdict: Verdict) -> Iterator[str]:
    """What the verdict owes to the models themselves: a part that does not run, or the two exchanged."""
    if run.facts.not_run is not None:
        yield f"the candidate runs in part only: {run.facts.not_run}"
    if verdict != "healthy" and is_quantized(judged.reference.facts) and not is_quantized(judged.candidate.facts):
        yield "the reference is quantized and the candidate is not: are the two swapped?"


def _open(verdict: Verdict, layers: Sequence[LayerDiff], output: OutputDiff, coverage: Coverage) -> tuple[str, ...]:
    """What a healthy verdict leaves open."""
    return left_open(layers, output, coverage) if verdict == "healthy" else ()


def _layers(run: RunResult, matched: MatchedRun, judged: Matching, inside: Explanation) -> tuple[LayerDiff, ...]:
    """The entries of the layers that can be judged: those of `judged`."""
    kept = {pair.candidate.tensor.index for pair in judged.pairs}
    return tuple(
        layer_entry(
            pair,
            figures,
            inside.local.get(pair.candidate.tensor.index),
            matched.matching,
            inside.why.get(pair.candidate.tensor.index, ()),
            is_choice=run.facts.is_choice(pair.candidate.tensor),
        )
        for pair, figures in zip(matched.matching.pairs, matched.figures, strict=True)
        if pair.candidate.tensor.index in kept
    )


def _by_chance(output: OutputDiff, samples: int, causes: Sequence[Cause]) -> tuple[Exclusion, ...]:
    """A loss of accuracy that is too small for these samples to mean something; reported if no cause is known."""
    if causes or not output.lost or (output.accuracy_drop or 0.0) <= 0.0:
        return ()
    chance = chance_of_drop(output, samples)
    why = (
        f"{output.lost} of {samples} samples lose the right class and {output.gained} gain it: "
        f"chance does that {chance:.0%} of the time"
    )
    return (Exclusion("quantization.accumulated", why, rule="drop_may_be_chance"),) if chance >= CHANCE else ()
