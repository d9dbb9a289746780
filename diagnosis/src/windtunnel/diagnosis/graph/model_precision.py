"""How coarse the numbers of two models are, and what that allows."""

from __future__ import annotations

from collections.abc import Iterator

from windtunnel.diagnosis.findings.output_diff import OutputDiff
from windtunnel.diagnosis.graph import Matching
from windtunnel.diagnosis.thresholds.precision_thresholds import QUIET_OUTPUT
from windtunnel.tflite import INTEGER_DTYPES, ModelFacts, TensorFacts
from windtunnel.tflite.dtypes import HALF_DTYPES


def is_quantized(facts: ModelFacts) -> bool:
    """Whether a model stores some of its numbers as integers with scales.

    Args:
        facts: of the model.

    Returns:
        True also if only weights are integers.
    """
    return any(tensor.quantization is not None and tensor.dtype in INTEGER_DTYPES for tensor in _all_tensors(facts))


def precision_of(matching: Matching) -> str:
    """The coarser precision of two models, by what they compute and store with.

    Args:
        matching: of the two models.

    Returns:
        float32, float16 or integer.
    """
    if is_quantized(matching.reference.facts) or is_quantized(matching.candidate.facts):
        return "integer"
    tensors = (*_all_tensors(matching.reference.facts), *_all_tensors(matching.candidate.facts))
    return "float16" if any(tensor.dtype in HALF_DTYPES for tensor in tensors) else "float32"


def is_quiet(output: OutputDiff, precision: str) -> bool:
    """Whether no output and no decision shows more than the precision.

    Args:
        output: difference of one output.
        precision: see `precision_of`.

    Returns:
        True: the difference may come from the precision alone.
    """
    return (
        output.nrmse is not None
        and output.nrmse < QUIET_OUTPUT[precision]
        and not output.changed
        and not output.failures
    )


def _all_tensors(facts: ModelFacts) -> Iterator[TensorFacts]:
    """The tensors of all graphs: the weights of a loop are in its body."""
    return (tensor for graph in facts.graphs for tensor in graph.tensors)
