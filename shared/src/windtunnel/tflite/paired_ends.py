"""Which input or output of one model is which of another: by their names, the rest in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from windtunnel.errors import InvalidInput
from windtunnel.tflite.facts import ModelFacts, TensorFacts

Pairs = list[tuple[TensorFacts, TensorFacts]]
_Names = tuple[str | None, str | None]


def pair_inputs(reference: ModelFacts, candidate: ModelFacts) -> Pairs:
    """Pairs the inputs of two models.

    Tensors of one tensor name are a pair, then those of one signature name, then those whose tensor name is the other's
    signature name. The rest pair in the order of the files.

    Args:
        reference: one model.
        candidate: the other.

    Returns:
        (reference's, candidate's) inputs in the candidate's order.

    Raises:
        InvalidInput: the models do not take as many inputs.
    """
    if len(reference.inputs) != len(candidate.inputs):
        raise InvalidInput(
            f"{candidate.path.name} takes {len(candidate.inputs)} inputs, {reference.path.name} "
            f"{len(reference.inputs)}",
            hint="compare models that take the same inputs",
        )
    places = _paired(_names(reference.inputs, reference.input_name), _names(candidate.inputs, candidate.input_name))
    return [(reference.inputs[place], one) for place, one in zip(places, candidate.inputs, strict=True)]


def pair_outputs(reference: ModelFacts, candidate: ModelFacts) -> Pairs:
    """Pairs the outputs of two models as `pair_inputs` pairs their inputs.

    Args:
        reference: one model.
        candidate: the other.

    Returns:
        (reference's, candidate's) outputs in the reference's order.

    Raises:
        InvalidInput: the models do not give as many outputs.
    """
    if len(reference.outputs) != len(candidate.outputs):
        raise InvalidInput(
            f"{candidate.path.name} has {len(candidate.outputs)} outputs, {reference.path.name} "
            f"{len(reference.outputs)}",
            hint="compare models with the same outputs",
        )
    places = _paired(_names(candidate.outputs, candidate.output_name), _names(reference.outputs, reference.output_name))
    return [(one, candidate.outputs[place]) for place, one in zip(places, reference.outputs, strict=True)]


def _names(tensors: Sequence[TensorFacts], signature_name: Callable[[TensorFacts], str | None]) -> list[_Names]:
    """The tensor name and the signature name of each. A tensor that is both input and output has a name as either."""
    return [(tensor.name, signature_name(tensor)) for tensor in tensors]


def _paired(others: Sequence[_Names], ends: Sequence[_Names]) -> list[int]:
    """The place among `others` of each of `ends`; every place once."""
    found: dict[int, int] = {}
    for kind, other_kind in ((0, 0), (1, 1), (0, 1), (1, 0)):
        left = [place for place in range(len(others)) if place not in found.values()]
        free = {others[place][other_kind]: place for place in reversed(left)}
        free.pop(None, None)
        for end in (end for end in range(len(ends)) if end not in found):
            if ends[end][kind] in free:
                found[end] = free.pop(ends[end][kind])
    rest = (place for place in range(len(others)) if place not in found.values())
    return [found[end] if end in found else next(rest) for end in range(len(ends))]
