"""How far two correct kernels may differ on one op with the same inputs.

The limits are measured (docs/arm.md: x86 and ARM64, LiteRT 2.3 and 2.1, all accelerators against the optimized kernels)
with room above the largest figure seen: ten times for float, three times for hybrid ops, one step for tables. Nothing
in them depends on the model's depth, since every op is fed the same values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from windtunnel.diagnosis.thresholds.kernel_thresholds import (
    FIXED_POINT_STEPS,
    HYBRID_LIMIT,
    SUM_LIMIT,
    SUM_LIMIT_LEAST,
    TABLE_STEPS,
)
from windtunnel.tflite import ModelFacts, OpFacts, TensorFacts
from windtunnel.tflite.dtypes import WEIGHT_DTYPES
from windtunnel.tflite.op_kinds import JOINING, PICKING, SHAPING

# These move values or choose among them: no kernel has anything to round.
_EXACT: Final = (
    SHAPING
    | JOINING
    | PICKING
    | {
        *("PAD", "MIRROR_PAD", "GATHER_ND", "TILE", "REVERSE_V2", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE"),
        *("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "SHAPE", "RANGE", "FILL", "ARG_MAX", "ARG_MIN", "TOPK_V2"),
        *("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "LOGICAL_AND", "LOGICAL_OR"),
        *("LOGICAL_NOT", "SELECT", "SELECT_V2", "MAX_POOL_2D", "ONE_HOT", "BROADCAST_TO"),
    }
)
# Computed from a table or in fixed point, with other intermediate precisions.
_TABLES: Final = frozenset({"LOGISTIC", "TANH", "SOFTMAX", "GELU", "HARD_SWISH", "EXP", "RSQRT", "LOG_SOFTMAX", "ELU"})
# Exact ones that restate the scale may round.
_RESCALE: Final = frozenset({"CONCATENATION", "PAD", "MAX_POOL_2D", "SELECT", "SELECT_V2", "GATHER", "PACK"})


@dataclass(frozen=True, slots=True)
class Limit:
    """What two correct kernels may differ by in one value.

    `unit` is "steps" of the stored integer, or "of_range": a share of the layer's range of values. `why` says where
    the limit is from.
    """

    value: float
    unit: str
    why: str


def local_limit(facts: ModelFacts, op: OpFacts, tensor: TensorFacts) -> Limit:
    """The limit for one output of an op, from its kind and its types.

    Args:
        facts: of the model.
        op: of the model.
        tensor: its output.

    Returns:
        The limit.
    """
    if not tensor.dtype.startswith(("float", "complex", "bfloat")):
        return _integer_limit(facts, op, tensor)
    if op.name in _EXACT:
        return Limit(0.0, "of_range", f"{op.name} only moves values")
    if is_hybrid(facts, op):
        return Limit(
            HYBRID_LIMIT, "of_range", "each kernel quantizes the float input in its own way, at up to 1/100 of range"
        )
    precision = float(np.finfo(np.float16).eps if tensor.dtype == "float16" else np.finfo(np.float32).eps)
    terms = _terms(facts, op)
    # Errors of a sum of n rounded terms grow with sqrt(n) (Higham, Accuracy and Stability, 2.8).
    value = max(SUM_LIMIT_LEAST, SUM_LIMIT * precision * terms**0.5)
    return Limit(value, "of_range", f"another order of summing {terms} terms")


def _integer_limit(facts: ModelFacts, op: OpFacts, tensor: TensorFacts) -> Limit:
    if tensor.quantization is None:
        return Limit(0.0, "steps", "plain integers are exact")
    if op.name in _EXACT and not (op.name in _RESCALE and _rescales(facts, op, tensor)):
        return Limit(0.0, "steps", f"{op.name} only moves values")
    if op.name in _TABLES and tensor.dtype in TABLE_STEPS:
        return Limit(TABLE_STEPS[tensor.dtype], "steps", f"{op.name} is computed from a table or in fixed point")
    return Limit(FIXED_POINT_STEPS, "steps", "rounded in fixed point by one kernel and in float by another")


def is_hybrid(facts: ModelFacts, op: OpFacts) -> bool:
    """Whether an op computes on a float input with integer weights (dynamic range).

    Args:
        facts: of the model.
        op: of the model.
    """
    if op.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL") and (
        "LSTM" not in op.name and "RNN" not in op.name
    ):
        return False
    types = [facts.tensors[index].dtype for index in op.inputs if index >= 0]
    return "float32" in types and any(kind in WEIGHT_DTYPES for kind in types)


def _rescales(facts: ModelFacts, op: OpFacts, tensor: TensorFacts) -> bool:
    inputs = [facts.tensors[index] for index in op.inputs if index >= 0]
    return any(one.quantization not in (None, tensor.quantization) for one in inputs if not one.is_constant)


def _terms(facts: ModelFacts, op: OpFacts) -> int:
    """About how many products or values one output value sums up."""
    tensors = [facts.tensors[index] for index in op.inputs if index >= 0]
    if op.name in ("CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "CONV_3D"):
        weights = [tensor.shape for tensor in tensors if tensor.is_constant and len(tensor.shape) > 1]
        return max([1, *(_size(shape[1:]) for shape in weights)])
    if op.name == "DEPTHWISE_CONV_2D":
        return max([1, *(_size(tensor.shape[1:3]) for tensor in tensors if len(tensor.shape) == 4)])
    if op.name in ("MEAN", "SUM", "BATCH_MATMUL", "AVERAGE_POOL_2D", "SOFTMAX", "L2_NORMALIZATION"):
        return max([1, *(_size(tensor.shape) for tensor in tensors)])
    return 1


def _size(shape: Sequence[int]) -> int:
    size = 1
    for length in shape:
        size *= max(1, length)
    return size
