"""Whether a variant was made from a float model: by what both files hold. Pure."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.tflite import ModelFacts, TensorFacts, dequantize

# A weight further than this from every constant of the float model (RMS of the difference over RMS) is another one:
# int4 with one scale stays below 0.3, unrelated weights of the same kind come to 1.4.
_FAR: Final = 0.6
_FEWEST_VALUES: Final = 8


def strange_weights(reference: ModelFacts, variant: ModelFacts) -> list[str]:
    """Names of the variant's weights that no constant of the float model explains.

    Raises InvalidInput where these are more than half of them: the variant was then made from another model.
    """
    ours = _by_shape(reference)
    names = [
        tensor.name for tensor in _weights(variant) if not _explained(_values(variant, tensor), ours, tensor.shape)
    ]
    total = len(_weights(variant))
    if total and len(names) * 2 > total:
        raise InvalidInput(
            f"{variant.path.name} was not made from {reference.path.name}: {len(names)} of its {total} weights are "
            f"none of that model's, for example {names[0]!r}",
            hint="give the float model that the variant was made from, first",
        )
    return names


def _weights(facts: ModelFacts) -> list[TensorFacts]:
    return [
        tensor
        for tensor in facts.tensors
        if tensor.is_constant
        and not tensor.is_sparse
        and (tensor.dtype.startswith("float") or (tensor.quantization is not None and tensor.dtype.startswith("int")))
        and tensor.dtype != "int32"
        and len(tensor.shape) > 1
        and int(np.prod(tensor.shape)) >= _FEWEST_VALUES
    ]


def _by_shape(facts: ModelFacts) -> dict[tuple[int, ...], list[NDArray[np.float64]]]:
    found: dict[tuple[int, ...], list[NDArray[np.float64]]] = {}
    for tensor in _weights(facts):
        values = _values(facts, tensor)
        if values is not None:
            found.setdefault(tensor.shape, []).append(values)
    return found


def _values(facts: ModelFacts, tensor: TensorFacts) -> NDArray[np.float64] | None:
    try:
        stored = facts.constant(tensor)
        return np.asarray(dequantize(stored, tensor.quantization), np.float64)
    except Unsupported:
        return None


def _explained(values: NDArray[Any] | None, ours: dict[tuple[int, ...], list[Any]], shape: tuple[int, ...]) -> bool:
    """What cannot be read is given the benefit of the doubt."""
    if values is None:
        return True
    for other in ours.get(shape, []):
        size = float(np.sqrt(np.mean(other**2)))
        apart = float(np.sqrt(np.mean((values - other) ** 2)))
        if apart <= _FAR * size or apart == 0.0:
            return True
    return False
