"""What a fault reports about itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from support.fault_files import File

WEIGHTS, OP, PARAMETERS = "conversion.weights", "conversion.op", "quantization.parameters"
CLIPPED, WIDE = "quantization.calibration_clipped", "quantization.calibration_wide"
PER_TENSOR, ACCUMULATED = "quantization.per_tensor", "quantization.accumulated"


@dataclass(frozen=True)
class Hit:
    """What was done: the codes that name it, the tensors that are accepted as its place, and a few words."""

    codes: tuple[str, ...]
    tensors: frozenset[int]
    what: str


# Changes a file; None where it has nothing of the kind.
Fault = Callable[[File, np.random.Generator], Hit | None]


def at(file: File, op: Any, code: str, what: str) -> Hit:
    """A hit at the first output of an op."""
    index = int(op.outputs[0])
    return Hit((code,), frozenset({index}), f"{what} at {file.kind(op)} {file.name(index)}")
