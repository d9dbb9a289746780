"""Options of custom ops: most are a FlexBuffers map."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

from windtunnel.tflite import OpFacts

# The name of options that are not such a map.
BYTES: Final = "custom_options"
# What the reader raises for bytes that are not a FlexBuffer.
_DAMAGED: Final = (
    AssertionError,
    AttributeError,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    struct.error,
)
# Options of known custom ops have a few hundred bytes; reading takes up to the square of this.
_MOST_BYTES: Final = 4096


def custom_options(op: OpFacts) -> Mapping[str, Any]:
    """The options of a custom op by name.

    Args:
        op: a custom op.

    Returns:
        Numbers, booleans and texts. Bytes that are not a map of these are under `BYTES`.
    """
    # Only models with custom ops need it.
    from flatbuffers import flexbuffers

    data = bytes(op.options.get(BYTES, b""))
    if not data or len(data) > _MOST_BYTES:
        return {BYTES: data}
    try:
        root = flexbuffers.GetRoot(data)
        return _plain_map(root.AsMap, len(data)) if root.IsMap else {BYTES: data}
    except _DAMAGED:
        return {BYTES: data}


def _plain_map(found: Any, most: int) -> Mapping[str, Any]:
    """A map of plain values. Nested ones are refused: a small file can unfold to any size.

    Raises:
        ValueError: it is nested, empty, or larger than the bytes that hold it.
    """
    if not 0 < len(found) <= most:
        raise ValueError("not a map of options")
    values = list(found.Values)
    if not all(one.IsNumeric or one.IsBool or one.IsString or one.IsKey for one in values):
        raise ValueError("a value is not plain")
    return {key.AsKey: one.Value for key, one in zip(found.Keys, values, strict=True)}
