"""The use case: run two models over the same samples, compare every layer, and say why they differ.

Native code runs here: call it as a job of `windtunnel.isolation.ChildPool`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput, UserError
from windtunnel.layer_diff.causes import plain_causes
from windtunnel.layer_diff.checkpoint import Checkpoint
from windtunnel.layer_diff.diagnose import accumulated, diagnose, exclusions, precision_of, unexplained
from windtunnel.layer_diff.domain import Cause, Comparison, Coverage, Exclusion, LayerDiff
from windtunnel.layer_diff.figures import LayerFigures
from windtunnel.layer_diff.graph import Matching, Pair, match_layers
from windtunnel.layer_diff.inputs import feed, pair_inputs
from windtunnel.layer_diff.isolated import Isolated, Local
from windtunnel.layer_diff.outputs import OutputSums
from windtunnel.layer_diff.static.compare import StaticReport, compare_files
from windtunnel.layer_diff.static.suspect import Patch
from windtunnel.layer_diff.stream import stream
from windtunnel.layer_diff.verdict import judge
from windtunnel.pipeline import Feed
from windtunnel.tflite import Accelerator, Runner, dequantize
from windtunnel.thresholds import DEFAULT_THRESHOLD

# Own errors are measured on the first samples; a suspect is tested on fewer.
LOCAL_SAMPLES = 16
PROBE_SAMPLES = 4


def compare_models(
    reference: Path,
    candidate: Path,
    samples: Path | None,
    pipeline: Mapping[str, Any] | None = None,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    max_samples: int | None = None,
    threads: int = 1,
    accelerator: Accelerator = "none",
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
        accelerator: of both models. The default runs the runtime's own kernels, where every op writes its own
            output; a delegate may fold ops and leave some tensors unset.
        checkpoint: goes on from it where it fits, and saves to it.

    Layers are compared as real numbers in float64, summed over the samples one by one, so memory does not grow
    with their number. Reports progress. Raises InvalidInput and Unsupported from reading and running.
    """
    if not threshold > 0.0:
        raise InvalidInput(f"the threshold {threshold} is not positive")
    if max_samples is not None and max_samples < 1:
        raise InvalidInput(f"max_samples is {max_samples}", hint="give at least 1")
    runners = [
        Runner(path, threads=threads, accelerator=accelerator, preserve_all=True) for path in (reference, candidate)
    ]
    ours, theirs = runners[0].facts, runners[1].facts
    matching = match_layers(ours, theirs)
    given = feed(samples, pipeline, ours, theirs)
    outputs = OutputSums(ours, theirs, given.labels)
    count = given.count if max_samples is None else min(given.count, max_samples)
    figures = stream(runners[0], runners[1], given, matching.pairs, outputs, limit=count, checkpoint=checkpoint)
    inside = _look_inside(
        runners[0], candidate, given, matching, figures, count, threads, accelerator, typical=samples is not None
    )
    layers = tuple(
        _layer(pair, one, inside.local.get(pair.candidate.tensor.index), matching)
        for pair, one in zip(matching.pairs, figures, strict=True)
    )
    settings = {
        "accelerator": accelerator,
        "threads": threads,
        "max_samples": max_samples,
        "synthetic_samples": samples is None,
        "local_samples": min(count, LOCAL_SAMPLES) if inside.local else 0,
        "local_problem": inside.problem,
    }
    return _conclude(matching, layers, outputs, inside, threshold, count, settings)


@dataclass(frozen=True, slots=True)
class _Inside:
    """Own errors by the candidate's tensor, causes, what is excluded; `problem` says why there are no own errors."""

    local: Mapping[int, Local]
    causes: tuple[Cause, ...]
    excluded: tuple[Exclusion, ...]
    problem: str
    report: StaticReport


def _look_inside(
    reference: Runner,
    candidate: Path,
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
        if not one.reference_non_finite and one.problem != "shape_differs" and not _is_index(pair)
    ]
    assert matching.theirs is not None
    inputs = [mine.index for _, mine in pair_inputs(reference.facts, matching.theirs.facts)]

    def run(samples: int, patch: Patch | None = None) -> dict[int, Local]:
        with tempfile.TemporaryDirectory(prefix="windtunnel-isolated-") as folder:
            isolated = Isolated(
                reference.facts.path,
                candidate,
                pairs,
                Path(folder),
                threads=threads,
                accelerator=accelerator,
                patch=patch,
            )
            for sample in islice(given, min(count, samples)):
                isolated.add(_values(reference, sample, pairs))
            return isolated.result()

    def probe(patch: Patch) -> Mapping[int, Local] | None:
        try:
            return run(PROBE_SAMPLES, patch)
        except UserError:
            return None

    local, problem = {}, ""
    try:
        local = _over_all(run(LOCAL_SAMPLES), matching.pairs, figures)
    except UserError as error:
        problem = str(error)
    reordered = frozenset(pair.candidate.tensor.index for pair in matching.pairs if pair.permutation is not None)
    report = compare_files(matching, inputs, local, reordered, typical=typical)
    accumulated_layers = {
        pair.candidate.tensor.index: _layer(pair, one, None, matching)
        for pair, one in zip(matching.pairs, figures, strict=True)
    }
    causes = diagnose(matching, report, accumulated_layers, local, probe)
    if not causes:
        causes = unexplained(matching, local)
    return _Inside(local, causes, exclusions(report, causes, precision_of(matching)), problem, report)


def _is_index(pair: Pair) -> bool:
    """Whether a layer holds shapes or indices: they are right or wrong, and fed by hand they fix dynamic shapes."""
    tensor = pair.candidate.tensor
    return tensor.quantization is None and not tensor.dtype.startswith(("float", "bfloat"))


def _over_all(local: Mapping[int, Local], pairs: Sequence[Pair], figures: Sequence[LayerFigures]) -> dict[int, Local]:
    """Own errors with the reference's range over all samples, not only those that were run by themselves."""
    found = dict(local)
    for pair, one in zip(pairs, figures, strict=True):
        known = found.get(pair.candidate.tensor.index)
        if known is not None and one.reference_range is not None:
            low, high = one.reference_range
            found[pair.candidate.tensor.index] = replace(known, low=min(known.low, low), high=max(known.high, high))
    return found


def _values(
    reference: Runner, sample: Mapping[str, NDArray[Any]], pairs: Sequence[Pair]
) -> dict[int, NDArray[np.float64]]:
    """The reference's real values of one sample by tensor index: its inputs and all paired layers."""
    reference.run(sample)
    tensors = reference.facts.tensors
    found = {index: dequantize(array, tensors[index].quantization) for index, array in reference.fed.items()}
    for pair in pairs:
        index = pair.reference.tensor.index
        if index not in found:
            found[index] = dequantize(reference.view(index), tensors[index].quantization)
    return found


def _conclude(
    matching: Matching,
    layers: tuple[LayerDiff, ...],
    outputs: OutputSums,
    inside: _Inside,
    threshold: float,
    samples: int,
    settings: Mapping[str, Any],
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
        verdict, reasons, coverage, layers, output, threshold, samples, causes, inside.excluded, settings=settings
    )


def _layer(pair: Pair, figures: LayerFigures, local: Local | None, matching: Matching) -> LayerDiff:
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
        more=_more(pair, figures, matching),
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
