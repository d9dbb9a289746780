"""Other ways to write the same float computation: what converters and people do without harm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from support.fault_files import File
from support.fault_ops import padded, pads
from support.fault_weights import OUT_AXIS, bias_position, weighted

# Changes a file without changing what it computes; returns how many places it changed.
Rewrite = Callable[[File, np.random.Generator], int]
_SAME = schema.Padding.SAME
_SEPARATE = {1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH"}
_UNARY = ("RELU", "RELU6", "HARD_SWISH", "LOGISTIC", "LEAKY_RELU")


def fused(op: Any) -> int:
    """The fused activation of an op; 0 for none."""
    return int(getattr(op.builtinOptions, "fusedActivationFunction", 0) or 0)


def _after(file: File, op: Any, *new: Any) -> None:
    place = file.ops.index(op) + 1
    file.ops[place:place] = new


def _before(file: File, op: Any, *new: Any) -> None:
    place = file.ops.index(op)
    file.ops[place:place] = new


def _reshape(file: File, source: int, target: int, shape: list[int]) -> Any:
    options = schema.ReshapeOptionsT()
    options.newShape = list(shape)
    wanted = file.add_constant(f"{file.name(target)}/shape", np.array(shape, np.int32))
    return file.new_op("RESHAPE", [source, wanted], [target], options)


def renamed(file: File, draw: np.random.Generator) -> int:
    """Every tensor under another name; signatures keep their names."""
    for number, tensor in enumerate(file.graph.tensors):
        tensor.name = f"value_{number * 7 % 1000}_{number}".encode()
    # Without a signature that maps them, only names distinguish several inputs.
    return 0 if len(file.graph.inputs) > 1 and not file.model.signatureDefs else len(file.graph.tensors)


def shuffled(file: File, draw: np.random.Generator) -> int:
    """Tensors in another order, and ops in another order that their inputs allow."""
    order = draw.permutation(len(file.graph.tensors))
    place = {int(old): new for new, old in enumerate(order)}
    file.graph.tensors = [file.graph.tensors[old] for old in order]

    def moved(found: Iterable[int]) -> list[int]:
        return [place.get(int(one), -1) for one in found]

    for op in file.ops:
        op.inputs, op.outputs = moved(op.inputs), moved(op.outputs)
    file.graph.inputs, file.graph.outputs = moved(file.graph.inputs), moved(file.graph.outputs)
    for signature in file.model.signatureDefs or []:
        for entry in (*signature.inputs, *signature.outputs):
            entry.tensorIndex = place[int(entry.tensorIndex)]
    _shuffle_ops(file, draw)
    return 1


def _shuffle_ops(file: File, draw: np.random.Generator) -> None:
    left, done = list(file.ops), []
    waiting = {int(one) for op in left for one in op.outputs}
    while left:
        ready = [op for op in left if not any(int(one) in waiting for one in op.inputs)]
        op = ready[draw.integers(len(ready))]
        left.remove(op)
        done.append(op)
        waiting -= {int(one) for one in op.outputs}
    file.graph.operators = done


def stripped(file: File, draw: np.random.Generator) -> int:
    """No metadata, no description, and no signature if it has only one input."""
    file.model.metadata, file.model.metadataBuffer, file.model.description = None, None, b""
    if len(file.graph.inputs) == 1:
        file.model.signatureDefs = None
    return 1


def old_codes(file: File, draw: np.random.Generator) -> int:
    """Op codes in the byte-wide field alone, as old converters write them."""
    if any(code.builtinCode > 126 for code in file.model.operatorCodes):
        return 0
    for code in file.model.operatorCodes:
        code.deprecatedBuiltinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
        code.builtinCode = 0
    return 1


def separate_activations(file: File, draw: np.random.Generator) -> int:
    """Fused activations as ops of their own."""
    count = 0
    for op in list(file.ops):
        kind = fused(op)
        if kind not in _SEPARATE:
            continue
        output = int(op.outputs[0])
        raw = file.add_tensor(f"{file.name(output)}/raw", file.shape(output), output)
        op.outputs = [raw]
        op.builtinOptions.fusedActivationFunction = 0
        _after(file, op, file.new_op(_SEPARATE[kind], [raw], [output]))
        count += 1
    return count


def unfolded(file: File, draw: np.random.Generator) -> int:
    """Batch normalization next to the convolution: smaller weights, then MUL and ADD per channel."""
    count = 0
    for op in weighted(file):
        position = bias_position(file, op)
        if file.kind(op) not in ("CONV_2D", "DEPTHWISE_CONV_2D") or file.constant_of(op, position) < 0:
            continue
        _unfold(file, op, position, draw)
        count += 1
    return count


def _unfold(file: File, op: Any, position: int, draw: np.random.Generator) -> None:
    output, weights = int(op.outputs[0]), file.own_constant(op, 1)
    name, shape = file.name(output), file.shape(output)
    factors = np.exp(draw.normal(0, 0.5, shape[-1])).astype(np.float32)
    spread = [-1 if axis == OUT_AXIS[file.kind(op)] else 1 for axis in range(4)]
    file.set_array(weights, file.array(weights) / factors.reshape(spread))
    bias = file.array(file.constant_of(op, position))
    plain, scaled = (file.add_tensor(f"{name}/{part}", shape, output) for part in ("convolution", "mul"))
    multiply, add = schema.MulOptionsT(), schema.AddOptionsT()
    multiply.fusedActivationFunction, add.fusedActivationFunction = 0, fused(op)
    op.builtinOptions.fusedActivationFunction = 0
    # The kernels of convolutions insist on a bias.
    nothing = file.add_constant(f"{name}/no_bias", np.zeros_like(bias))
    op.inputs, op.outputs = [*(int(one) for one in op.inputs[:position]), nothing], [plain]
    gamma = file.add_constant(f"{name}/gamma", factors)
    beta = file.add_constant(f"{name}/beta", bias)
    _after(
        file,
        op,
        file.new_op("MUL", [plain, gamma], [scaled], multiply),
        file.new_op("ADD", [scaled, beta], [output], add),
    )


def padded_valid(file: File, draw: np.random.Generator) -> int:
    """SAME padding as a PAD before a VALID convolution."""
    count = 0
    for op in weighted(file):
        if file.kind(op) not in ("CONV_2D", "DEPTHWISE_CONV_2D") or op.builtinOptions.padding != _SAME:
            continue
        amounts = pads(file, op)
        if any(sum(pair) for pair in amounts):
            padded(file, op, amounts)
            count += 1
    return count


def transposed(file: File, draw: np.random.Generator) -> int:
    """Elementwise ops and concatenations in NCHW, between transposes."""
    count = 0
    for op in list(file.ops):
        given = [int(one) for one in op.inputs]
        shapes = [file.shape(one) for one in (*given, int(op.outputs[0]))]
        rank = all(len(shape) == 4 for shape in shapes) and not any(file.is_constant(one) for one in given)
        same = file.kind(op) in ("ADD", "MUL", "SUB") and len(set(shapes)) == 1
        joins = file.kind(op) == "CONCATENATION" and op.builtinOptions.axis in (3, -1)
        if rank and (same or joins or file.kind(op) in _UNARY):
            _transpose(file, op)
            count += 1
    return count


def _transpose(file: File, op: Any) -> None:
    there, back = (file.add_constant("perm", np.array(one, np.int32)) for one in ((0, 3, 1, 2), (0, 2, 3, 1)))

    def nchw(index: int) -> int:
        n, h, w, c = file.shape(index)
        return file.add_tensor(f"{file.name(index)}/nchw", (n, c, h, w), index)

    output = int(op.outputs[0])
    inputs = [(int(one), nchw(int(one))) for one in op.inputs]
    result = nchw(output)
    options = schema.TransposeOptionsT
    _before(file, op, *(file.new_op("TRANSPOSE", [one, there], [other], options()) for one, other in inputs))
    _after(file, op, file.new_op("TRANSPOSE", [result, back], [output], options()))
    op.inputs, op.outputs = [other for _, other in inputs], [result]
    if file.kind(op) == "CONCATENATION":
        op.builtinOptions.axis = 1


def mean_as_pool(file: File, draw: np.random.Generator) -> int:
    """A mean over height and width as an AVERAGE_POOL_2D."""
    count = 0
    for op in list(file.ops):
        source = int(op.inputs[0])
        if file.kind(op) != "MEAN" or len(file.shape(source)) != 4 or not file.is_constant(int(op.inputs[1])):
            continue
        if sorted(file.array(int(op.inputs[1])).ravel().tolist()) != [1, 2]:
            continue
        n, height, width, channels = file.shape(source)
        options = schema.Pool2DOptionsT()
        options.filterHeight, options.filterWidth, options.strideH, options.strideW = height, width, 1, 1
        options.padding = schema.Padding.VALID
        output = int(op.outputs[0])
        pooled = file.add_tensor(f"{file.name(output)}/pooled", (n, 1, 1, channels), output)
        shape = [-1, 1, 1, channels] if len(file.shape(output)) == 4 else [-1, channels]
        pool = file.new_op("AVERAGE_POOL_2D", [source], [pooled], options)
        _before(file, op, pool, _reshape(file, pooled, output, shape))
        file.ops.remove(op)
        count += 1
    return count


def reshapes_inserted(file: File, draw: np.random.Generator) -> int:
    """Some values flattened and brought back into their shape."""
    count = 0
    for op in weighted(file)[1::2]:
        source = int(op.inputs[0])
        shape = list(file.shape(source))
        if file.is_constant(source) or len(shape) < 2:
            continue
        flat = file.add_tensor(f"{file.name(source)}/flat", (1, int(np.prod(shape))), source)
        again = file.add_tensor(f"{file.name(source)}/again", shape, source)
        _before(file, op, _reshape(file, source, flat, [1, -1]), _reshape(file, flat, again, [-1, *shape[1:]]))
        op.inputs = [again, *(int(one) for one in op.inputs[1:])]
        count += 1
    return count


def dense_as_convolution(file: File, draw: np.random.Generator) -> int:
    """FULLY_CONNECTED on a vector as a convolution with a 1x1 kernel."""
    count = 0
    for op in weighted(file):
        source, output = int(op.inputs[0]), int(op.outputs[0])
        if file.kind(op) != "FULLY_CONNECTED" or len(file.shape(source)) != 2 or len(file.shape(output)) != 2:
            continue
        weights = file.own_constant(op, 1)
        width, depth = file.shape(weights)
        file.set_array(weights, file.array(weights).reshape(width, 1, 1, depth))
        wide = file.add_tensor(f"{file.name(source)}/pixel", (1, 1, 1, depth), source)
        result = file.add_tensor(f"{file.name(output)}/pixel", (1, 1, 1, width), output)
        options = schema.Conv2DOptionsT()
        options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
        options.padding, options.fusedActivationFunction = schema.Padding.VALID, fused(op)
        rest = [int(one) for one in op.inputs[1:] if one >= 0]
        if len(rest) == 1:
            rest.append(file.add_constant(f"{file.name(output)}/no_bias", np.zeros(width, np.float32)))
        convolution = file.new_op("CONV_2D", [wide, *rest], [result], options)
        first = _reshape(file, source, wide, [-1, 1, 1, depth])
        _before(file, op, first, convolution, _reshape(file, result, output, [-1, width]))
        file.ops.remove(op)
        count += 1
    return count


def several(file: File, draw: np.random.Generator) -> int:
    """Separate activations, explicit padding, another order and other names at once."""
    return sum(rewrite(file, draw) for rewrite in (separate_activations, padded_valid, shuffled, renamed))


REWRITES: Mapping[str, Rewrite] = {
    "renamed": renamed,
    "shuffled": shuffled,
    "stripped": stripped,
    "old_codes": old_codes,
    "separate_activations": separate_activations,
    "unfolded": unfolded,
    "padded_valid": padded_valid,
    "transposed": transposed,
    "mean_as_pool": mean_as_pool,
    "reshapes_inserted": reshapes_inserted,
    "dense_as_convolution": dense_as_convolution,
    "several_at_once": several,
}
# Those that change the graph: also quantized, and with a fault on the other side.
STRUCTURAL = (
    "renamed", "shuffled", "separate_activations", "unfolded", "padded_valid", "transposed", "mean_as_pool",
    "reshapes_inserted", "dense_as_convolution", "several_at_once",
)  # fmt: skip
