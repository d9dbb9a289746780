"""Constants of a model as real numbers, in one layout whatever the op."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.tflite import ModelFacts, Quantization, TensorFacts, dequantize
from windtunnel.tflite.op_kinds import RESTATING

# Where an op keeps its weights and bias, and which axis of the weights counts the output channels.
WEIGHTED: dict[str, tuple[int, int, int]] = {
    "CONV_2D": (1, 2, 0),
    "DEPTHWISE_CONV_2D": (1, 2, 3),
    "FULLY_CONNECTED": (1, 2, 0),
    "TRANSPOSE_CONV": (1, 3, 0),
    "CONV_3D": (1, 2, 4),
}


# Every comparison asks for the same constants again; so many values are kept.
_HELD = 8_000_000


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant of an op: the tensor that the op reads, and the one that holds the bytes.

    They differ if a DEQUANTIZE of stored float16 or int8 is between them.
    """

    read: TensorFacts
    stored: TensorFacts

    @property
    def quantization(self) -> Quantization | None:
        """Scales of what is stored; None for floating point."""
        return self.stored.quantization if self.stored.dtype.startswith(("int", "uint")) else None


class Constants:
    """Reads a model's constants.

    Args:
        facts: of the model.
    """

    def __init__(self, facts: ModelFacts) -> None:
        self._facts = facts
        self._makers = {index: op for op in facts.ops for index in op.outputs}
        self._known: dict[int, NDArray[np.float64]] = {}
        self._held = 0

    def find(self, tensor: int) -> Constant | None:
        """The constant behind a tensor, through QUANTIZE, DEQUANTIZE, CAST and shape ops.

        Args:
            tensor: index; negative: an optional input that is left out.

        Returns:
            None if there is none.
        """
        if tensor < 0 or tensor not in self._facts.main.fixed:
            return None
        at = tensor
        while not self._facts.tensors[at].is_constant:
            maker = self._makers.get(at)
            if maker is None or maker.name not in RESTATING:
                return None
            at = maker.inputs[0]
        return Constant(self._facts.tensors[tensor], self._facts.tensors[at])

    def stored(self, constant: Constant) -> NDArray[Any] | None:
        """The value as stored.

        Args:
            constant: of this model.

        Returns:
            None if it cannot be read as an array.
        """
        try:
            return self._facts.constant(constant.stored)
        except (InvalidInput, Unsupported):
            return None

    def real(self, constant: Constant) -> NDArray[np.float64] | None:
        """The value in real numbers.

        Args:
            constant: of this model.

        Returns:
            float64 in the stored tensor's shape, not to be changed; None if it cannot be read as numbers.
        """
        index = constant.stored.index
        if index in self._known:
            return self._known[index]
        values = self.stored(constant)
        if values is None:
            return None
        try:
            found = dequantize(values, constant.stored.quantization)
        except (InvalidInput, Unsupported):
            return None
        self._held += found.size
        if self._held <= _HELD:
            self._known[index] = found
        return found


def rows(values: NDArray[Any], axis: int) -> NDArray[Any]:
    """Weights as a matrix.

    Args:
        values: of any shape.
        axis: of the output channels.

    Returns:
        (output channels, everything else).
    """
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1) if values.ndim else values.reshape(1, 1)
