"""Pairs of models with the mistakes that public reports describe, each rebuilt small and op by op.

Every function writes a model as it should be, or with `wrong` as the report says that it came out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from numpy.typing import NDArray

from support.layers import Layers, options, random_weights

Array = NDArray[Any]
Writer = Callable[..., Path]


def _start(shape: tuple[int, ...], channels: int) -> tuple[Layers, int, int]:
    """Input and a first convolution with as many rows and columns."""
    net = Layers()
    source = net.tensor("input", shape)
    weights = random_weights((channels, 3, 3, shape[-1]), seed=1)
    return net, source, net.conv("first", source, weights, random_weights((channels,), seed=2), (*shape[:3], channels))


def _end(net: Layers, source: int, at: int, shape: tuple[int, ...], path: Path) -> Path:
    weights = random_weights((3, 1, 1, shape[-1]), seed=9)
    last = net.conv("last", at, weights, np.zeros(3, np.float32), (*shape[:3], 3))
    return net.write(path, [source], [last])


def transposed_convolution(path: Path, *, wrong: bool = False) -> Path:
    """A TRANSPOSE_CONV, `wrong` with weights for its first channel alone."""
    net, source, at = _start((1, 6, 6, 2), 4)
    weights = random_weights((5, 3, 3, 4), seed=3)
    weights[1:] *= np.float32(not wrong)
    kernel = net.constant("up/weights", weights)
    size = net.constant("up/shape", np.array([1, 12, 12, 5], np.int32))
    made = options("TransposeConv", strideH=2, strideW=2, padding="SAME")
    up = net.layer("TRANSPOSE_CONV", "up", [size, kernel, at], (1, 12, 12, 5), made)
    return _end(net, source, up, (1, 12, 12, 5), path)


def padded_dilation(path: Path, *, wrong: bool = False) -> Path:
    """A dilated convolution by the batch trick, `wrong` with a padding that is not zero."""
    net, source, at = _start((1, 8, 8, 2), 4)
    pads = net.constant("pads", np.array([[0, 0], [2, 2], [2, 2], [0, 0]], np.int32))
    value = net.constant("pads/value", np.array(1.5 if wrong else 0.0, np.float32))
    padded = net.layer("PADV2", "padded", [at, pads, value], (1, 12, 12, 4), options("PadV2"))
    block, none = (
        net.constant(name, np.array(rows, np.int32)) for name, rows in (("block", [2, 2]), ("none", [[0, 0], [0, 0]]))
    )
    spread = net.layer("SPACE_TO_BATCH_ND", "spread", [padded, block, none], (4, 6, 6, 4), options("SpaceToBatchND"))
    weights, bias = random_weights((5, 3, 3, 4), seed=3), random_weights((5,), seed=4)
    inner = net.conv("dilated", spread, weights, bias, (4, 4, 4, 5), padding="VALID")
    joined = net.layer("BATCH_TO_SPACE_ND", "joined", [inner, block, none], (1, 8, 8, 5), options("BatchToSpaceND"))
    return _end(net, source, joined, (1, 8, 8, 5), path)


def dilated(path: Path) -> Path:
    """What `padded_dilation` computes, as one convolution."""
    net, source, at = _start((1, 8, 8, 2), 4)
    weights, bias = random_weights((5, 3, 3, 4), seed=3), random_weights((5,), seed=4)
    return _end(net, source, net.conv("dilated", at, weights, bias, (1, 8, 8, 5), dilation=(2, 2)), (1, 8, 8, 5), path)


def constant_in_memory_order(path: Path, *, wrong: bool = False) -> Path:
    """A product with a constant, `wrong` with the values of its transposed view in the order of memory."""
    net, source, at = _start((1, 6, 8, 2), 4)
    values = random_weights((1, 6, 8, 1), seed=5, scale=1.0)
    kept = values.reshape(6, 8).T.reshape(values.shape) if wrong else values
    return _end(net, source, net.with_constant("MUL", "scaled", at, kept.copy(), (1, 6, 8, 4)), (1, 6, 8, 4), path)


def mirrored(path: Path, *, wrong: bool = False) -> Path:
    """MIRROR_PAD that reflects, `wrong` with the edge repeated."""
    net, source, at = _start((1, 6, 6, 2), 4)
    pads = net.constant("pads", np.array([[0, 0], [2, 2], [2, 2], [0, 0]], np.int32))
    made = options("MirrorPad", mode=schema.MirrorPadMode.SYMMETRIC if wrong else schema.MirrorPadMode.REFLECT)
    return _end(
        net, source, net.layer("MIRROR_PAD", "mirrored", [at, pads], (1, 10, 10, 4), made), (1, 10, 10, 4), path
    )


def shuffled_pixels(path: Path) -> Path:
    """Channels to pixels with the channel outermost, in three ops."""
    net, source, at = _start((1, 4, 4, 2), 8)
    parts = net.reshape("parts", at, (1, 4, 4, 2, 2, 2))
    turned = net.transpose("turned", parts, (0, 1, 4, 2, 5, 3), (1, 4, 2, 4, 2, 2))
    return _end(net, source, net.reshape("pixels", turned, (1, 8, 8, 2)), (1, 8, 8, 2), path)


def depth_to_space(path: Path, *, wrong: bool = False) -> Path:
    """The same in one DEPTH_TO_SPACE, which has the channel innermost; `wrong` without reordered channels before."""
    net = Layers()
    source = net.tensor("input", (1, 4, 4, 2))
    weights, bias = random_weights((8, 3, 3, 2), seed=1), random_weights((8,), seed=2)
    order = np.arange(8) if wrong else np.arange(8).reshape(2, 4).T.reshape(-1)
    at = net.conv("first", source, weights[order], bias[order], (1, 4, 4, 8))
    pixels = net.layer("DEPTH_TO_SPACE", "pixels", [at], (1, 8, 8, 2), options("DepthToSpace", blockSize=2))
    return _end(net, source, pixels, (1, 8, 8, 2), path)


def averaged(path: Path, *, wrong: bool = False) -> Path:
    """An average that does not count the padding, `wrong` one that counts its zeros."""
    net, source, at = _start((1, 6, 6, 2), 4)
    at = net.with_constant("ADD", "lifted", at, np.full(4, 3.0, np.float32), (1, 6, 6, 4))
    if wrong:
        pads = net.constant("pads", np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
        at = net.layer("PAD", "padded", [at, pads], (1, 8, 8, 4), options("Pad"))
    made = options("Pool2D", filterHeight=3, filterWidth=3, strideH=1, strideW=1, padding="VALID" if wrong else "SAME")
    return _end(net, source, net.layer("AVERAGE_POOL_2D", "mean", [at], (1, 6, 6, 4), made), (1, 6, 6, 4), path)


def largest(path: Path, *, wrong: bool = False) -> Path:
    """The largest of negative values, `wrong` with a padding of zeros that is larger."""
    net, source, at = _start((1, 6, 6, 2), 4)
    at = net.with_constant("ADD", "lowered", at, np.full(4, -3.0, np.float32), (1, 6, 6, 4))
    if wrong:
        pads = net.constant("pads", np.array([[0, 0], [2, 2], [2, 2], [0, 0]], np.int32))
        at = net.layer("PAD", "padded", [at, pads], (1, 10, 10, 4), options("Pad"))
    made = options("Pool2D", filterHeight=5, filterWidth=5, strideH=1, strideW=1, padding="VALID" if wrong else "SAME")
    return _end(net, source, net.layer("MAX_POOL_2D", "largest", [at], (1, 6, 6, 4), made), (1, 6, 6, 4), path)


def _half(net: Layers, name: str, array: Array, half: bool) -> int:
    """A constant, with `half` stored as float16 and made float32 by a DEQUANTIZE."""
    if not half:
        return net.constant(name, array)
    with np.errstate(over="ignore"):
        stored = net.tensor(f"{name}/half", array.shape, "float16", data=array.astype(np.float16))
    return net.layer("DEQUANTIZE", name, [stored], array.shape)


def masked(path: Path, *, half: bool = False) -> Path:
    """Scores less 1e30 for what a mask (an input) excludes; `half` with constants of float16."""
    net = Layers()
    source, mask = net.tensor("input", (1, 8)), net.tensor("mask", (1, 6))
    weights = _half(net, "weights", random_weights((6, 8), seed=3), half)
    scores = net.layer("FULLY_CONNECTED", "scores", [source, weights, -1], (1, 6), options("FullyConnected"))
    far = _half(net, "far", np.full((1, 6), 1e30, np.float32), half)
    away = net.layer("MUL", "away", [mask, far], (1, 6), options("Mul"))
    kept = net.layer("SUB", "kept", [scores, away], (1, 6), options("Sub"))
    end = net.layer("SOFTMAX", "weights_of", [kept], (1, 6), options("Softmax", beta=1.0))
    return net.write(path, [source, mask], [end])


def normalized(path: Path, *, half: bool = False, epsilon: float = 1e-12) -> Path:
    """Rows over their root mean square; `half` with constants of float16, in which a small epsilon is zero."""
    net = Layers()
    source = net.tensor("input", (1, 8))
    weights = _half(net, "weights", random_weights((6, 8), seed=3), half)
    dense = net.layer("FULLY_CONNECTED", "dense", [source, weights, -1], (1, 6), options("FullyConnected"))
    squared = net.layer("MUL", "squared", [dense, dense], (1, 6), options("Mul"))
    axis = net.constant("axis", np.array([1], np.int32))
    mean = net.layer("MEAN", "mean", [squared, axis], (1, 1), options("Reducer", keepDims=True))
    small = _half(net, "epsilon", np.array([epsilon], np.float32), half)
    safe = net.layer("ADD", "safe", [mean, small], (1, 1), options("Add"))
    root = net.layer("RSQRT", "root", [safe], (1, 1))
    scaled = net.layer("MUL", "scaled", [dense, root], (1, 6), options("Mul"))
    return net.write(path, [source], [scaled])


def gathered(path: Path, *, wrong: bool = False) -> Path:
    """Rows of every batch entry by its own indices, `wrong` by those of the first entry for all."""
    net = Layers()
    source = net.tensor("input", (2, 2, 6))
    at = net.layer("TANH", "bent", [source], (2, 2, 6))
    places = net.constant("places", np.array([3, 0] if wrong else [[3, 0], [1, 5]], np.int32))
    made = options("Gather", axis=2, batchDims=0 if wrong else 1)
    taken = net.layer("GATHER", "taken", [at, places], (2, 2, 2), made)
    return net.write(path, [source], [net.layer("LOGISTIC", "end", [taken], (2, 2, 2))])


def flattened(path: Path, *, wrong: bool = False, ordered: bool = False) -> Path:
    """A convolution flattened with channels first, then a dense layer.

    `ordered`: with channels last and weights in that order, which is the same; `wrong`: with channels last only.
    """
    net, source, at = _start((1, 4, 4, 2), 4)
    weights = random_weights((5, 64), seed=3, scale=0.2)
    if ordered:
        weights = weights.reshape(5, 4, 4, 4).transpose(0, 2, 3, 1).reshape(5, 64).copy()
    if not wrong and not ordered:
        at = net.transpose("first_channels", at, (0, 3, 1, 2), (1, 4, 4, 4))
    flat = net.reshape("flat", at, (1, 64))
    return net.write(path, [source], [net.fully_connected("dense", flat, weights, np.zeros(5, np.float32), 1)])


def softmax_over_channels(path: Path, *, wrong: bool = False) -> Path:
    """A softmax over the channels, `wrong` over the columns."""
    net, source, at = _start((1, 4, 4, 2), 4)
    if wrong:
        at = net.transpose("turned", at, (0, 1, 3, 2), (1, 4, 4, 4))
    at = net.layer("SOFTMAX", "likely", [at], (1, 4, 4, 4), options("Softmax", beta=1.0))
    if wrong:
        at = net.transpose("back", at, (0, 1, 3, 2), (1, 4, 4, 4))
    return _end(net, source, at, (1, 4, 4, 4), path)


def recurrent(path: Path, *, wrong: bool = False) -> Path:
    """UNIDIRECTIONAL_SEQUENCE_LSTM, `wrong` with the weights of the forget gate and of the cell exchanged."""
    net = Layers()
    source = net.tensor("input", (1, 7, 3))
    kernels = [net.constant(f"w_{gate}", random_weights((5, 3), seed=10 + at)) for at, gate in enumerate("ifco")]
    inner = [net.constant(f"r_{gate}", random_weights((5, 5), seed=20 + at)) for at, gate in enumerate("ifco")]
    biases = [net.constant(f"b_{gate}", random_weights((5,), seed=30 + at)) for at, gate in enumerate("ifco")]
    if wrong:
        for gates in (kernels, inner, biases):
            gates[1], gates[2] = gates[2], gates[1]
    states = [net.tensor(name, (1, 5)) for name in ("state", "cell")]
    for index in states:
        net._tensors[index].isVariable = True
    inputs = [source, *kernels, *inner, -1, -1, -1, *biases, -1, -1, *states, -1, -1, -1, -1]
    made = options("UnidirectionalSequenceLSTM", fusedActivationFunction="TANH", timeMajor=False)
    rows = net.layer("UNIDIRECTIONAL_SEQUENCE_LSTM", "lstm", inputs, (1, 7, 5), made)
    flat = net.reshape("flat", rows, (1, 35))
    end = net.fully_connected("dense", flat, random_weights((4, 35), seed=3), np.zeros(4, np.float32), 1)
    return net.write(path, [source], [end])


def classifier(path: Path, *, wrong: bool = False, twice: bool = False, kept: bool = False) -> Path:
    """Two dense layers and a softmax, `wrong` without it, `twice` with two, `kept` with a RELU that changes nothing."""
    net = Layers()
    source = net.tensor("input", (1, 8))
    hidden = net.fully_connected("hidden", source, random_weights((12, 8), seed=1), None, 1, "RELU")
    at = net.fully_connected("logits", hidden, random_weights((5, 12), seed=2), None, 1)
    if not wrong:
        at = net.layer("SOFTMAX", "likely", [at], (1, 5), options("Softmax", beta=1.0))
    if twice:
        at = net.layer("SOFTMAX", "likely/again", [at], (1, 5), options("Softmax", beta=1.0))
    if kept:
        at = net.layer("RELU", "kept", [at], (1, 5))
    return net.write(path, [source], [at])


def rounded(path: Path, *, wrong: bool = False) -> Path:
    """Values rounded to integers, `wrong` cut off by the CAST alone."""
    net = Layers()
    source = net.tensor("input", (1, 8))
    at = net.fully_connected("dense", source, random_weights((6, 8), seed=1, scale=1.0), None, 1)
    if not wrong:
        at = net.layer("ROUND", "rounded", [at], (1, 6))
    whole = net.tensor("whole", (1, 6), "int32")
    net.op(
        "CAST",
        [at],
        [whole],
        options("Cast", inDataType=schema.TensorType.FLOAT32, outDataType=schema.TensorType.INT32),
    )
    real = net.layer(
        "CAST",
        "real",
        [whole],
        (1, 6),
        options("Cast", inDataType=schema.TensorType.INT32, outDataType=schema.TensorType.FLOAT32),
    )
    end = net.fully_connected("end", real, random_weights((4, 6), seed=2), None, 1)
    return net.write(path, [source], [end])


def averaged_channels(path: Path, *, wrong: bool = False) -> Path:
    """The mean over channels, `wrong` over the columns."""
    net, source, at = _start((1, 6, 4, 2), 4)
    axis = net.constant("axis", np.array([2 if wrong else 3], np.int32))
    mean = net.layer("MEAN", "mean", [at, axis], (1, 6, 4), options("Reducer", keepDims=False))
    flat = net.reshape("flat", mean, (1, 24))
    return net.write(path, [source], [net.fully_connected("dense", flat, random_weights((5, 24), seed=3), None, 1)])


def attention(path: Path, *, wrong: bool = False) -> Path:
    """Products of queries and keys, `wrong` without turning the keys."""
    net = Layers()
    source = net.tensor("input", (1, 6, 6))

    def dense(name: str, seed: int) -> int:
        made = options("FullyConnected", keepNumDims=True)
        return net.layer(
            "FULLY_CONNECTED",
            name,
            [source, net.constant(f"{name}/w", random_weights((6, 6), seed=seed)), -1],
            (1, 6, 6),
            made,
        )

    query, key, value = dense("query", 1), dense("key", 2), dense("value", 3)
    scores = net.layer("BATCH_MATMUL", "scores", [query, key], (1, 6, 6), options("BatchMatMul", adjY=not wrong))
    likely = net.layer("SOFTMAX", "likely", [scores], (1, 6, 6), options("Softmax", beta=1.0))
    mixed = net.layer("BATCH_MATMUL", "mixed", [likely, value], (1, 6, 6), options("BatchMatMul"))
    return net.write(path, [source], [mixed])


def gated(path: Path, *, wrong: bool = False) -> Path:
    """One half of the channels times the sigmoid of the other, `wrong` with the halves exchanged."""
    net, source, at = _start((1, 4, 4, 2), 8)
    axis = net.constant("axis", np.array(3, np.int32))
    halves = [net.tensor(f"half_{number}", (1, 4, 4, 4)) for number in range(2)]
    net.op("SPLIT", [axis, at], halves, options("Split", numSplits=2))
    if wrong:
        halves.reverse()
    gate = net.layer("LOGISTIC", "gate", [halves[1]], (1, 4, 4, 4))
    return _end(
        net, source, net.layer("MUL", "gated", [halves[0], gate], (1, 4, 4, 4), options("Mul")), (1, 4, 4, 4), path
    )


def broadcast(path: Path, *, wrong: bool = False) -> Path:
    """A factor for every channel, `wrong` for every column."""
    net, source, at = _start((1, 4, 4, 2), 4)
    factors = random_weights((4,), seed=5, scale=1.0).reshape((1, 1, 4, 1) if wrong else (1, 1, 1, 4))
    return _end(net, source, net.with_constant("MUL", "scaled", at, factors, (1, 4, 4, 4)), (1, 4, 4, 4), path)


def detector(path: Path, *, wrong: bool = False) -> Path:
    """TFLite_Detection_PostProcess, `wrong` with scales of 1 for the boxes."""
    name, slots, anchors, classes = "TFLite_Detection_PostProcess", 6, 16, 3
    made = flexbuffers.Builder()
    with made.Map():
        for key, number in (("max_detections", slots), ("max_classes_per_detection", 1), ("num_classes", classes)):
            made.Key(key)
            made.Int(number)
        for key, value in (("nms_score_threshold", 0.3), ("nms_iou_threshold", 0.5)):
            made.Key(key)
            made.Float(value)
        for key, value in (("y_scale", 10.0), ("x_scale", 10.0), ("h_scale", 5.0), ("w_scale", 5.0)):
            made.Key(key)
            made.Float(1.0 if wrong else value)
    net = Layers()
    source = net.tensor("input", (1, 12))
    boxes = net.fully_connected("raw", source, random_weights((4 * anchors, 12), seed=1, scale=0.3), None, 1)
    boxes = net.reshape("boxes", boxes, (1, anchors, 4))
    logits = net.fully_connected("logits", source, random_weights((classes * anchors, 12), seed=2), None, 1)
    rows = net.reshape("rows", logits, (1, anchors, classes))
    likely = net.layer("LOGISTIC", "likely", [rows], (1, anchors, classes))
    grid = np.array([[(y + 0.5) / 4, (x + 0.5) / 4, 0.25, 0.25] for y in range(4) for x in range(4)], np.float32)
    shapes = ((1, slots, 4), (1, slots), (1, slots), (1,))
    ends = [net.tensor(f"{name}{end}", shape) for end, shape in zip(("", ":1", ":2", ":3"), shapes, strict=True)]
    net.op(name, [boxes, likely, net.constant("anchors", grid)], ends, bytes(made.Finish()))
    return net.write(path, [source], ends)
