"""Which op of the model each operator of a delegate came from.

XNNPACK compiles ops to operators of its own: it names these, not the ops, fuses some and adds conversions and
reshapes between others, and keeps their order. An alignment of both sequences gives each op its operators.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from windtunnel.diagnosis.thresholds.latency_thresholds import (
    ASSIGNMENT_SLACK,
    DROPPED_COST,
    HELPER_COST,
    MOST_OPERATORS_PER_OP,
    WRONG_COST,
)
from windtunnel.tflite.facts import OpFacts
from windtunnel.tflite.op_kinds import AFFINE, CHOOSING, JOINING, QUANTIZING, RESHAPING

_BINARY = AFFINE | CHOOSING | {"SQUARED_DIFFERENCE", "PRELU", "POW"}
_RELUS = CHOOSING | {"RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1"}
_MOVES = RESHAPING | JOINING | {"SPLIT", "UNPACK", "SLICE"}
_MEANS = frozenset({"MEAN", "SUM"})
# What XNNPACK's operators (src/operator-type) compute; names that are equal but for their spelling are not listed.
_COMPUTES: Mapping[str, frozenset[str]] = {
    "Fully Connected": frozenset({"FULLY_CONNECTED", "CONV_2D", "BATCH_MATMUL"}),
    "Dynamic Fully Connected": frozenset({"FULLY_CONNECTED", "CONV_2D", "BATCH_MATMUL"}),
    "Batch Matrix Multiply": frozenset({"BATCH_MATMUL", "FULLY_CONNECTED"}),
    "Convolution": frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"}),
    "Deconvolution": frozenset({"TRANSPOSE_CONV", "Convolution2DTransposeBias"}),
    "Subtract": frozenset({"SUB"}),
    "Multiply": frozenset({"MUL"}),
    "Divide": frozenset({"DIV"}),
    "Binary Elementwise": _BINARY,
    "Sigmoid": frozenset({"LOGISTIC"}),
    "Clamp": _RELUS,
    "Mean": _MEANS,
    "Sum": _MEANS,
    "Average Pooling": frozenset({"AVERAGE_POOL_2D", "MEAN"}),
    "Max Pooling": frozenset({"MAX_POOL_2D"}),
    "Negate": frozenset({"NEG"}),
    "Ceiling": frozenset({"CEIL"}),
    "Square Root": frozenset({"SQRT"}),
    "Reciprocal Square Root": frozenset({"RSQRT"}),
    "Sine": frozenset({"SIN"}),
    "Cosine": frozenset({"COS"}),
    "HardSwish": frozenset({"HARD_SWISH"}),
    "LeakyReLU": frozenset({"LEAKY_RELU"}),
    "Constant Pad": frozenset({"PAD", "PADV2"}),
    "Slice": frozenset({"SLICE", "STRIDED_SLICE", "SPLIT", "SPLIT_V", "UNPACK"}),
    "Copy": _MOVES,
    "Static Reshape": _MOVES,
    "Convert": QUANTIZING | {"CAST"},
}
# Added around an op where its kernel wants another type, shape or border.
_HELPERS = frozenset(
    {"Static Reshape", "Static Expand Dims", "Fuse Dims", "Split Dims", "Convert", "Copy", "Transpose", "Constant Pad"}
    | {"Clamp", "Multiply"}
)


def align(ops: Sequence[OpFacts], operators: Sequence[str], folded: frozenset[int]) -> list[int] | None:
    """The op that each operator of a delegate belongs to.

    Every operator goes to one op, in order. The assignment with the least cost is taken. An op with the operator that
    computes it costs nothing, helpers around it cost some, an op without an operator costs more. An operator that
    computes something else than its op does not fit.

    Args:
        ops: the delegated ops in execution order.
        operators: the delegate's operators by name, in execution order.
        folded: indices of ops that are computed once, before any run.

    Returns:
        Positions in `ops`; None if the sequences do not fit each other.
    """
    names = [_plain(name) for name in operators]
    width = abs(len(ops) - len(names)) + ASSIGNMENT_SLACK
    steps: list[dict[int, int]] = []
    costs = {0: 0.0}
    for position, op in enumerate(ops):
        reached: dict[int, float] = {}
        taken: dict[int, int] = {}
        for start, cost in costs.items():
            for end in range(start, min(start + MOST_OPERATORS_PER_OP, len(names)) + 1):
                total = cost + _segment(op, names[start:end], op.index in folded)
                if abs(end - position) <= width and total < reached.get(end, math.inf):
                    reached[end], taken[end] = total, start
        costs = reached
        steps.append(taken)
    if costs.get(len(names), math.inf) >= WRONG_COST:
        return None
    return _trace(steps, len(names))


def _trace(steps: Sequence[Mapping[int, int]], end: int) -> list[int]:
    owners = [0] * end
    for position in reversed(range(len(steps))):
        start = steps[position][end]
        owners[start:end] = [position] * (end - start)
        end = start
    return owners


def _segment(op: OpFacts, names: Sequence[str], folded: bool) -> float:
    """The cost of letting these operators be what one op became."""
    computing = sum(_computes(name, op.name) for name in names)
    helpers = sum(name in _HELPERS and not _computes(name, op.name) for name in names)
    wrong = len(names) - computing - helpers
    missing = 0.0 if computing or folded else DROPPED_COST
    repeated = max(computing - 1, 0)
    return missing + HELPER_COST * (helpers + repeated) + WRONG_COST * wrong


def _computes(operator: str, op: str) -> bool:
    return op in _COMPUTES.get(operator, ()) or _letters(operator) == _letters(op)


def _plain(name: str) -> str:
    return name.removeprefix("Delegate/").split(" (")[0].strip()


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
