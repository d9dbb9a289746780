"""What an op has to do, from the file alone: multiplications and bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from windtunnel.diagnosis.thresholds.latency_thresholds import HEAVY_OP_WEIGHT
from windtunnel.tflite import ModelFacts, OpFacts, TensorFacts
from windtunnel.tflite.dtypes import WEIGHT_DTYPES, bits_of
from windtunnel.tflite.op_kinds import RESHAPING

Family = Literal["dense", "depthwise", "memory", "unknown", "control"]

_HEAVY = frozenset({"SOFTMAX", "LOG_SOFTMAX", "LOGISTIC", "TANH", "GELU", "EXP", "LOG", "ELU", "POW", "SIN", "COS"})
# Runtimes let these share the memory of their input.
_FREE = RESHAPING | {"SHAPE"}
_POOLS = frozenset({"AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"})
# What such an op takes depends on other graphs.
_CONTROL = frozenset({"WHILE", "IF", "CALL", "CALL_ONCE", "STABLEHLO_COMPOSITE"})
# ... on its values; a custom op's on code that is not in the file.
_BY_VALUE = frozenset({"NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "TOPK_V2", "WHERE", "UNIQUE"})


@dataclass(frozen=True, slots=True)
class OpCost:
    """The work of one op for one inference with the shapes in the file.

    `macs` are multiply-accumulates, `bytes` what it reads (constants too) and writes once. `weight` scales the bytes
    where more than one instruction is needed per value. `weakness` says which fast kernel is known to be missing for
    such an op, or is None.
    """

    op_index: int
    op: str
    layer: str
    kind: str
    family: Family
    macs: int
    bytes: int
    weight: float = 1.0
    weakness: str | None = None

    @property
    def effort(self) -> float:
        """Bytes, weighted by what is done to each; 0 for what is free."""
        return self.bytes * self.weight


def op_cost(facts: ModelFacts, op: OpFacts) -> OpCost:
    """The cost of an op. Multiply-accumulates as in "MobileNets" (Howard et al., 2017), section 3.1.

    Args:
        facts: of the model.
        op: of the model.

    Returns:
        MACs and bytes for one inference.
    """
    tensors = facts.tensors
    used = [tensors[index] for index in dict.fromkeys((*op.inputs, *op.outputs)) if index >= 0]
    macs = _macs(facts, op)
    name = next((tensors[index].name for index in op.outputs if index >= 0), op.name)
    return OpCost(
        op_index=op.index,
        op=op.name,
        layer=name,
        kind=f"{op.name}/{_precision(facts, op)}",
        family=_family(op, macs),
        macs=macs,
        bytes=sum(_bytes(tensor) for tensor in used),
        weight=_weight(op),
        weakness=_weakness(facts, op),
    )


def _family(op: OpFacts, macs: int) -> Family:
    if op.name in _CONTROL:
        return "control"
    if op.is_custom or op.name in _BY_VALUE:
        return "unknown"
    if not macs:
        return "memory"
    # A depthwise convolution uses each value it reads a few times only; per MAC it is several times slower.
    return "depthwise" if op.name == "DEPTHWISE_CONV_2D" else "dense"


def _macs(facts: ModelFacts, op: OpFacts) -> int:
    rule = _MACS.get(op.name)
    shapes = [facts.tensors[index].shape if index >= 0 else () for index in op.inputs]
    if rule is None or not op.outputs:
        return 0
    try:
        return rule(shapes, facts.tensors[op.outputs[0]].shape, op)
    except (IndexError, ValueError):
        return 0


_Shapes = list[tuple[int, ...]]


def _conv(shapes: _Shapes, out: tuple[int, ...], op: OpFacts) -> int:
    # Weights are (out, height, width, in).
    return math.prod(out) * math.prod(shapes[1][1:])


def _depthwise(shapes: _Shapes, out: tuple[int, ...], op: OpFacts) -> int:
    return math.prod(out) * math.prod(shapes[1][1:3])


def _dense(shapes: _Shapes, out: tuple[int, ...], op: OpFacts) -> int:
    return math.prod(out) * shapes[1][-1]


def _transposed(shapes: _Shapes, out: tuple[int, ...], op: OpFacts) -> int:
    # Inputs are the output's shape, weights (out, height, width, in), values.
    return math.prod(shapes[2]) * math.prod(shapes[1][:3])


def _matmul(shapes: _Shapes, out: tuple[int, ...], op: OpFacts) -> int:
    return math.prod(out) * shapes[0][-2 if op.options.get("adj_x") else -1]


def _conv_3d(shapes: _Shapes, out: tuple[int, ...], op: OpFacts) -> int:
    return math.prod(out) * math.prod(shapes[1][:4])


def _sequence(shapes: _Shapes, out: tuple[int, ...], op: OpFacts) -> int:
    # Every weight matrix once per step; a step's outputs are the last dimension.
    matrices = sum(math.prod(shape) for shape in shapes[1:] if len(shape) == 2)
    return matrices * math.prod(out[:-1])


_MACS: Mapping[str, Callable[[_Shapes, tuple[int, ...], OpFacts], int]] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "TRANSPOSE_CONV": _transposed,
    "BATCH_MATMUL": _matmul,
    "CONV_3D": _conv_3d,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _sequence,
    "UNIDIRECTIONAL_SEQUENCE_RNN": _sequence,
}


def _weight(op: OpFacts) -> float:
    if op.name in _FREE:
        return 0.0
    if op.name in _POOLS:
        window = int(op.options.get("filter_height", 1)) * int(op.options.get("filter_width", 1))
        return max(1.0, window / 4)
    return HEAVY_OP_WEIGHT if op.name in _HEAVY else 1.0


def _bytes(tensor: TensorFacts) -> int:
    if tensor.buffer_size:
        return tensor.buffer_size
    return -(-abs(math.prod(tensor.shape)) * bits_of(tensor.dtype) // 8)


def _precision(facts: ModelFacts, op: OpFacts) -> str:
    """What the kernel computes with: the type of the values, and that of the weights where it is another."""
    given = [facts.tensors[index] for index in op.inputs if index >= 0]
    values = next((t for t in given if t.index not in facts.main.fixed), given[0] if given else None)
    if values is None:
        return "none"
    weights = next((t for t in given if t.is_constant and t.dtype in WEIGHT_DTYPES), None)
    if op.name in _MACS and weights is not None and weights.dtype != values.dtype:
        return f"{values.dtype}x{weights.dtype}"
    return values.dtype


def _weakness(facts: ModelFacts, op: OpFacts) -> str | None:
    precision = _precision(facts, op)
    if op.is_custom:
        return "a custom op: no delegate takes it"
    if precision.startswith("int16") and any(
        facts.tensors[index].dtype == "int16" for index in op.outputs if index >= 0
    ):
        return "16-bit activations (int16x8): the runtime has reference kernels only"
    if op.name == "DEPTHWISE_CONV_2D" and precision == "float32xint8":
        return "a hybrid depthwise convolution: float values, 8-bit weights"
    dilation = max(int(op.options.get(f"dilation_{axis}factor") or 1) for axis in "hw")
    if op.name == "DEPTHWISE_CONV_2D" and dilation > 1:
        return f"a depthwise convolution with dilation {dilation}"
    if op.name == "TRANSPOSE_CONV":
        return "a transposed convolution"
    return None
