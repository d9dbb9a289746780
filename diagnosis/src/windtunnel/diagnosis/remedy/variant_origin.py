"""Whether a variant was made from a float model: by what both files hold.

Reads all weights of both: call it in a child process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.thresholds.remedy_thresholds import (
    FOREIGN_FEWEST_VALUES,
    FOREIGN_MOST_VALUES,
    FOREIGN_STEPS,
    FOREIGN_WEIGHT,
)
from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.tflite import ModelFacts, Quantization, TensorFacts, dequantize

# Whether a constant of the float model explains a weight, but for a channel, or none does.
Fit = Literal["whole", "part", "none"]


def foreign_weights(reference: ModelFacts, variant: ModelFacts) -> list[str]:
    """The variant's weights that no constant of the float model explains, in whole or in a channel.

    Args:
        reference: the float model.
        variant: the quantized model.

    Returns:
        Names of tensors.

    Raises:
        InvalidInput: more than half of them are foreign: the variant was made from another model.
    """
    known, weights = _Known(reference), _weights(variant)
    fits = [(tensor.name, _fit(variant, tensor, known.like(tensor))) for tensor in weights]
    foreign = [name for name, fit in fits if fit == "none"]
    if len(foreign) * 2 > len(weights):
        raise InvalidInput(
            f"{variant.path.name} was not made from {reference.path.name}: {len(foreign)} of its {len(weights)} "
            f"weights are none of that model's, for example {foreign[0]!r}",
            hint="give the float model that the variant was made from, first",
        )
    return [name for name, fit in fits if fit != "whole"]


class _Known:
    """The float model's weights, each read once, when it is first asked for.

    Args:
        facts: of the float model.
    """

    def __init__(self, facts: ModelFacts) -> None:
        self._facts = facts
        self._by_shape: dict[tuple[int, ...], list[TensorFacts]] = {}
        for tensor in _weights(facts):
            self._by_shape.setdefault(tensor.shape, []).append(tensor)
        self._read: dict[int, NDArray[np.float64] | None] = {}

    def like(self, tensor: TensorFacts) -> Iterator[NDArray[np.float64]]:
        """Values of the weights of one shape; the weights of the same name come first.

        Args:
            tensor: of the variant.

        Yields:
            Real numbers.
        """
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
        and int(np.prod(tensor.shape)) >= FOREIGN_FEWEST_VALUES
    ]


def _values(facts: ModelFacts, tensor: TensorFacts) -> NDArray[np.float64] | None:
    """Real values of a weight, (N,); of a large one a seeded choice of them. None where they cannot be read."""
    try:
        stored, quantization = facts.constant(tensor), tensor.quantization
        if stored.size <= FOREIGN_MOST_VALUES:
            return dequantize(stored, quantization).ravel()
        chosen = _chosen(stored.size)
        return dequantize(stored.reshape(-1)[chosen], _of_values(quantization, chosen, stored.shape))
    except Unsupported:
        return None


def _chosen(size: int) -> NDArray[np.int64]:
    """Which of a weight's flat values are looked at."""
    if size <= FOREIGN_MOST_VALUES:
        return np.arange(size)
    return np.random.default_rng(0).integers(0, size, FOREIGN_MOST_VALUES)


def _of_values(
    quantization: Quantization | None, chosen: NDArray[np.int64], shape: tuple[int, ...]
) -> Quantization | None:
    """The scale and zero point of each chosen value of a tensor of `shape`; `chosen` counts along its flat values.

    Raises:
        InvalidInput: the scales do not fit the shape.
    """
    if quantization is None or len(quantization.scales) < 2:
        return quantization
    axis, count = quantization.axis, len(quantization.scales)
    if not 0 <= axis < len(shape) or shape[axis] != count:
        raise InvalidInput(f"{count} scales along axis {axis} do not fit the shape {list(shape)}")
    channels = np.unravel_index(chosen, shape)[axis]
    scales, zeros = np.asarray(quantization.scales)[channels], np.asarray(quantization.zero_points)[channels]
    return Quantization(tuple(scales.tolist()), tuple(zeros.tolist()))


def _fit(variant: ModelFacts, tensor: TensorFacts, candidates: Iterable[NDArray[np.float64]]) -> Fit:
    """How far the float model explains a weight. What cannot be read is given the benefit of the doubt."""
    values = _values(variant, tensor)
    if values is None:
        return "whole"
    found: Fit = "none"
    for other in candidates:
        if _is_near(values, other):
            if not _has_foreign_channel(tensor, values, other):
                return "whole"
            found = "part"
    return found


def _is_near(values: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    size = float(np.sqrt(np.mean(other**2)))
    apart = float(np.sqrt(np.mean((values - other) ** 2)))
    return apart <= FOREIGN_WEIGHT * size or apart == 0.0


def _has_foreign_channel(tensor: TensorFacts, values: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether an output channel is not the float model's: one of many hardly shows in the figure of them all."""
    quantization, chosen = tensor.quantization, _chosen(int(np.prod(tensor.shape)))
    many = quantization is not None and len(quantization.scales) > 1
    # A depthwise kernel has its channels last.
    axis = quantization.axis if quantization is not None and many else -1 if tensor.shape[0] == 1 else 0
    channels = np.unravel_index(chosen, tensor.shape)[axis]
    total = tensor.shape[axis]
    counts = np.maximum(np.bincount(channels, minlength=total), 1)
    apart = np.sqrt(np.bincount(channels, (values - other) ** 2, total) / counts)
    size = np.sqrt(np.bincount(channels, other**2, total) / counts)
    steps = np.asarray(quantization.scales if quantization is not None and quantization.scales else [0.0])
    return bool(((apart > FOREIGN_WEIGHT * size) & (apart > FOREIGN_STEPS * steps)).any())
