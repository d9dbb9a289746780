"""What happens inside a candidate: every layer in isolation, the files compared, causes put to the test.

Runs are requested through `Trials`: nothing here loads an interpreter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from windtunnel.datacheck.findings import Finding
from windtunnel.diagnosis.comparison.criteria import Criteria
from windtunnel.diagnosis.comparison.run_result import MatchedRun, RunResult
from windtunnel.diagnosis.execution.trials import Trials
from windtunnel.diagnosis.findings.causes import Cause, Exclusion
from windtunnel.diagnosis.findings.histogram import Histogram
from windtunnel.diagnosis.graph import Matching, Pair
from windtunnel.diagnosis.graph.model_precision import is_quiet, precision_of
from windtunnel.diagnosis.numerics.isolated_sums import Local
from windtunnel.diagnosis.numerics.layer_sums import LayerFigures
from windtunnel.diagnosis.rules.diagnose import diagnose
from windtunnel.diagnosis.rules.effect_on_outputs import changes_nothing_at_end, is_equivalent, without_effect
from windtunnel.diagnosis.rules.exclusions import exclusions
from windtunnel.diagnosis.rules.kernel_causes import kernel_causes, kernels_excluded
from windtunnel.diagnosis.rules.shared_scale import SharedScales, shared_scales
from windtunnel.diagnosis.rules.unexplained_layers import unexplained
from windtunnel.diagnosis.static.compare_files import StaticReport, compare_files
from windtunnel.diagnosis.static.quantization_notes import notes
from windtunnel.diagnosis.static.quantization_ranges import has_scale
from windtunnel.diagnosis.static.subgraphs import nested_suspects
from windtunnel.diagnosis.thresholds.execution_thresholds import HISTOGRAM_LAYERS, ISOLATED_SAMPLES, RIGHT_WHEN_FIXED
from windtunnel.errors import UserError
from windtunnel.tflite.paired_ends import pair_inputs


@dataclass(frozen=True, slots=True)
class Explanation:
    """Isolated errors and notes by the candidate's tensor, causes, and what is excluded.

    `problem` says why there are no isolated errors; `notes` are differences that no output shows.
    `shared` are scales inside of the model that do not resolve a part.
    """

    local: Mapping[int, Local]
    causes: tuple[Cause, ...]
    excluded: tuple[Exclusion, ...]
    problem: str
    why: Mapping[int, Sequence[Mapping[str, Any]]]
    notes: tuple[Finding, ...] = ()
    shared: tuple[Cause, ...] = ()


def explain(run: RunResult, matched: MatchedRun, trials: Trials, criteria: Criteria) -> Explanation:
    """Compares the files, runs every layer in isolation, and tests what they show.

    Args:
        run: what was run.
        matched: the layers to judge.
        trials: runs on request, or their record.
        criteria: what the run is judged by.

    Returns:
        Causes, notes and exclusions.
    """
    matching, output, accelerator = matched.matching, matched.output, run.facts.accelerator
    local, problem = {}, ""
    try:
        local = _over_all(trials.layers(ISOLATED_SAMPLES), matching, matched.figures)
    except UserError as error:
        problem = str(error)
    known = {index: one for index, one in local.items() if index not in run.facts.by_chance}
    report = _static(run, matching, known, local)
    reached = {
        pair.candidate.tensor.index: one.candidate_range
        for pair, one in zip(matching.pairs, matched.figures, strict=True)
        if one.candidate_range is not None
    }
    findings = diagnose(matching, report, local, reached, trials, criteria.rules.suspects, criteria.rules.groups)
    other = trials.other_kernels(ISOLATED_SAMPLES) if local else {}
    # On other kernels the reference has drawn other numbers.
    kernels = kernel_causes(matching, known, other, accelerator)
    # A layer that is right on these kernels once its file is fixed was not wrong because of them.
    own = {cause.op_index: cause.isolated_error_fixed for cause in findings.causes}
    fixed = {index for index, error in own.items() if error is not None and error < RIGHT_WHEN_FIXED}
    at_fault = tuple(one for one in kernels if one.op_index not in fixed)
    shared = shared_scales(matching, trials.observe, trials, run.overflowed)
    causes, noted = (*findings.causes, *at_fault), findings.notes
    idle = tuple(one for one in causes if changes_nothing_at_end(one, matching, matched.figures, output))
    causes = tuple(one for one in causes if one not in idle)
    noted = (*noted, *without_effect(idle, output))
    over = any((one.nrmse or 0.0) > criteria.limit.nrmse for one in matched.figures)
    quiet = not over and is_quiet(output, precision_of(matching))
    if quiet:
        equivalent = tuple(one for one in causes if is_equivalent(one, output))
        causes = tuple(one for one in causes if one not in equivalent)
        noted = (*noted, *without_effect(equivalent, output))
    causes = _with_shared(matching, causes, shared, quiet=quiet)
    if not causes:
        causes = unexplained(matching, local)
        if quiet:
            causes, noted = (), (*noted, *without_effect(causes, output))
        causes = _with_shared(matching, causes, shared, quiet=quiet)
    excluded = exclusions(report, causes, findings, precision_of(matching), matching.lacking)
    excluded += () if kernels else kernels_excluded(known, other, accelerator)
    why = notes(matching, known if run.settings.typical else {})
    return Explanation(local, causes, excluded, problem, why, noted, tuple(one for one, _ in shared.inside))


def _with_shared(
    matching: Matching, causes: Sequence[Cause], shared: SharedScales, *, quiet: bool
) -> tuple[Cause, ...]:
    """The causes with shared scales in the place of ranges that are off because of them.

    Outputs are always judged by their parts. A mask inside of a model counts where the outputs are not `quiet`.
    """
    found = [one for one, _ in (*shared.outputs, *(() if quiet else shared.masks))]
    kept = []
    for cause in causes:
        one = shared.explain(matching, cause)
        if one is None:
            kept.append(cause)
        elif one not in found:
            found.append(one)
    return (*found, *(one for one in kept if one not in found))


def isolated_pairs(run: RunResult, matched: MatchedRun) -> list[Pair]:
    """The pairs whose candidate layer can run on the reference's inputs.

    Args:
        run: what was run.
        matched: the layers to judge.

    Returns:
        In execution order.
    """
    return [
        pair
        for pair, one in zip(matched.matching.pairs, matched.figures, strict=True)
        if not one.reference_non_finite
        and one.problem != "shape_differs"
        and pair.candidate.tensor.index in run.feedable
        and has_scale(pair.candidate.tensor)
    ]


def _static(run: RunResult, matching: Matching, known: Mapping[int, Local], local: Mapping[int, Local]) -> StaticReport:
    """What the files show, those of nested graphs too. `known`: isolated errors that depend on no chance."""
    inputs = [
        candidate_tensor.index
        for _, candidate_tensor in pair_inputs(matching.reference.facts, matching.candidate.facts)
    ]
    reordered = frozenset(pair.candidate.tensor.index for pair in matching.pairs if pair.permutation is not None)
    report = compare_files(matching, inputs, known, reordered, typical=run.settings.typical)
    hidden = nested_suspects(run.facts.nested, matching.candidate.facts, local)
    return replace(report, suspects=(*report.suspects, *hidden))


def _over_all(local: Mapping[int, Local], matching: Matching, figures: Sequence[LayerFigures]) -> dict[int, Local]:
    """Isolated errors with the reference's range over all samples, not only those that ran in isolation."""
    ranges = {
        pair.candidate.tensor.index: one.reference_range
        for pair, one in zip(matching.pairs, figures, strict=True)
        if one.reference_range is not None
    }
    found = {}
    for index, one in local.items():
        # What restates a layer in integers is in no pair.
        low, high = ranges.get(index) or ranges.get(matching.candidate.stored(index)) or (one.low, one.high)
        found[index] = replace(one, low=min(one.low, low), high=max(one.high, high))
    return found


def histograms_of(
    run: RunResult, matched: MatchedRun, causes: Sequence[Cause], trials: Trials, threshold: float
) -> dict[str, Histogram]:
    """Histograms of the layers at fault; if none is known, of the first one that diverges.

    Args:
        run: what was run.
        matched: the layers to judge.
        causes: that are known.
        trials: runs on request, or their record.
        threshold: nRMSE above which a layer diverges.

    Returns:
        By name of the layer.
    """
    pairs, figures = matched.matching.pairs, matched.figures
    named = [cause.layer for cause in causes if cause.layer is not None]
    picked = [place for place, pair in enumerate(pairs) if pair.candidate.tensor.name in named[:HISTOGRAM_LAYERS]] or [
        place for place, one in enumerate(figures) if (one.nrmse or 0.0) > threshold
    ][:1]
    if not picked or run.facts.keeps_state:
        return {}
    drawn = [pairs[place] for place in picked]
    made = trials.histograms(drawn, [figures[place] for place in picked], ISOLATED_SAMPLES)
    return {pair.candidate.tensor.name: one for pair, one in zip(drawn, made, strict=True) if one is not None}
