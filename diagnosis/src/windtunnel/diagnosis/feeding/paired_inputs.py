"""What both models are fed: the reference's inputs, and the same values under the candidate's names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from windtunnel.diagnosis.feeding.random_inputs import StretchedFeed, common_range
from windtunnel.pipeline import Feed, Pipeline, load_samples, sample_inputs
from windtunnel.pipeline.feed import SampledFeed
from windtunnel.tflite import ModelFacts, dequantize, input_specs
from windtunnel.tflite.paired_ends import pair_inputs


def feed(
    samples: Path | None, pipeline: Mapping[str, Any] | None, reference: ModelFacts, candidate: ModelFacts
) -> Feed:
    """The inputs of both models, sample by sample, as the reference takes them.

    Args:
        samples: .npz or folder of samples; None: random inputs that both models take.
        pipeline: content of a pipeline.json; None: samples as they are.
        reference: the reference model.
        candidate: the candidate model.

    Returns:
        Arrays by the reference's tensor names.

    Raises:
        InvalidInput: the samples do not fit the reference, or the inputs cannot be paired.
        Unsupported: an input has a type that cannot be fed.
    """
    if samples is None:
        ranges = {
            reference_input.name: bounds
            for reference_input, candidate_input in pair_inputs(reference, candidate)
            if (bounds := common_range(reference, reference_input, candidate, candidate_input)) is not None
        }
        return StretchedFeed(sample_inputs(None, None, input_specs(reference)), ranges)
    loaded = load_samples(samples)
    return SampledFeed(loaded, None if pipeline is None else Pipeline.parse(pipeline), input_specs(reference))


def translate(
    inputs: Mapping[str, NDArray[Any]], reference: ModelFacts, candidate: ModelFacts
) -> dict[str, NDArray[Any]]:
    """The same values under the candidate's input names.

    Args:
        inputs: one sample, by the reference's tensor names.
        reference: the reference model.
        candidate: the candidate model.

    Returns:
        By the candidate's tensor names; real numbers if the reference's input is quantized.

    Raises:
        InvalidInput: the inputs cannot be paired.
    """
    translated: dict[str, NDArray[Any]] = {}
    for reference_input, candidate_input in pair_inputs(reference, candidate):
        values = inputs[reference_input.name]
        if reference_input.quantization is not None and values.dtype.kind in "iu":
            values = dequantize(values, reference_input.quantization)
        translated[candidate_input.name] = values
    return translated
