"""Ops that cut values off at a lower and an upper bound, however they are written.

RELU6 is MINIMUM(6) and RELU in any order, MAXIMUM(0) and MINIMUM(6), or RELU fused and MINIMUM behind it: one pair of
bounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from windtunnel.diagnosis.graph.constants import Constant, Constants
from windtunnel.diagnosis.thresholds.graph_thresholds import SAME_BOUND
from windtunnel.tflite import OpFacts
from windtunnel.tflite.op_kinds import CHOOSING

Bounds = tuple[float, float]

OPEN: Final[Bounds] = (-math.inf, math.inf)
# The values that each activation lets through.
BOUNDS: Final[Mapping[str, Bounds]] = {
    "NONE": OPEN,
    "RELU": (0.0, math.inf),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU_0_TO_1": (0.0, 1.0),
}
_NAMES: Final = {bounds: name for name, bounds in BOUNDS.items()}


@dataclass(frozen=True, slots=True)
class Clip:
    """An op that cuts values off. `constant` holds its bound at input `place`; None for an activation op."""

    op_index: int
    bounds: Bounds
    constant: Constant | None = None
    place: int = -1


def clip_of(op: OpFacts, constants: Constants) -> Clip | None:
    """What an op cuts off.

    Args:
        op: any op.
        constants: of its model.

    Returns:
        None for an op that does something else, or has a bound for each channel.
    """
    if op.name in BOUNDS and op.name != "NONE":
        return Clip(op.index, BOUNDS[op.name])
    if op.name not in CHOOSING:
        return None
    for place, index in enumerate(op.inputs):
        constant = constants.find(index)
        values = None if constant is None else constants.real(constant)
        if values is not None and values.size and np.all(values == values.flat[0]):
            bound = float(values.flat[0])
            bounds = (-math.inf, bound) if op.name == "MINIMUM" else (bound, math.inf)
            return Clip(op.index, bounds, constant, place)
    return None


def then(first: Bounds, second: Bounds) -> Bounds:
    """The bounds of two clips, one after the other.

    Args:
        first: (low, high), in real units.
        second: (low, high), in real units.

    Returns:
        (low, high) of both together.
    """
    low, high = second
    return min(max(first[0], low), high), min(max(first[1], low), high)


def named(bounds: Bounds) -> str:
    """The activation with some bounds.

    Args:
        bounds: (low, high), in real units.

    Returns:
        `CLIP(low, high)` if no op has them.
    """
    known = next((name for own, name in _NAMES.items() if same(own, bounds)), None)
    return known or f"CLIP({bounds[0]:.6g}, {bounds[1]:.6g})"


def same(one: Bounds, other: Bounds) -> bool:
    """Whether two pairs of bounds let the same values through, apart from what float16 rounds.

    Args:
        one: (low, high), in real units.
        other: (low, high), in real units.
    """
    return all(a == b or math.isclose(a, b, rel_tol=SAME_BOUND) for a, b in zip(one, other, strict=True))
