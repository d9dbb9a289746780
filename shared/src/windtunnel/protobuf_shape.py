"""What kind of protobuf message a file holds, by the numbers of its fields; nothing is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Final

# Field number to wire type: 0 varint, 1 64 bits, 2 length-delimited, 5 32 bits.
Fields = dict[int, int]

_MOST_FIELDS: Final = 4096
_LONGEST_VARINT: Final = 10
_FIXED: Final = {1: 8, 5: 4}


def fields_of(path: Path) -> Fields | None:
    """The top-level fields of the protobuf message in a file.

    Args:
        path: of the file.

    Returns:
        Wire type by field number; None if the file is not a message.
    """
    size = path.stat().st_size
    found: Fields = {}
    with path.open("rb") as file:
        for _ in range(_MOST_FIELDS):
            if file.tell() == size:
                return found
            key = _varint(file)
            if key is None or key >> 3 == 0 or not _skip(file, key & 7, size):
                return None
            found[key >> 3] = key & 7
    return found


def kind_of(path: Path) -> str | None:
    """The kind of model that a protobuf file has.

    Args:
        path: of the file.

    Returns:
        onnx, coreml, saved_model, meta_graph, graph_def or caffe2; None: none of them, or it cannot be known.
    """
    fields = fields_of(path)
    if not fields:
        return None
    if fields.get(1) == 0:
        # A version comes first; what the rest is, differs.
        if fields.get(7) == 2 and fields.get(8) == 2:
            return "onnx"
        if any(number >= 200 for number in fields):
            return "coreml"
        return "saved_model" if set(fields) == {1, 2} else None
    if fields.get(1) != 2:
        return None
    return _without_version(path, fields)


def _without_version(path: Path, fields: Fields) -> str | None:
    if _starts_with_text(path):
        return "caffe2" if fields.get(2) == 2 else None
    if fields.get(2) == 2 and (fields.get(3) == 2 or 5 in fields):
        return "meta_graph"
    return "graph_def" if set(fields) <= {1, 2, 3, 4} else None


def _starts_with_text(path: Path) -> bool:
    """Whether the first field is a text, the name of a network; in a GraphDef it is a node, a message itself."""
    with path.open("rb") as file:
        _varint(file)
        length = _varint(file)
        text = file.read(length) if length is not None and length < 200 else b""
    return bool(text) and text.isascii() and text.decode().isprintable()


def _varint(file: BinaryIO) -> int | None:
    value = 0
    for place in range(_LONGEST_VARINT):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << (7 * place)
        if byte[0] < 0x80:
            return value
    return None


def _skip(file: BinaryIO, wire: int, size: int) -> bool:
    """Goes past a value; False: it is not one, or ends behind the file."""
    if wire == 0:
        return _varint(file) is not None
    length = _varint(file) if wire == 2 else _FIXED.get(wire)
    if length is None or file.tell() + length > size:
        return False
    file.seek(length, 1)
    return True
