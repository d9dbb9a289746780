"""The tables of ops and types: subsets are what they say, names are the runtime's, and no other module has a copy."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from support.graphs import GraphWriter
from windtunnel.tflite import dtypes, op_kinds, read_model

ROOT = Path(__file__).parents[3]
OPS = {name: value for name, value in vars(op_kinds).items() if isinstance(value, frozenset)}
TYPES = {name: frozenset(value) for name, value in vars(dtypes).items() if isinstance(value, frozenset | dict)}
TYPES = {name: value for name, value in TYPES.items() if name.isupper()}


def test_every_name_is_one_of_the_runtime() -> None:
    known = {name for name in vars(schema.BuiltinOperator) if name.isupper()}
    assert len(known) > 150 and len(OPS) >= 10
    assert {name: kinds - known for name, kinds in OPS.items() if kinds - known} == {}
    types = {name.lower() for name in vars(schema.TensorType) if name.isupper()}
    assert {name: kinds - types for name, kinds in TYPES.items() if kinds - types} == {}


def test_subsets() -> None:
    assert op_kinds.RESHAPING < op_kinds.SHAPING
    assert op_kinds.QUANTIZING | op_kinds.RESHAPING < op_kinds.RESTATING
    assert op_kinds.PROBABILITIES < op_kinds.CLASSIFYING < op_kinds.PRESCRIBED_SCALE
    assert dtypes.BYTE_DTYPES < dtypes.ACTIVATION_DTYPES < dtypes.INTEGER_DTYPES
    assert dtypes.WEIGHT_DTYPES < dtypes.INTEGER_DTYPES
    assert not dtypes.INTEGER_DTYPES & dtypes.COUNT_DTYPES


def _sets_of(path: Path) -> list[tuple[int, frozenset[str]]]:
    """Literal sets and tuples of texts in a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Set | ast.Tuple | ast.List) and len(node.elts) > 1:
            texts = [one.value for one in node.elts if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            if len(texts) == len(node.elts):
                found.append((node.lineno, frozenset(texts)))
    return found


@pytest.mark.heavy
def test_no_other_module_has_a_copy() -> None:
    tables = {kinds for kinds in (*OPS.values(), *TYPES.values()) if len(kinds) > 1}
    copies = [
        f"{path.relative_to(ROOT)}:{line}"
        for folder in ("shared/src", "diagnosis/src", "services", "cli/src")
        for path in (ROOT / folder).rglob("*.py")
        if path.name not in ("op_kinds.py", "dtypes.py") and "_pb2" not in path.name
        for line, kinds in _sets_of(path)
        if kinds in tables
    ]
    assert copies == []


@pytest.mark.parametrize(
    ("dtype", "bits", "limits"),
    [
        ("int8", 8, (-128, 127)),
        ("uint8", 8, (0, 255)),
        ("int16", 16, (-32768, 32767)),
        ("int32", 32, (-(2**31), 2**31 - 1)),
        ("int4", 4, (-8, 7)),
        ("uint4", 4, (0, 15)),
        ("int2", 2, (-2, 1)),
    ],
)
def test_integers(dtype: str, bits: int, limits: tuple[int, int]) -> None:
    assert (dtypes.bits_of(dtype), dtypes.integer_limits(dtype)) == (bits, limits)


@pytest.mark.parametrize(
    ("dtype", "bits"),
    [("float32", 32), ("bfloat16", 16), ("bool", 8), ("complex64", 64), ("string", 0), ("float8_e4m3fn", 8)],
)
def test_bits_of_other_types(dtype: str, bits: int) -> None:
    assert dtypes.bits_of(dtype) == bits


def test_the_maker_of_a_value_is_found_through_what_restates_it(tmp_path: Path) -> None:
    writer = GraphWriter()
    source, made = writer.tensor("x", (1, 4)), writer.tensor("p", (1, 4))
    wide, flat = writer.tensor("w", (1, 1, 4)), writer.tensor("y", (1, 4))
    shapes = [
        writer.tensor(name, (len(shape),), "int32", data=np.array(shape, np.int32))
        for name, shape in (("s", (1, 1, 4)), ("t", (1, 4)))
    ]
    writer.op("SOFTMAX", [source], [made], schema.SoftmaxOptionsT())
    writer.op("RESHAPE", [made, shapes[0]], [wide], schema.ReshapeOptionsT())
    writer.op("RESHAPE", [wide, shapes[1]], [flat], schema.ReshapeOptionsT())
    facts = read_model(writer.write(tmp_path / "m.tflite", [source], [flat]))
    maker = op_kinds.maker_of(facts, flat)
    assert maker is not None and maker.name == "SOFTMAX"
    assert op_kinds.maker_of(facts, source) is None
