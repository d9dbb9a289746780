"""Options of custom ops: most are a FlexBuffers map."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

from windtunnel.tflite import OpFacts

# The name of options that are not such a map.
BYTES: Final = "custom_options"
# What the reader raises for bytes that are not a FlexBuffer.
_DAMAGED: Final = (AttributeError, ArithmeticError, LookupError, RecursionError, TypeError, ValueError, struct.error)


def custom_options(op: OpFacts) -> Mapping[str, Any]:
    """The options of a custom op by name.

    Args:
        op: a custom op.

    Returns:
        Numbers, booleans, texts, and lists as tuples. Bytes that are not a map are under `BYTES`.
    """
    # Only models with custom ops need it.
    from flatbuffers import flexbuffers

    data = bytes(op.options.get(BYTES, b""))
    try:
        found = flexbuffers.Loads(data)
    except _DAMAGED:
        return {BYTES: data}
    if not isinstance(found, dict) or not found:
        return {BYTES: data}
    return {str(name): tuple(value) if isinstance(value, list) else value for name, value in found.items()}
