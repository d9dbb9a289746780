"""Kinds of ops by what they do with values: one table, whoever asks."""

from __future__ import annotations

from typing import Final

from windtunnel.tflite.facts import ModelFacts, OpFacts

# They restate a value with another scale or precision.
QUANTIZING: Final = frozenset({"QUANTIZE", "DEQUANTIZE"})
# They give the same values in the same order another shape.
RESHAPING: Final = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS"})
# The same values in another shape or another order.
SHAPING: Final = RESHAPING | {"TRANSPOSE"}
# One value in, the same value out, at the same place: only type, scale or shape may be another.
RESTATING: Final = QUANTIZING | RESHAPING | {"CAST"}
# They interpolate values along the height and the width.
RESIZING: Final = frozenset({"RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"})
# They put tensors together.
JOINING: Final = frozenset({"CONCATENATION", "PACK"})
# They take a part of the values.
PICKING: Final = frozenset({"SLICE", "STRIDED_SLICE", "SPLIT", "SPLIT_V", "UNPACK", "GATHER"})
# Arithmetic of two operands; with a constant they scale and shift.
AFFINE: Final = frozenset({"ADD", "SUB", "MUL", "DIV"})
# They take the larger or the smaller of two operands.
CHOOSING: Final = frozenset({"MAXIMUM", "MINIMUM"})
# They make probabilities.
PROBABILITIES: Final = frozenset({"SOFTMAX", "LOGISTIC"})
# They end a classifier: the largest value is its decision.
CLASSIFYING: Final = PROBABILITIES | {"LOG_SOFTMAX"}
# Kernels prescribe the scale of their outputs.
PRESCRIBED_SCALE: Final = CLASSIFYING | {"TANH", "L2_NORMALIZATION"}
# They draw numbers: no two runs agree.
RANDOM: Final = frozenset({"RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL", "MULTINOMIAL"})


def maker_of(model: ModelFacts, tensor: int) -> OpFacts | None:
    """The op of the main graph that makes a value, through the ops that only restate it.

    Args:
        model: facts of the model.
        tensor: index in the main graph.

    Returns:
        None: no op makes the value (an input or a constant).
    """
    makers = {index: op for op in model.ops for index in op.outputs}
    for _ in model.ops:
        maker = makers.get(tensor)
        if maker is None or maker.name not in RESTATING:
            return maker
        tensor = maker.inputs[0]
    return None
