"""What the inputs of a model ask of the samples."""

from __future__ import annotations

from windtunnel.pipeline import InputSpec
from windtunnel.tflite.facts import ModelFacts


def input_specs(facts: ModelFacts) -> list[InputSpec]:
    """What each input takes, for `windtunnel.pipeline.sample_inputs`.

    A quantized input takes real numbers, which `Runner` quantizes with the input's own scale and zero point, or the
    integers that it stores.

    Args:
        facts: of the model.

    Returns:
        One spec for each input, in the model's order.
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
