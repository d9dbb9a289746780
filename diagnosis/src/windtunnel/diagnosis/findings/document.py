"""From typed values to JSON: the fields of a dataclass, in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from typing import Any, Final

# The field is left out of the document while it is None; other fields that are None become null.
OPTIONAL: Final[Mapping[str, Any]] = {"omit_none": True}
# The field is in no document.
HIDDEN: Final[Mapping[str, Any]] = {"hidden": True}


def as_key(name: str, *, optional: bool = False) -> Mapping[str, Any]:
    """Metadata of a field with another JSON key.

    Args:
        name: the key.
        optional: leave the key out if the value is None.

    Returns:
        For `field(metadata=...)`.
    """
    return {"json": name, "omit_none": optional}


def in_fix(name: str) -> Mapping[str, Any]:
    """Metadata of a fact that is in the fix, and not in the evidence.

    Args:
        name: its key in the fix.

    Returns:
        For `field(metadata=...)`.
    """
    return {"hidden": True, "fix": name}


def key_of(one: Field[Any]) -> str:
    """The JSON key of a field.

    Args:
        one: of a dataclass.

    Returns:
        The key.
    """
    return str(one.metadata.get("json", one.name))


def json_of(value: Any) -> Any:
    """A typed value as JSON: dataclasses become objects, tuples arrays.

    Args:
        value: of a document.

    Returns:
        A JSON value.
    """
    if is_dataclass(value) and not isinstance(value, type):
        known = [(one, getattr(value, one.name)) for one in fields(value) if not one.metadata.get("hidden")]
        return {
            key_of(one): json_of(found)
            for one, found in known
            if found is not None or not one.metadata.get("omit_none")
        }
    if isinstance(value, Mapping):
        return {key: json_of(item) for key, item in value.items()}
    return [json_of(item) for item in value] if isinstance(value, tuple | list) else value
