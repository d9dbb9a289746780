"""The use case: run two models over the same samples and compare every layer.

Native code runs here: call it as a job of `windtunnel.isolation.ChildPool`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from windtunnel.errors import InvalidInput
from windtunnel.isolation import progress
from windtunnel.layer_diff.causes import plain_causes
from windtunnel.layer_diff.domain import Comparison, Coverage, LayerDiff
from windtunnel.layer_diff.figures import LayerSums
from windtunnel.layer_diff.inputs import feed, translate
from windtunnel.layer_diff.match import Matching, Pair, match_layers
from windtunnel.layer_diff.outputs import OutputSums
from windtunnel.layer_diff.verdict import judge
from windtunnel.tflite import Accelerator, ModelFacts, Runner, dequantize
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
    accelerator: Accelerator = "none",
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
    sums = [LayerSums() for _ in matching.pairs]
    count = given.count if max_samples is None else min(given.count, max_samples)
    for number, inputs in enumerate(islice(given, count)):
        _compare_sample(runners, inputs, matching, sums, outputs)
        progress((number + 1) / count, f"sample {number + 1} of {count}")
    layers = tuple(_layer(pair, one) for pair, one in zip(matching.pairs, sums, strict=True))
    settings = {
        "accelerator": accelerator,
        "threads": threads,
        "max_samples": max_samples,
        "synthetic_samples": samples is None,
    }
    return _conclude(matching, layers, outputs, (ours, theirs), threshold, count, settings)


def _conclude(
    matching: Matching,
    layers: tuple[LayerDiff, ...],
    outputs: OutputSums,
    models: tuple[ModelFacts, ModelFacts],
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
    verdict, reasons = judge(layers, output, coverage, threshold=threshold, samples=samples, synthetic=synthetic)
    causes = plain_causes(layers, matching.pairs, *models, threshold)
    return Comparison(verdict, reasons, coverage, layers, output, threshold, samples, causes, settings=settings)


def _compare_sample(
    runners: Sequence[Runner],
    inputs: Mapping[str, NDArray[Any]],
    matching: Matching,
    sums: Sequence[LayerSums],
    outputs: OutputSums,
) -> None:
    reference, candidate = runners
    first = reference.run(inputs, dequantized=True)
    second = candidate.run(translate(inputs, reference.facts, candidate.facts), dequantized=True)
    outputs.add(first, second)
    wanted = {pair.reference.tensor.index for pair in matching.pairs}
    kept = {
        layer.tensor.index: dequantize(layer.array, layer.tensor.quantization)
        for layer in reference.layers()
        if layer.tensor.index in wanted
    }
    places = {pair.candidate.tensor.index: number for number, pair in enumerate(matching.pairs)}
    for layer in candidate.layers():
        number = places.get(layer.tensor.index)
        if number is not None:
            values = dequantize(layer.array, layer.tensor.quantization)
            sums[number].add(kept[matching.pairs[number].reference.tensor.index], values)


def _layer(pair: Pair, sums: LayerSums) -> LayerDiff:
    figures = sums.figures()
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
        non_finite=sums.candidate_non_finite,
        reference_non_finite=sums.reference_non_finite,
    )
