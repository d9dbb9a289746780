"""The use case: run two models over the same samples, compare every layer, and say why they differ.

Native code runs here: call it as a job of `windtunnel.isolation.ChildPool`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from windtunnel.errors import InvalidInput, UserError
from windtunnel.layer_diff.causes import plain_causes
from windtunnel.layer_diff.checkpoint import Checkpoint
from windtunnel.layer_diff.diagnose import accumulated, diagnose, exclusions, precision_of, unexplained
from windtunnel.layer_diff.domain import Cause, Comparison, Coverage, Exclusion, Histogram, LayerDiff, OutputDiff
from windtunnel.layer_diff.figures import LayerFigures
from windtunnel.layer_diff.graph import Matching, Pair, match_layers
from windtunnel.layer_diff.histogram import histograms
from windtunnel.layer_diff.inner import inner_suspects
from windtunnel.layer_diff.inputs import feed, pair_inputs
from windtunnel.layer_diff.kernel_check import kernel_causes, kernels_excluded
from windtunnel.layer_diff.local import Local
from windtunnel.layer_diff.outputs import OutputSums
from windtunnel.layer_diff.reach import Reach, open_pair
from windtunnel.layer_diff.settle import settle
from windtunnel.layer_diff.static.compare import compare_files
from windtunnel.layer_diff.static.why import notes
from windtunnel.layer_diff.stream import stream
from windtunnel.layer_diff.trial import Trials
from windtunnel.layer_diff.verdict import MAY_BE_CHANCE, chance_of_drop, judge
from windtunnel.pipeline import Feed
from windtunnel.tflite import Accelerator, read_model
from windtunnel.thresholds import DEFAULT_THRESHOLD

# Own errors are measured on the first samples.
LOCAL_SAMPLES = 16
# So many layers at fault get a histogram.
DRAWN_LAYERS = 3


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

    Layers are compared as real numbers and summed up sample by sample, so memory does not grow with their number: rows
    of 2048 squares in float32, the rows in float64 (docs/decisions/0005). Reports progress. Raises InvalidInput and
    Unsupported from reading and running.
    """
    if not threshold > 0.0:
        raise InvalidInput(f"the threshold {threshold} is not positive")
    if max_samples is not None and max_samples < 1:
        raise InvalidInput(f"max_samples is {max_samples}", hint="give at least 1")
    ours, theirs = read_model(reference), read_model(candidate)
    matching = match_layers(ours, theirs)
    given = feed(samples, pipeline, ours, theirs)
    count = given.count if max_samples is None else min(given.count, max_samples)
    with open_pair(
        matching, next(iter(given)), synthetic=samples is None, threads=threads, accelerator=accelerator
    ) as reach:
        accelerator = reach.accelerator
        matching = reach.readable(matching)
        if not reach.keeps_state:
            matching = settle(matching, reach.reference, reach.candidate, given, reach.hidden)
        outputs = OutputSums(ours, theirs, given.labels, matching.same_outputs(), reach.no_figure)
        # What a model keeps between its runs is in no checkpoint.
        saved = None if reach.keeps_state else checkpoint
        figures = stream(
            reach.reference, reach.candidate, given, matching.pairs, outputs, limit=count, checkpoint=saved
        )
        inside = _look_inside(reach, given, matching, figures, count, threads, accelerator, typical=samples is not None)
        drawn = _histograms(reach, given, matching, figures, inside.causes, threshold, count)
    judged = reach.judged(matching, figures)
    kept = {pair.candidate.tensor.index for pair in judged.pairs}
    layers = tuple(
        replace(
            _layer(pair, one, inside.local.get(pair.candidate.tensor.index), matching, inside.why),
            is_choice=reach.is_choice(pair.candidate.tensor),
        )
        for pair, one in zip(matching.pairs, figures, strict=True)
        if pair.candidate.tensor.index in kept
    )
    settings = {
        "accelerator": accelerator,
        "threads": threads,
        "max_samples": max_samples,
        "synthetic_samples": samples is None,
        "local_samples": min(count, LOCAL_SAMPLES) if inside.local else 0,
        "local_problem": inside.problem,
    }
    return _conclude(judged, layers, outputs, inside, threshold, count, settings, drawn)


@dataclass(frozen=True, slots=True)
class _Inside:
    """Own errors and notes by the candidate's tensor, causes, what is excluded.

    `problem` says why there are no own errors.
    """

    local: Mapping[int, Local]
    causes: tuple[Cause, ...]
    excluded: tuple[Exclusion, ...]
    problem: str
    why: Mapping[int, Sequence[Mapping[str, Any]]]


def _look_inside(
    reach: Reach,
    given: Feed,
    matching: Matching,
    figures: Sequence[LayerFigures],
    count: int,
    threads: int,
    accelerator: Accelerator,
    *,
    typical: bool,
) -> _Inside:
    """Runs every layer by itself, compares the files, and tests what they show."""
    pairs = [
        pair
        for pair, one in zip(matching.pairs, figures, strict=True)
        if not one.reference_non_finite and one.problem != "shape_differs" and reach.may_be_fed(pair)
    ]
    assert matching.theirs is not None
    inputs = [mine.index for _, mine in pair_inputs(reach.reference.facts, matching.theirs.facts)]

    trials = Trials(reach, given, matching, pairs, count, threads=threads, accelerator=accelerator)
    local, problem = {}, ""
    try:
        local = _over_all(trials.layers(LOCAL_SAMPLES), matching.pairs, figures)
    except UserError as error:
        problem = str(error)
    reordered = frozenset(pair.candidate.tensor.index for pair in matching.pairs if pair.permutation is not None)
    known = {index: one for index, one in local.items() if index not in reach.by_chance}
    report = compare_files(matching, inputs, known, reordered, typical=typical)
    hidden = inner_suspects(reach.inner, matching.theirs.facts, local)
    report = replace(report, suspects=(*report.suspects, *hidden))
    findings = diagnose(matching, report, local, trials)
    other = trials.other_kernels(LOCAL_SAMPLES) if local else {}
    named = {cause.op_index for cause in findings.causes}
    kernels = [one for one in kernel_causes(matching, local, other, accelerator) if one.op_index not in named]
    causes = (*findings.causes, *kernels) or unexplained(matching, local)
    why = notes(matching, known if typical else {})
    excluded = exclusions(report, causes, findings.cleared, precision_of(matching))
    excluded += () if kernels else kernels_excluded(local, other, accelerator)
    return _Inside(local, causes, excluded, problem, why)


def _histograms(
    reach: Reach,
    given: Feed,
    matching: Matching,
    figures: Sequence[LayerFigures],
    causes: Sequence[Cause],
    threshold: float,
    count: int,
) -> dict[str, Histogram]:
    """Histograms of the layers at fault; where none is known, of the first one over the threshold."""
    named = [cause.layer for cause in causes if cause.layer is not None]
    picked = [
        place for place, pair in enumerate(matching.pairs) if pair.candidate.tensor.name in named[:DRAWN_LAYERS]
    ] or [place for place, one in enumerate(figures) if (one.nrmse or 0.0) > threshold][:1]
    if not picked or reach.keeps_state:
        return {}
    made = histograms(
        reach.reference,
        reach.candidate,
        given,
        [matching.pairs[place] for place in picked],
        [figures[place] for place in picked],
        limit=min(count, LOCAL_SAMPLES),
    )
    names = [matching.pairs[place].candidate.tensor.name for place in picked]
    return {name: one for name, one in zip(names, made, strict=True) if one is not None}


def _over_all(local: Mapping[int, Local], pairs: Sequence[Pair], figures: Sequence[LayerFigures]) -> dict[int, Local]:
    """Own errors with the reference's range over all samples, not only those that were run by themselves."""
    found = dict(local)
    for pair, one in zip(pairs, figures, strict=True):
        known = found.get(pair.candidate.tensor.index)
        if known is not None and one.reference_range is not None:
            low, high = one.reference_range
            found[pair.candidate.tensor.index] = replace(known, low=min(known.low, low), high=max(known.high, high))
    return found


def _conclude(
    matching: Matching,
    layers: tuple[LayerDiff, ...],
    outputs: OutputSums,
    inside: _Inside,
    threshold: float,
    samples: int,
    settings: Mapping[str, Any],
    drawn: Mapping[str, Histogram],
) -> Comparison:
    coverage = Coverage(
        compared=len(layers),
        total=len(layers) + len(matching.unmatched),
        unmatched=matching.unmatched,
        unmatched_reference=matching.unmatched_reference,
    )
    output = outputs.result()
    synthetic = bool(settings["synthetic_samples"])
    assert matching.ours is not None and matching.theirs is not None
    causes = inside.causes
    if not causes:
        causes = plain_causes(layers, matching.pairs, matching.ours.facts, matching.theirs.facts, threshold)
    verdict, reasons = judge(
        layers, output, coverage, threshold=threshold, samples=samples, synthetic=synthetic, causes=causes
    )
    if verdict != "healthy" and not causes:
        causes = accumulated(matching, inside.local)
    return Comparison(
        verdict,
        reasons,
        coverage,
        layers,
        output,
        threshold,
        samples,
        causes,
        (*inside.excluded, *_by_chance(output, samples, causes)),
        settings=settings,
        histograms=drawn,
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
    return (Exclusion("quantization.accumulated", why),) if chance >= MAY_BE_CHANCE else ()


def _layer(
    pair: Pair,
    figures: LayerFigures,
    local: Local | None,
    matching: Matching,
    why: Mapping[int, Sequence[Mapping[str, Any]]],
) -> LayerDiff:
    return LayerDiff(
        name=pair.candidate.tensor.name,
        op=pair.candidate.op,
        op_index=pair.candidate.op_index,
        reference=pair.reference.tensor.name,
        nrmse=figures.nrmse,
        rmse=figures.rmse,
        max_abs=figures.max_abs,
        value_range=figures.value_range,
        problem=figures.problem,
        non_finite=figures.non_finite,
        reference_non_finite=figures.reference_non_finite,
        local_nrmse=None if local is None else local.nrmse,
        local_rmse=None if local is None else local.rmse,
        more=_more(pair, figures, matching) | {"why": list(why.get(pair.candidate.tensor.index, ()))},
    )


def _more(pair: Pair, figures: LayerFigures, matching: Matching) -> dict[str, Any]:
    """Further figures of a layer, as in the diagnosis."""
    dead, channels = figures.dead_channels, figures.channel_nrmse
    assert matching.ours is not None and matching.theirs is not None
    own = matching.ours.by_op.get(pair.reference.op_index)
    mine = matching.theirs.by_op.get(pair.candidate.op_index)
    return {
        "nrmse_ci": None if figures.nrmse_ci is None else list(figures.nrmse_ci),
        "cosine": figures.cosine,
        "snr_db": figures.snr_db,
        "bias": figures.bias,
        "saturated": figures.saturated,
        "dead_channels": None
        if dead is None
        else {"candidate": dead.candidate, "reference": dead.reference, "channels": dead.channels},
        "channel_nrmse": None
        if channels is None
        else {"axis": channels.axis, "worst": channels.worst, "max": channels.max, "median": channels.median},
        "reference_ops": [] if own is None else list(own.members),
        "members": [] if mine is None else list(mine.members),
    }
