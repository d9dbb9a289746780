"""Property lists of others."""

from __future__ import annotations

import plistlib
from typing import Any
from xml.parsers.expat import ExpatError


def read_dictionary(data: bytes) -> dict[str, Any]:
    """Reads a property list whose root is a dictionary.

    Args:
        data: XML or binary.

    Returns:
        The dictionary.

    Raises:
        ValueError: it is not such a property list.
    """
    try:
        value = plistlib.loads(data)
    except (
        ValueError, ExpatError, OverflowError, RecursionError, TypeError, AttributeError, LookupError, MemoryError
    ) as error:  # fmt: skip
        raise ValueError(f"not a property list: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("a property list, but not a dictionary")
    return value
