"""One layer in the many ways that converters write it: one step, and the op at fault is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from support.layers import Layers, options, random_samples, random_weights
from windtunnel.diagnosis import Comparison, compare_models
from windtunnel.diagnosis.graph import FusedLayer, FusedModel
from windtunnel.tflite import read_model

Table = NDArray[np.float32]

KERNEL = random_weights((4, 3, 3, 2))
BIAS = random_weights((4,), seed=1)
SCALE = np.array([0.5, 2.0, 1.5, 0.25], np.float32)
SHIFT = np.array([0.1, -0.2, 0.3, 0.4], np.float32)


def _steps(path: Path) -> tuple[FusedLayer, ...]:
    return FusedModel(read_model(path)).fused


def _named(result: Comparison) -> list[tuple[str, str | None, int | None]]:
    return [(cause.code, cause.layer, cause.op_index) for cause in result.causes]


def _dilated(path: Path, size: int, kernel: Table = KERNEL, bias: Table = BIAS, activation: str = "NONE") -> Path:
    net = Layers()
    source = net.tensor("input", (1, size, size, 2))
    shape = (1, size, size, 4)
    made = net.conv("conv", source, kernel, bias, shape, dilation=(2, 2), activation=activation)
    return net.write(path, [source], [made])


def _by_batch(
    path: Path,
    size: int,
    kernel: Table = KERNEL,
    *,
    pads: tuple[int, int] | None = None,
    block: int = 2,
    padding: str = "VALID",
    tail: bool = False,
) -> Path:
    """The same with rows and columns moved to the batch, as for runtimes without dilation; `tail`: with MUL, ADD."""
    before, after = pads or (2, 2 + size % 2)
    inner = (size + before + after) // block
    spread = inner - (2 if padding == "VALID" else 0)
    net = Layers()
    source = net.tensor("input", (1, size, size, 2))
    blocks = net.constant("block", np.array([block, block], np.int32))
    edges = net.constant("pads", np.array([[before, after]] * 2, np.int32))
    crops = net.constant("crops", np.array([[0, spread * block - size]] * 2, np.int32))
    moved = net.layer("SPACE_TO_BATCH_ND", "moved", [source, blocks, edges], (block * block, inner, inner, 2))
    at = net.conv("inner", moved, kernel, BIAS, (block * block, spread, spread, 4), padding=padding)
    at = net.layer("BATCH_TO_SPACE_ND", "back", [at, blocks, crops], (1, size, size, 4))
    if tail:
        at = net.with_constant("MUL", "scaled", at, SCALE, (1, size, size, 4))
        at = net.with_constant("ADD", "shifted", at, SHIFT, (1, size, size, 4))
        at = net.layer("RELU", "rectified", [at], (1, size, size, 4))
    return net.write(path, [source], [at])


@pytest.mark.parametrize("size", [12, 11])
def test_a_convolution_that_takes_the_batch_for_its_dilation(tmp_path: Path, size: int) -> None:
    reference, candidate = _dilated(tmp_path / "r.tflite", size), _by_batch(tmp_path / "c.tflite", size)
    (one,), (other,) = _steps(reference), _steps(candidate)
    assert (one.kind, other.kind) == ("CONV_2D", "CONV_2D")
    assert dict(one.attributes) == dict(other.attributes)
    assert other.attributes["dilation"] == (2, 2)
    assert other.attributes["pads"] == ((2, 2), (2, 2))
    assert (one.members, other.members) == ((0,), (0, 1, 2))
    result = compare_models(reference, candidate, random_samples(tmp_path / "s.npz", (size, size, 2)))
    assert (result.verdict, result.causes) == ("healthy", ())
    assert [(layer.name, layer.reference) for layer in result.layers] == [("back", "conv")]


def test_a_dilated_convolution_of_one_dimension(tmp_path: Path) -> None:
    """The batch trick comes with shaping ops between, which belong to the step."""
    kernel = random_weights((4, 1, 3, 2))
    net = Layers()
    source = net.tensor("input", (1, 12, 2))
    at = net.conv("conv", net.reshape("row", source, (1, 1, 12, 2)), kernel, BIAS, (1, 1, 12, 4), dilation=(1, 2))
    reference = net.write(tmp_path / "r.tflite", [source], [net.reshape("line", at, (1, 12, 4))])

    net = Layers()
    source = net.tensor("input", (1, 12, 2))
    block = net.constant("block", np.array([2], np.int32))
    edges, crops = (net.constant(n, np.array([p], np.int32)) for n, p in (("pads", (2, 2)), ("crops", (0, 0))))
    moved = net.layer("SPACE_TO_BATCH_ND", "moved", [source, block, edges], (2, 8, 2))
    axis = net.constant("axis", np.array(1, np.int32))
    wide = net.layer("EXPAND_DIMS", "wide", [moved, axis], (2, 1, 8, 2), options("ExpandDims"))
    at = net.conv("inner", wide, kernel, BIAS, (2, 1, 6, 4), padding="VALID")
    back = net.layer("BATCH_TO_SPACE_ND", "back", [net.reshape("flat", at, (2, 6, 4)), block, crops], (1, 12, 4))
    candidate = net.write(tmp_path / "c.tflite", [source], [back])

    ours = next(step for step in _steps(reference) if step.kind == "CONV_2D")
    (theirs,) = _steps(candidate)
    assert dict(ours.attributes) == dict(theirs.attributes)
    assert theirs.attributes["dilation"] == (1, 2)
    assert theirs.members == (0, 1, 2, 3, 4)
    result = compare_models(reference, candidate, random_samples(tmp_path / "s.npz", (12, 2)))
    assert (result.verdict, result.causes) == ("healthy", ())


def test_what_is_multiplied_and_added_after_the_batch_trick(tmp_path: Path) -> None:
    folded = KERNEL * SCALE[:, None, None, None]
    reference = _dilated(tmp_path / "r.tflite", 12, folded, BIAS * SCALE + SHIFT, "RELU")
    candidate = _by_batch(tmp_path / "c.tflite", 12, tail=True)
    (step,) = _steps(candidate)
    assert [one.op for one in step.affine] == ["MUL", "ADD"]
    assert (step.activation, step.members) == ("RELU", (0, 1, 2, 3, 4, 5))
    result = compare_models(reference, candidate, random_samples(tmp_path / "s.npz", (12, 12, 2)))
    assert (result.verdict, result.causes) == ("healthy", ())
    assert [(layer.name, layer.reference) for layer in result.layers] == [("rectified", "conv")]


def test_another_dilation_in_the_batch_trick_is_named(tmp_path: Path) -> None:
    reference = _dilated(tmp_path / "r.tflite", 12)
    candidate = _by_batch(tmp_path / "c.tflite", 12, pads=(3, 3), block=3)
    result = compare_models(reference, candidate, random_samples(tmp_path / "s.npz", (12, 12, 2)))
    assert _named(result) == [("conversion.op", "inner", 1)]
    assert result.causes[0].evidence["attribute"] == "dilation"
    assert result.causes[0].evidence["candidate"] == [3, 3]


def test_weights_inside_the_batch_trick_are_named(tmp_path: Path) -> None:
    reference = _dilated(tmp_path / "r.tflite", 12)
    candidate = _by_batch(tmp_path / "c.tflite", 12, KERNEL + random_weights(KERNEL.shape, seed=5, scale=0.1))
    result = compare_models(reference, candidate, random_samples(tmp_path / "s.npz", (12, 12, 2)))
    assert [(code, op) for code, _, op in _named(result)] == [("conversion.weights", 1)]
    assert result.causes[0].verified


def test_padding_that_the_convolution_adds_itself_is_no_trick(tmp_path: Path) -> None:
    """SAME inside pads every phase of its own: that is not a dilated convolution."""
    candidate = _by_batch(tmp_path / "c.tflite", 12, pads=(0, 0), padding="SAME")
    assert [step.kind for step in _steps(candidate)] == ["SPACE_TO_BATCH_ND", "CONV_2D", "BATCH_TO_SPACE_ND"]


WEIGHTS = random_weights((8, 16))
OFFSET = random_weights((8,), seed=2)


def _sequence(path: Path, *, bias_later: bool, offset: Table = OFFSET) -> Path:
    """A dense layer over 5 rows; its bias in the op, or added once the rows are a batch of one again."""
    net = Layers()
    source = net.tensor("input", (1, 5, 16))
    rows = net.reshape("rows", source, (5, 16))
    at = net.fully_connected("dense", rows, WEIGHTS, None if bias_later else offset, 5)
    at = net.reshape("sequence", at, (1, 5, 8))
    if bias_later:
        at = net.with_constant("ADD", "biased", at, offset, (1, 5, 8))
    return net.write(path, [source], [net.layer("TANH", "end", [at], (1, 5, 8))])


def test_a_bias_added_after_a_reshape(tmp_path: Path) -> None:
    reference = _sequence(tmp_path / "r.tflite", bias_later=False)
    candidate = _sequence(tmp_path / "c.tflite", bias_later=True)
    step = next(step for step in _steps(candidate) if step.kind == "POINTWISE")
    assert (step.members, [one.op for one in step.affine], step.activation) == ((1, 2, 3, 4), ["ADD"], "TANH")
    samples = random_samples(tmp_path / "s.npz", (5, 16))
    result = compare_models(reference, candidate, samples)
    assert (result.verdict, result.causes) == ("healthy", ())
    wrong = _sequence(tmp_path / "w.tflite", bias_later=True, offset=OFFSET + np.float32(0.3))
    (cause,) = compare_models(reference, wrong, samples).causes
    assert (cause.code, cause.evidence["role"]) == ("conversion.weights", "bias")


@pytest.mark.parametrize("length", [8, 5])
def test_what_is_added_along_another_dimension_is_no_bias(tmp_path: Path, length: int) -> None:
    """8 rows of 8 channels, transposed: what is added per row is not the layer's bias."""
    net = Layers()
    source = net.tensor("input", (length, 16))
    at = net.fully_connected("dense", source, WEIGHTS, None, length)
    at = net.transpose("turned", at, (1, 0), (8, length))
    at = net.with_constant("ADD", "added", at, random_weights((length,)), (8, length))
    steps = _steps(net.write(tmp_path / "m.tflite", [source], [at]))
    assert [step.kind for step in steps] == ["POINTWISE", "TRANSPOSE", "ADD"]
    assert steps[0].affine == ()


def _activated(path: Path, move: str, kind: str, **fields: float | bool) -> Path:
    """conv -> a shaping op -> an activation op with attributes -> a dense end."""
    net = Layers()
    source = net.tensor("input", (1, 6, 6, 2))
    at = net.conv("conv", source, KERNEL, BIAS, (1, 6, 6, 4))
    if move == "TRANSPOSE":
        shape = (1, 4, 6, 6)
        at = net.transpose("moved", at, (0, 3, 1, 2), shape)
    else:
        shape = (1, 36, 4, 1)
        at = net.reshape("moved", at, shape)
    made = {"LEAKY_RELU": "LeakyRelu", "GELU": "Gelu"}[kind]
    at = net.layer(kind, "activated", [at], shape, options(made, **fields))
    flat = net.reshape("flat", at, (1, 144))
    end = net.fully_connected("end", flat, random_weights((3, 144), scale=0.1), np.zeros(3, np.float32), 1)
    return net.write(path, [source], [end])


@pytest.mark.parametrize("move", ["TRANSPOSE", "RESHAPE"])
@pytest.mark.parametrize(
    ("kind", "good", "bad", "said"),
    [
        ("LEAKY_RELU", {"alpha": 0.1}, {"alpha": 0.3}, ("LEAKY_RELU(alpha=0.1)", "LEAKY_RELU(alpha=0.3)")),
        ("GELU", {"approximate": True}, {"approximate": False}, ("GELU(approximate=1)", "GELU(approximate=0)")),
    ],
)
def test_an_activation_op_with_attributes(
    tmp_path: Path,
    move: str,
    kind: str,
    good: dict[str, float],
    bad: dict[str, float],
    said: tuple[str, str],
) -> None:
    reference = _activated(tmp_path / "r.tflite", move, kind, **good)
    step = _steps(reference)[0]
    assert (step.members, step.activation, step.activation_op) == ((0, 1, 2), said[0], 2)
    samples = random_samples(tmp_path / "s.npz", (6, 6, 2))
    same = compare_models(reference, _activated(tmp_path / "c.tflite", move, kind, **good), samples)
    assert (same.verdict, same.causes) == ("healthy", ())
    result = compare_models(reference, _activated(tmp_path / "w.tflite", move, kind, **bad), samples)
    assert _named(result) == [("conversion.op", "activated", 2)]
    assert result.causes[0].evidence["activation"] == {"reference": said[0], "candidate": said[1]}
    assert result.causes[0].verified


def _tail(path: Path, *, second: str = "ADD", scale: Table = SCALE, shift: Table = SHIFT) -> Path:
    """conv -> MUL -> ADD (or another op) -> RELU -> dense."""
    net = Layers()
    source = net.tensor("input", (1, 6, 6, 2))
    at = net.conv("conv", source, KERNEL, BIAS, (1, 6, 6, 4))
    at = net.with_constant("MUL", "scaled", at, scale, (1, 6, 6, 4))
    at = net.with_constant(second, "shifted", at, shift, (1, 6, 6, 4))
    at = net.layer("RELU", "rectified", [at], (1, 6, 6, 4))
    flat = net.reshape("flat", at, (1, 144))
    end = net.fully_connected("end", flat, random_weights((3, 144), scale=0.1), np.zeros(3, np.float32), 1)
    return net.write(path, [source], [end])


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: _tail(path, second="MUL"), ("conversion.op", "shifted", 2)),
        (lambda path: _tail(path, second="SUB"), ("conversion.op", "shifted", 2)),
        (lambda path: _tail(path, scale=SCALE[::-1].copy()), ("conversion.weights", "scaled", 1)),
        (lambda path: _tail(path, shift=SHIFT + np.float32(0.2)), ("conversion.weights", "shifted", 2)),
    ],
)
def test_an_op_of_a_tail_is_named(tmp_path: Path, make: Callable[[Path], Path], expected: tuple[str, str, int]) -> None:
    reference = _tail(tmp_path / "r.tflite")
    samples = random_samples(tmp_path / "s.npz", (6, 6, 2))
    assert compare_models(reference, _tail(tmp_path / "c.tflite"), samples).causes == ()
    result = compare_models(reference, make(tmp_path / "w.tflite"), samples)
    assert _named(result) == [expected]
    assert result.causes[0].verified
    if expected[0] == "conversion.op":
        op = result.causes[0].evidence["op"]
        assert op["reference"] == "ADD"


def _one_activation(path: Path, op: str | None) -> Path:
    """dense -> perhaps an activation op -> dense."""
    net = Layers()
    source = net.tensor("input", (1, 16))
    at = net.fully_connected("dense", source, WEIGHTS, OFFSET, 1)
    if op is not None:
        at = net.layer(op, "activated", [at], (1, 8), options("LeakyRelu", alpha=0.2) if op == "LEAKY_RELU" else None)
    end = net.fully_connected("end", at, random_weights((4, 8), seed=2), np.zeros(4, np.float32), 1)
    return net.write(path, [source], [end])


@pytest.mark.parametrize("op", ["LEAKY_RELU", "HARD_SWISH", "TANH", "ELU"])
def test_an_activation_op_that_is_lost_added_or_another(tmp_path: Path, op: str) -> None:
    plain, active = _one_activation(tmp_path / "plain.tflite", None), _one_activation(tmp_path / "active.tflite", op)
    other = _one_activation(tmp_path / "other.tflite", "RELU6")
    samples = random_samples(tmp_path / "s.npz", (16,))
    cases = [(active, plain, "dense", 0), (plain, active, "activated", 1), (active, other, "activated", 1)]
    for reference, candidate, layer, place in cases:
        result = compare_models(reference, candidate, samples)
        assert _named(result) == [("conversion.op", layer, place)]
        said = result.causes[0].evidence["activation"]
        assert said["reference"] != said["candidate"]
        assert any(text.startswith(op) for text in said.values())


def test_a_depthwise_convolution_that_takes_the_batch_for_its_dilation(tmp_path: Path) -> None:
    kernel, bias = random_weights((1, 3, 3, 2)), random_weights((2,), seed=1)
    made = []
    for name, dilation in (("r", 2), ("c", 1)):
        net = Layers()
        source = at = net.tensor("input", (1, 12, 12, 2))
        block, edges, crops = (
            net.constant(n, np.array(v, np.int32))
            for n, v in (("block", [2, 2]), ("pads", [[2, 2], [2, 2]]), ("crops", [[0, 0], [0, 0]]))
        )
        shape = (1, 12, 12, 2)
        if name == "c":
            at = net.layer("SPACE_TO_BATCH_ND", "moved", [at, block, edges], (4, 8, 8, 2))
            shape = (4, 6, 6, 2)
        how = options("DepthwiseConv2D", strideH=1, strideW=1, padding="SAME" if name == "r" else "VALID")
        how.depthMultiplier, how.dilationHFactor, how.dilationWFactor = 1, dilation, dilation
        inputs = [at, net.constant("weights", kernel), net.constant("bias", bias)]
        at = net.layer("DEPTHWISE_CONV_2D", "conv", inputs, shape, how)
        if name == "c":
            at = net.layer("BATCH_TO_SPACE_ND", "back", [at, block, crops], (1, 12, 12, 2))
        made.append(net.write(tmp_path / f"{name}.tflite", [source], [at]))
    (one,), (other,) = _steps(made[0]), _steps(made[1])
    assert dict(one.attributes) == dict(other.attributes)
    result = compare_models(made[0], made[1], random_samples(tmp_path / "s.npz", (12, 12, 2)))
    assert (result.verdict, result.causes) == ("healthy", ())
