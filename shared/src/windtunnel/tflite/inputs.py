"""What the inputs of a model ask of the samples."""

from __future__ import annotations

from windtunnel.pipeline import InputSpec
from windtunnel.tflite.facts import ModelFacts


def input_specs(facts: ModelFacts) -> list[InputSpec]:
    """One spec per input, for `windtunnel.pipeline.sample_inputs`.

    A quantised input asks for real numbers, which `Runner` quantises with the input's own scale and zero point, or
    for the integers that it stores.
    """
    return [
        InputSpec(
            name=tensor.name,
            shape=tensor.shape_signature,
            dtype="float32" if tensor.quantization is not None else tensor.dtype,
            alias=facts.input_name(tensor),
            stored=tensor.dtype if tensor.quantization is not None else None,
        )
        for tensor in facts.inputs
    ]
