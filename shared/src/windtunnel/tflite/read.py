"""Reads a .tflite file without an interpreter.

Field slots are those of the TensorFlow Lite schema (version 3), which never change; names of enumerations and
the layout of op options come from the schema module that ships with LiteRT.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from windtunnel.errors import InvalidInput, NotFound
from windtunnel.protobuf_shape import kind_of
from windtunnel.tflite.facts import (
    GraphFacts,
    ModelFacts,
    OpFacts,
    Quantization,
    SignatureFacts,
    Span,
    TensorFacts,
)
from windtunnel.tflite.flat import Malformed, Source, Table

T = TypeVar("T")

_IDENTIFIER = b"TFL3"
_SMALLEST = 16
_BLOCKWISE = 2
# What the FlatBuffers library raises on damaged option tables, which it reads for us.
_READ_ERRORS = (Malformed, struct.error, ValueError, TypeError, IndexError, OverflowError, AttributeError, MemoryError)
_OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip file",
    b"\x08": "a frozen graph, SavedModel, ONNX or Core ML model",
    b"version https://git-lfs": "a Git LFS pointer: fetch the file with git lfs pull",
    b"<!DOCTYPE html": "a web page: the download failed",
    b"<!doctype html": "a web page: the download failed",
    b"<html": "a web page: the download failed",
    b"GGUF": "a GGUF file",
}


@dataclass(frozen=True, slots=True)
class _OpCode:
    name: str
    version: int
    is_custom: bool


def read_model(path: Path) -> ModelFacts:
    """Reads what the file says: ops, tensors, quantization, signatures, metadata.

    Runs no native code of the model's runtime, so a damaged file cannot crash the process.

    Args:
        path: of the .tflite file.

    Returns:
        The facts; values of constants are read later, on demand.

    Raises:
        InvalidInput: it is not a .tflite model, or it is damaged; the message names the place. Or its path is not
            UTF-8, which the runtime cannot open.
        NotFound: there is no such file.
    """
    _check_path(path)
    try:
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            # A device may have no end, and a pipe can be read but once.
            raise InvalidInput(f"{path} is not a plain file", hint="give a .tflite model")
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"there is no model file {path}") from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    _check_kind(path, data)
    try:
        return _read(path, Source(data))
    except _READ_ERRORS as error:
        raise InvalidInput(
            f"{path.name} is a damaged .tflite model: {error}", hint="copy or convert it again"
        ) from error


def _check_path(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise InvalidInput(
            f"the path {shown} is not UTF-8, and the runtime opens no other", hint="rename the file or its folder"
        ) from None


def _check_kind(path: Path, data: bytes) -> None:
    if not data:
        raise InvalidInput(f"{path.name} is empty", hint="give a .tflite model")
    if len(data) >= _SMALLEST and data[4:8] == _IDENTIFIER:
        return
    if path.is_file() and kind_of(path) == "graph_def":
        raise InvalidInput(
            f"{path.name} is no .tflite model: it is a frozen graph (GraphDef)",
            hint=f"convert it first: windtunnel convert {path.name} --format frozen_graph",
        )
    looks = next((name for magic, name in _OTHER_FORMATS.items() if data.startswith(magic)), "")
    if not looks and data[:256].isascii():
        looks = "text"
    seems = f" (it looks like {looks})" if looks else ""
    raise InvalidInput(
        f"{path.name} is no .tflite model: bytes 4 to 8 are {data[4:8]!r}, not {_IDENTIFIER!r}{seems}",
        hint="copy the file again, or give the model that it was made from"
        if path.suffix == ".tflite"
        else "give a .tflite; `windtunnel convert` makes one of a TensorFlow or Keras model",
    )


def _read(path: Path, source: Source) -> ModelFacts:
    root = Table.root(source)
    codes = [_op_code(table) for table in root.tables(6)]
    buffers = [_buffer(table, source) for table in root.tables(12)]
    graphs = tuple(_graph(table, codes, buffers, source) for table in root.tables(8))
    if not graphs:
        raise Malformed("it holds no graph")
    return ModelFacts(
        path=path,
        size_bytes=len(source.data),
        version=root.number(4, "I"),
        description=root.text(10),
        graphs=graphs,
        signatures=tuple(_signature(table, graphs) for table in root.tables(18)),
        metadata={table.text(4): _pick(buffers, table.number(6, "I"), "buffer") for table in root.tables(16)},
    )


def _op_code(table: Table) -> _OpCode:
    # Old writers fill only the deprecated byte-wide code, newer ones both.
    code = max(table.number(10, "i"), table.number(4, "b"))
    names = _names("BuiltinOperator")
    is_custom = names.get(code) == "CUSTOM"
    name = table.text(6) or "CUSTOM" if is_custom else names.get(code, f"BUILTIN_{code}")
    return _OpCode(name, table.number(8, "i", 1), is_custom)


def _buffer(table: Table, source: Source) -> Span:
    """Where a buffer's bytes lie: inside the FlatBuffers data, or behind it in files of several GB."""
    inside = table.span(4, 1)
    if inside is not None and inside[1] > 0:
        return Span(*inside)
    offset, size = table.number(6, "Q"), table.number(8, "Q")
    # 0 and 1 mark "not there" and "placeholder".
    if offset <= 1 or size == 0:
        return Span(0, 0)
    source.check(offset, size)
    return Span(offset, size)


def _graph(table: Table, codes: Sequence[_OpCode], buffers: Sequence[Span], source: Source) -> GraphFacts:
    tensors = tuple(_tensor(index, entry, buffers) for index, entry in enumerate(table.tables(4)))
    count = len(tensors)
    return GraphFacts(
        name=table.text(12),
        tensors=tensors,
        ops=tuple(_op(index, entry, codes, count, source) for index, entry in enumerate(table.tables(10))),
        input_indices=_indices(table, 6, count, "input of the graph"),
        output_indices=_indices(table, 8, count, "output of the graph"),
    )


def _tensor(index: int, table: Table, buffers: Sequence[Span]) -> TensorFacts:
    shape = tuple(table.numbers(4, "i4"))
    if any(size < -1 for size in shape):
        raise Malformed(f"tensor {index} has the shape {list(shape)}")
    signature = tuple(table.numbers(18, "i4")) or shape
    if len(signature) != len(shape):
        signature = shape
    code = table.number(6, "b")
    buffer = _pick(buffers, table.number(8, "I"), f"buffer of tensor {index}")
    return TensorFacts(
        index=index,
        name=table.text(10) or f"tensor_{index}",
        shape=shape,
        shape_signature=signature,
        dtype=_names("TensorType").get(code, f"type_{code}").lower(),
        quantization=_quantization(table.table(12), index),
        is_variable=table.flag(14),
        is_sparse=table.has(16),
        buffer_offset=buffer.offset,
        buffer_size=buffer.size,
    )


def _quantization(table: Table | None, index: int) -> Quantization | None:
    if table is None:
        return None
    details = table.table(14)
    axis = table.number(16, "i")
    if table.number(12, "B") == _BLOCKWISE and details is not None:
        return Quantization((), (), axis, details.number(8, "i"))
    scales: tuple[float, ...] = tuple(table.numbers(8, "f4"))
    zero_points: tuple[int, ...] = tuple(table.numbers(10, "i8"))
    if not scales:
        return None
    if not zero_points:
        zero_points = (0,) * len(scales)
    if len(zero_points) not in (1, len(scales)):
        raise Malformed(f"tensor {index} has {len(scales)} scales and {len(zero_points)} zero points")
    return Quantization(scales, zero_points * (len(scales) // len(zero_points)), axis)


def _op(index: int, table: Table, codes: Sequence[_OpCode], tensors: int, source: Source) -> OpFacts:
    code = _pick(codes, table.number(4, "I"), f"op code of op {index}")
    return OpFacts(
        index=index,
        name=code.name,
        version=code.version,
        is_custom=code.is_custom,
        inputs=_indices(table, 6, tensors, f"input of op {index}", optional=True),
        outputs=_indices(table, 8, tensors, f"output of op {index}", optional=True),
        options=_options(table, source),
    )


def _indices(table: Table, slot: int, count: int, what: str, *, optional: bool = False) -> tuple[int, ...]:
    indices = tuple(table.numbers(slot, "i4"))
    for index in indices:
        if not (-1 if optional else 0) <= index < count:
            raise Malformed(f"an {what} is tensor {index} of {count}")
    return indices


def _pick(items: Sequence[T], index: int, what: str) -> T:
    if index >= len(items):
        raise Malformed(f"the {what} is number {index} of {len(items)}")
    return items[index]


def _signature(table: Table, graphs: Sequence[GraphFacts]) -> SignatureFacts:
    number = table.number(12, "I")
    graph = _pick(graphs, number, "graph of a signature")
    sides = []
    for slot in (4, 6):
        names = {entry.text(4): entry.number(6, "I") for entry in table.tables(slot)}
        for index in names.values():
            _pick(graph.tensors, index, "tensor of a signature")
        sides.append(names)
    return SignatureFacts(table.text(8), number, *sides)


def _options(table: Table, source: Source) -> dict[str, Any]:
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers.table import Table as RawTable

    custom = table.span(14, 1)
    if custom is not None and custom[1]:
        source.charge(custom[1])
        return {"custom_options": source.data[custom[0] : custom[0] + custom[1]]}
    for kind_slot, slot, creator in (
        (26, 28, schema.BuiltinOptions2Creator),
        (10, 12, schema.BuiltinOptionsCreator),
    ):
        kind, found = table.number(kind_slot, "B"), table.table(slot)
        if kind and found is not None:
            return _plain(creator(kind, RawTable(source.data, found.position)), source)
    return {}


def _plain(options: Any, source: Source) -> dict[str, Any]:
    """An options object as a dict of plain values."""
    if options is None:
        return {}
    found = {_snake(name): _value(value, source) for name, value in vars(options).items()}
    for name, enumeration in (
        ("fused_activation_function", "ActivationFunctionType"),
        ("padding", "Padding"),
    ):
        if isinstance(found.get(name), int):
            found[name] = _names(enumeration).get(found[name], str(found[name]))
    return found


def _value(value: Any, source: Source) -> Any:
    if isinstance(value, np.ndarray):
        # The library's arrays are views, so nothing was paid for them yet.
        source.charge(value.nbytes)
        return value.tolist()
    if isinstance(value, bytes):
        source.charge(len(value))
        return value.decode("utf-8", errors="replace")
    if isinstance(value, list):
        return [_value(item, source) for item in value]
    if hasattr(value, "__dict__"):
        return _plain(value, source)
    return value.item() if isinstance(value, np.generic) else value


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


@cache
def _names(enumeration: str) -> Mapping[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    members = vars(getattr(schema, enumeration)).items()
    return {value: name for name, value in members if isinstance(value, int) and not name.startswith("_")}
