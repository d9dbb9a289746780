"""Whether a variant was made from a float model: by what both files hold.

Reads all weights of both: call it in a child process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.tflite import ModelFacts, Quantization, TensorFacts, dequantize

# A weight further than this from every constant of the float model (RMS of the difference over RMS) is another one:
# int4 with one scale stays below 0.3, unrelated weights of the same kind come to 1.4.
_FAR: Final = 0.6
_FEWEST_VALUES: Final = 8
# Of larger weights so many values are compared, the same of all that have one shape.
_MOST_VALUES: Final = 16_384


def strange_weights(reference: ModelFacts, variant: ModelFacts) -> list[str]:
    """Names of the variant's weights that no constant of the float model explains.

    Raises InvalidInput where these are more than half of them: the variant was then made from another model.
    """
    ours, weights = _Known(reference), _weights(variant)
    names = [tensor.name for tensor in weights if not _explained(_values(variant, tensor), ours.like(tensor))]
    if len(names) * 2 > len(weights):
        raise InvalidInput(
            f"{variant.path.name} was not made from {reference.path.name}: {len(names)} of its {len(weights)} weights "
            f"are none of that model's, for example {names[0]!r}",
            hint="give the float model that the variant was made from, first",
        )
    return names


class _Known:
    """The float model's weights, each read once, when it is first asked for."""

    def __init__(self, facts: ModelFacts) -> None:
        self._facts = facts
        self._by_shape: dict[tuple[int, ...], list[TensorFacts]] = {}
        for tensor in _weights(facts):
            self._by_shape.setdefault(tensor.shape, []).append(tensor)
        self._read: dict[int, NDArray[np.float64] | None] = {}

    def like(self, tensor: TensorFacts) -> Iterator[NDArray[np.float64]]:
        """Values of the weights of the same shape: the one of the same name, which is it mostly, comes first."""
        for one in sorted(self._by_shape.get(tensor.shape, []), key=lambda one: one.name != tensor.name):
            if one.index not in self._read:
                self._read[one.index] = _values(self._facts, one)
            if (values := self._read[one.index]) is not None:
                yield values


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


def _values(facts: ModelFacts, tensor: TensorFacts) -> NDArray[np.float64] | None:
    """Real values of a weight, (N,); of a large one a seeded choice of them. None where they cannot be read."""
    try:
        stored, quantization = facts.constant(tensor), tensor.quantization
        if stored.size <= _MOST_VALUES:
            return dequantize(stored, quantization).ravel()
        chosen = np.random.default_rng(0).integers(0, stored.size, _MOST_VALUES)
        return dequantize(stored.reshape(-1)[chosen], _of_values(quantization, chosen, stored.shape))
    except Unsupported:
        return None


def _of_values(
    quantization: Quantization | None, chosen: NDArray[np.int64], shape: tuple[int, ...]
) -> Quantization | None:
    """The scale and zero point of each chosen value of a tensor of `shape`; `chosen` counts along its flat values."""
    if quantization is None or len(quantization.scales) < 2:
        return quantization
    axis, count = quantization.axis, len(quantization.scales)
    if not 0 <= axis < len(shape) or shape[axis] != count:
        raise InvalidInput(f"{count} scales along axis {axis} do not fit the shape {list(shape)}")
    channels = np.unravel_index(chosen, shape)[axis]
    scales, zeros = np.asarray(quantization.scales)[channels], np.asarray(quantization.zero_points)[channels]
    return Quantization(tuple(scales.tolist()), tuple(zeros.tolist()))


def _explained(values: NDArray[np.float64] | None, ours: Iterable[NDArray[np.float64]]) -> bool:
    """What cannot be read is given the benefit of the doubt."""
    return values is None or any(_is_near(values, other) for other in ours)


def _is_near(values: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    size = float(np.sqrt(np.mean(other**2)))
    apart = float(np.sqrt(np.mean((values - other) ** 2)))
    return apart <= _FAR * size or apart == 0.0
