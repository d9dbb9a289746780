"""What happens inside a candidate: every layer by itself, the files side by side, causes put to the test.

Native code runs here: call it as a job of `windtunnel.isolation.ChildPool`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from windtunnel.datacheck.findings import Finding
from windtunnel.diagnosis.execution.histograms import histograms
from windtunnel.diagnosis.execution.patched_runs import Trials
from windtunnel.diagnosis.execution.runnable_pair import Reach
from windtunnel.diagnosis.feeding.paired_inputs import pair_inputs
from windtunnel.diagnosis.findings.causes import Cause, Exclusion
from windtunnel.diagnosis.findings.comparison import Histogram, OutputDiff
from windtunnel.diagnosis.graph import Matching, Pair
from windtunnel.diagnosis.graph.model_precision import is_quiet, precision_of
from windtunnel.diagnosis.numerics.isolated_sums import Local
from windtunnel.diagnosis.numerics.layer_sums import LayerFigures
from windtunnel.diagnosis.rules.diagnose import diagnose
from windtunnel.diagnosis.rules.effect_on_outputs import is_alike, without_effect
from windtunnel.diagnosis.rules.exclusions import exclusions
from windtunnel.diagnosis.rules.kernel_causes import kernel_causes, kernels_excluded
from windtunnel.diagnosis.rules.shared_scale import SharedScales, shared_scales
from windtunnel.diagnosis.rules.unexplained_layers import unexplained
from windtunnel.diagnosis.static.compare_files import StaticReport, compare_files
from windtunnel.diagnosis.static.quantization_notes import notes
from windtunnel.diagnosis.static.quantization_ranges import has_scale
from windtunnel.diagnosis.static.subgraphs import inner_suspects
from windtunnel.diagnosis.thresholds.execution_thresholds import HISTOGRAM_LAYERS, ISOLATED_SAMPLES, RIGHT_WHEN_FIXED
from windtunnel.errors import UserError
from windtunnel.pipeline import Feed
from windtunnel.thresholds import DEFAULT_THRESHOLD


@dataclass(frozen=True, slots=True)
class Run:
    """Two models that were run over `count` samples: `figures` are those of the matching's pairs, `output`
    those of the outputs. `threshold`: nRMSE above which a layer is over.

    `typical`: the samples are like those that the model meets, and no random numbers. `mend`: what looks wrong is
    mended for a try, and layers are tried on other kernels. `overflowed`: layers that no kernels can run.
    """

    reach: Reach
    given: Feed
    matching: Matching
    figures: Sequence[LayerFigures]
    output: OutputDiff
    count: int
    threads: int
    typical: bool
    threshold: float = DEFAULT_THRESHOLD
    mend: bool = True
    overflowed: Sequence[Pair] = ()


@dataclass(frozen=True, slots=True)
class Inside:
    """Own errors and notes by the candidate's tensor, causes, and what is excluded.

    `problem` says why there are no own errors; `notes` are differences that no output shows.
    `shared` are scales inside of the model that do not resolve a part.
    """

    local: Mapping[int, Local]
    causes: tuple[Cause, ...]
    excluded: tuple[Exclusion, ...]
    problem: str
    why: Mapping[int, Sequence[Mapping[str, Any]]]
    notes: tuple[Finding, ...] = ()
    shared: tuple[Cause, ...] = ()


def look_inside(run: Run) -> Inside:
    """Runs every layer by itself, compares the files, and tests what they show."""
    matching, accelerator = run.matching, run.reach.accelerator
    pairs = [
        pair
        for pair, one in zip(matching.pairs, run.figures, strict=True)
        if not one.reference_non_finite
        and one.problem != "shape_differs"
        and run.reach.may_be_fed(pair)
        and has_scale(pair.candidate.tensor)
    ]
    trials = Trials(
        run.reach, run.given, matching, pairs, run.count, threads=run.threads, accelerator=accelerator, mend=run.mend
    )
    local, problem = {}, ""
    try:
        local = _over_all(trials.layers(ISOLATED_SAMPLES), matching, run.figures)
    except UserError as error:
        problem = str(error)
    known = {index: one for index, one in local.items() if index not in run.reach.by_chance}
    report = _static(run, known, local)
    reached = {
        pair.candidate.tensor.index: one.candidate_range
        for pair, one in zip(matching.pairs, run.figures, strict=True)
        if one.candidate_range is not None
    }
    findings = diagnose(matching, report, local, reached, trials)
    other = trials.other_kernels(ISOLATED_SAMPLES) if local else {}
    # On other kernels the reference has drawn other numbers.
    kernels = kernel_causes(matching, known, other, accelerator)
    # A layer that is right on these kernels once its file is mended was not wrong because of them.
    own = {cause.op_index: cause.isolated_error_fixed for cause in findings.causes}
    mended = {index for index, error in own.items() if error is not None and error < RIGHT_WHEN_FIXED}
    at_fault = tuple(one for one in kernels if one.op_index not in mended)
    shared = shared_scales(matching, run.reach.fresh_reference(), run.given, run.count, trials, run.overflowed)
    causes, noted = (*findings.causes, *at_fault), findings.notes
    over = any((one.nrmse or 0.0) > run.threshold for one in run.figures)
    quiet = not over and is_quiet(run.output, precision_of(matching))
    if quiet:
        alike = tuple(one for one in causes if is_alike(one, run.output))
        causes = tuple(one for one in causes if one not in alike)
        noted = (*noted, *without_effect(alike, run.output))
    causes = _with_shared(matching, causes, shared, quiet=quiet)
    if not causes:
        causes = unexplained(matching, local)
        if quiet:
            causes, noted = (), (*noted, *without_effect(causes, run.output))
        causes = _with_shared(matching, causes, shared, quiet=quiet)
    excluded = exclusions(report, causes, findings, precision_of(matching), matching.lacking)
    excluded += () if kernels else kernels_excluded(known, other, accelerator)
    why = notes(matching, known if run.typical else {})
    return Inside(local, causes, excluded, problem, why, noted, tuple(one for one, _ in shared.inner))


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


def _static(run: Run, known: Mapping[int, Local], local: Mapping[int, Local]) -> StaticReport:
    """What the files show, those of inner graphs too. `known`: own errors that hang on no chance."""
    matching = run.matching
    inputs = [
        candidate_tensor.index
        for _, candidate_tensor in pair_inputs(run.reach.reference.facts, matching.candidate.facts)
    ]
    reordered = frozenset(pair.candidate.tensor.index for pair in matching.pairs if pair.permutation is not None)
    report = compare_files(matching, inputs, known, reordered, typical=run.typical)
    hidden = inner_suspects(run.reach.inner, matching.candidate.facts, local)
    return replace(report, suspects=(*report.suspects, *hidden))


def _over_all(local: Mapping[int, Local], matching: Matching, figures: Sequence[LayerFigures]) -> dict[int, Local]:
    """Own errors with the reference's range over all samples, not only those that were run by themselves."""
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


def histograms_of(run: Run, causes: Sequence[Cause], threshold: float) -> dict[str, Histogram]:
    """Histograms of the layers at fault; where none is known, of the first one over the threshold."""
    named = [cause.layer for cause in causes if cause.layer is not None]
    picked = [
        place for place, pair in enumerate(run.matching.pairs) if pair.candidate.tensor.name in named[:HISTOGRAM_LAYERS]
    ] or [place for place, one in enumerate(run.figures) if (one.nrmse or 0.0) > threshold][:1]
    if not picked or run.reach.keeps_state:
        return {}
    made = histograms(
        run.reach.reference,
        run.reach.candidate,
        run.given,
        [run.matching.pairs[place] for place in picked],
        [run.figures[place] for place in picked],
        limit=min(run.count, ISOLATED_SAMPLES),
    )
    names = [run.matching.pairs[place].candidate.tensor.name for place in picked]
    return {name: one for name, one in zip(names, made, strict=True) if one is not None}
