"""Ops that no kernels of the runtime can run, because a scale is too large for their arithmetic.

A mask of the least float32 (-3.4e38) sets such a scale. The kernels of ADD and SUB shift integers to the left before
they add them, and multiply the output's scale by the same power of 2 in float32. Where that is infinite they do not
refuse the model: a check ends the process while memory is allocated. So it must be known before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np

from windtunnel.diagnosis.graph import Matching, Pair
from windtunnel.tflite import ModelFacts

# How far the kernels shift to the left, by the type of the output.
_SHIFTS: Final = {"int8": 20, "uint8": 20, "int16": 15}
_SHIFTING: Final = frozenset({"ADD", "SUB"})
_LARGEST: Final = float(np.finfo(np.float32).max)


def overflowing(facts: ModelFacts) -> Mapping[int, str]:
    """The ops of the main graph that would end the process.

    Args:
        facts: of the model.

    Returns:
        The reason, by index of the op.
    """
    found = {}
    for op in facts.ops:
        tensor = facts.tensors[op.outputs[0]] if op.name in _SHIFTING and op.outputs else None
        shift = None if tensor is None else _SHIFTS.get(tensor.dtype)
        if tensor is None or shift is None or tensor.quantization is None or len(tensor.quantization.scales) != 1:
            continue
        scale = tensor.quantization.scales[0]
        if scale * 2.0**shift > _LARGEST:
            found[op.index] = (
                f"the scale {scale:.3g} of {op.name} {tensor.name!r} (op {op.index}) is too large for the runtime's "
                f"kernels, which end the process there: times 2^{shift} it is more than float32 can represent"
            )
    return found


def overflowed_pairs(matching: Matching, hidden: Collection[int]) -> tuple[Pair, ...]:
    """The layers that those ops of the candidate make.

    Args:
        matching: of the two models.
        hidden: tensors of the reference that are left out, by index.

    Returns:
        In the order of the matching.
    """
    ops: Collection[int] = overflowing(matching.candidate.facts).keys()
    return tuple(
        pair for pair in matching.pairs if pair.candidate.op_index in ops and pair.reference.tensor.index not in hidden
    )
