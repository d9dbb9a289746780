"""Layers that only their values can pair: an op written as several, and dimensions of one size in another order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from support.graphs import GraphWriter
from windtunnel.diagnosis import compare_models

WEIGHTS = np.random.default_rng(0).normal(0.0, 0.5, (16, 16)).astype(np.float32)
ZERO = np.zeros(16, np.float32)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "samples.npz"
    np.savez(path, x=np.random.default_rng(1).normal(0.0, 2.0, (6, 16)).astype(np.float32))
    return path


def _fused(path: Path) -> Path:
    writer = GraphWriter()
    source = writer.tensor("input", (1, 16))
    first = writer.dense("first", source, WEIGHTS, ZERO)
    swish = writer.tensor("swish", (1, 16))
    writer.op("HARD_SWISH", [first], [swish])
    return writer.write(path, [source], [writer.dense("last", swish, WEIGHTS.T.copy(), ZERO)])


def _written_out(path: Path, third: float = 3.0) -> Path:
    """x * relu6(x + 3) / 6."""
    writer = GraphWriter()
    source = writer.tensor("input", (1, 16))
    first = writer.dense("one", source, WEIGHTS, ZERO)
    raised, product, scaled = (writer.tensor(name, (1, 16)) for name in ("raised", "product", "scaled"))
    add = schema.AddOptionsT()
    add.fusedActivationFunction = schema.ActivationFunctionType.RELU6
    writer.op("ADD", [first, writer.tensor("three", (), data=np.array(third, np.float32))], [raised], add)
    writer.op("MUL", [first, raised], [product], schema.MulOptionsT())
    sixth = writer.tensor("sixth", (), data=np.array(1 / 6, np.float32))
    writer.op("MUL", [product, sixth], [scaled], schema.MulOptionsT())
    return writer.write(path, [source], [writer.dense("two", scaled, WEIGHTS.T.copy(), ZERO)])


def test_an_op_written_as_several_is_paired_by_its_values(tmp_path: Path, samples: Path) -> None:
    result = compare_models(_fused(tmp_path / "r.tflite"), _written_out(tmp_path / "c.tflite"), samples)
    assert result.verdict == "healthy"
    assert [(layer.name, layer.reference) for layer in result.layers] == [
        ("one", "first"),
        ("scaled", "swish"),
        ("two", "last"),
    ]
    assert [one.name for one in result.coverage.unmatched] == ["raised", "product"]


def test_a_fault_inside_shows_where_the_values_meet_again(tmp_path: Path, samples: Path) -> None:
    bad = _written_out(tmp_path / "c.tflite", third=2.5)
    result = compare_models(_fused(tmp_path / "r.tflite"), bad, samples)
    assert result.verdict != "healthy"
    assert [(cause.code, cause.layer) for cause in result.causes] == [("conversion.op", "scaled")]


def test_a_layer_that_repeats_another_says_so(tmp_path: Path, samples: Path) -> None:
    writer = GraphWriter()
    source = writer.tensor("input", (1, 16))
    first = writer.dense("first", source, WEIGHTS, ZERO)
    again = writer.tensor("again", (1, 16))
    writer.op("MUL", [first, writer.tensor("one", (), data=np.array(1, np.float32))], [again], schema.MulOptionsT())
    swish = writer.tensor("swish", (1, 16))
    writer.op("HARD_SWISH", [again], [swish])
    last = writer.dense("last", swish, WEIGHTS.T.copy(), ZERO)
    candidate = writer.write(tmp_path / "c.tflite", [source], [last])
    result = compare_models(_fused(tmp_path / "r.tflite"), candidate, samples)
    assert result.verdict == "healthy"
    assert {layer.name for layer in result.layers} >= {"swish", "last"}


def test_the_order_of_equal_dimensions_is_seen_in_the_values(tmp_path: Path) -> None:
    """Channels first in the candidate where every dimension has one size: shapes say nothing."""
    path = tmp_path / "samples.npz"
    np.savez(path, x=np.random.default_rng(2).normal(size=(4, 4, 4, 2)).astype(np.float32))
    made = []
    for name, order in (("r", None), ("c", (0, 2, 1, 3))):
        writer = GraphWriter()
        source = at = writer.tensor("input", (1, 4, 4, 2))
        if order is not None:
            at = _transposed(writer, at, order, (1, 4, 4, 2), "in")
        tanh = writer.tensor("tanh", (1, 4, 4, 2))
        writer.op("TANH", [at], [tanh])
        last = tanh
        if order is not None:
            last = _transposed(writer, tanh, order, (1, 4, 4, 2), "out")
        end = writer.tensor("end", (1, 4, 4, 2))
        writer.op("ABS", [last], [end])
        made.append(writer.write(tmp_path / f"{name}.tflite", [source], [end]))
    result = compare_models(made[0], made[1], path)
    assert result.verdict == "healthy"
    assert all(layer.nrmse == 0.0 for layer in result.layers)


def _transposed(writer: GraphWriter, source: int, order: tuple[int, ...], shape: tuple[int, ...], name: str) -> int:
    made = writer.tensor(name, shape)
    constant = writer.tensor(f"{name}/order", (len(order),), "int32", data=np.array(order, np.int32))
    writer.op("TRANSPOSE", [source, constant], [made], schema.TransposeOptionsT())
    return made
