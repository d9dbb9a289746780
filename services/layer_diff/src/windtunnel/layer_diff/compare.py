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
from windtunnel.layer_diff.match import Matching, Pair, match_layers
from windtunnel.layer_diff.outputs import OutputSums
from windtunnel.layer_diff.verdict import judge
from windtunnel.pipeline import Feed, InputSpec, Pipeline, Samples, load_samples, sample_inputs
from windtunnel.pipeline.feed import SampledFeed
from windtunnel.tflite import Accelerator, ModelFacts, Runner, TensorFacts, dequantize

DEFAULT_THRESHOLD = 0.10


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
            random inputs.
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
    feed = _feed(samples, pipeline, ours)
    outputs = OutputSums(ours, theirs, feed.labels)
    sums = [LayerSums() for _ in matching.pairs]
    count = feed.count if max_samples is None else min(feed.count, max_samples)
    for number, inputs in enumerate(islice(feed, count)):
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
    verdict, reasons = judge(layers, output, coverage, threshold=threshold, samples=samples)
    causes = plain_causes(layers, matching.pairs, *models, threshold)
    return Comparison(verdict, reasons, coverage, layers, output, threshold, samples, causes, settings=settings)


def _feed(samples: Path | None, pipeline: Mapping[str, Any] | None, reference: ModelFacts) -> Feed:
    """The reference's inputs by tensor name, sample by sample."""
    loaded = None if samples is None else load_samples(samples)
    specs = [_spec(reference, tensor, loaded, pipeline) for tensor in reference.inputs]
    if loaded is None:
        return sample_inputs(None, None, specs)
    return SampledFeed(loaded, None if pipeline is None else Pipeline.parse(pipeline), specs)


def _spec(
    model: ModelFacts, tensor: TensorFacts, samples: Samples | None, pipeline: Mapping[str, Any] | None
) -> InputSpec:
    """What samples must give for an input, under either of its names.

    A quantised input takes real numbers, unless the samples hold just its stored integers.
    """
    alias = model.signature_name(tensor)
    arrays = {} if samples is None else samples.inputs
    given = next((arrays[name] for name in (tensor.name, alias or "x", "x") if name in arrays), None)
    stored = pipeline is None and getattr(given, "dtype", None) == tensor.dtype
    dtype = "float32" if tensor.quantization is not None and not stored else tensor.dtype
    return InputSpec(tensor.name, tensor.shape_signature, dtype, alias)


def _compare_sample(
    runners: Sequence[Runner],
    inputs: Mapping[str, NDArray[Any]],
    matching: Matching,
    sums: Sequence[LayerSums],
    outputs: OutputSums,
) -> None:
    reference, candidate = runners
    first = reference.run(inputs, dequantized=True)
    second = candidate.run(_translate(inputs, reference.facts, candidate.facts), dequantized=True)
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


def _translate(
    inputs: Mapping[str, NDArray[Any]], reference: ModelFacts, candidate: ModelFacts
) -> dict[str, NDArray[Any]]:
    """The same values under the candidate's input names: by signature or tensor name, else by position."""
    if len(reference.inputs) != len(candidate.inputs):
        raise InvalidInput(
            f"{candidate.path.name} takes {len(candidate.inputs)} inputs, {reference.path.name} "
            f"{len(reference.inputs)}",
            hint="compare models that take the same inputs",
        )
    known = {name: tensor for tensor in reference.inputs for name in _names(reference, tensor)}
    translated: dict[str, NDArray[Any]] = {}
    sources: list[int] = []
    for mine, own in zip(candidate.inputs, reference.inputs, strict=True):
        source = next((known[name] for name in _names(candidate, mine) if name in known), own)
        sources.append(source.index)
        values = inputs[source.name]
        if source.quantization is not None and values.dtype.kind in "iu":
            values = dequantize(values, source.quantization)
        translated[mine.name] = values
    if len(set(sources)) < len(sources):
        raise InvalidInput(f"the inputs of {candidate.path.name} and {reference.path.name} cannot be paired")
    return translated


def _names(model: ModelFacts, tensor: TensorFacts) -> tuple[str, ...]:
    signature = model.signature_name(tensor)
    return (tensor.name,) if signature is None else (tensor.name, signature)


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
