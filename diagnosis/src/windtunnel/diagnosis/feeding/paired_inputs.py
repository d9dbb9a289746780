"""What both models are fed: the reference's inputs, and the same values under the candidate's names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from windtunnel.diagnosis.feeding.random_inputs import StretchedFeed, common_range
from windtunnel.errors import InvalidInput
from windtunnel.pipeline import Feed, Pipeline, load_samples, sample_inputs
from windtunnel.pipeline.feed import SampledFeed
from windtunnel.tflite import ModelFacts, TensorFacts, dequantize, input_specs


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


def pair_inputs(reference: ModelFacts, candidate: ModelFacts) -> list[tuple[TensorFacts, TensorFacts]]:
    """Pairs of inputs that are the same: by signature or tensor name; without that, by position.

    Args:
        reference: the reference model.
        candidate: the candidate model.

    Returns:
        (input of the reference, input of the candidate), in the reference's order.

    Raises:
        InvalidInput: they cannot be paired.
    """
    if len(reference.inputs) != len(candidate.inputs):
        raise InvalidInput(
            f"{candidate.path.name} takes {len(candidate.inputs)} inputs, {reference.path.name} "
            f"{len(reference.inputs)}",
            hint="compare models that take the same inputs",
        )
    known = {name: tensor for tensor in reference.inputs for name in _names(reference, tensor)}
    pairs = [
        (
            next((known[name] for name in _names(candidate, candidate_input) if name in known), reference_input),
            candidate_input,
        )
        for candidate_input, reference_input in zip(candidate.inputs, reference.inputs, strict=True)
    ]
    if len({reference_input.index for reference_input, _ in pairs}) < len(pairs):
        raise InvalidInput(f"the inputs of {candidate.path.name} and {reference.path.name} cannot be paired")
    return pairs


def _names(model: ModelFacts, tensor: TensorFacts) -> tuple[str, ...]:
    signature = model.signature_name(tensor)
    return (tensor.name,) if signature is None else (tensor.name, signature)
