"""From typed values to JSON: the fields of a dataclass, in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from typing import Any, Final

# The field is left out of the document while it is None; other fields that are None become null.
OPTIONAL: Final[Mapping[str, Any]] = {"omit_none": True}
# The field stands in no document.
HIDDEN: Final[Mapping[str, Any]] = {"hidden": True}


def as_key(name: str, *, optional: bool = False) -> Mapping[str, Any]:
    """Metadata of a field whose JSON key is `name`."""
    return {"json": name, "omit_none": optional}


def in_fix(name: str) -> Mapping[str, Any]:
    """Metadata of a fact that stands in the fix, under `name`, and not in the evidence."""
    return {"hidden": True, "fix": name}


def key_of(one: Field[Any]) -> str:
    """The JSON key of a field."""
    return str(one.metadata.get("json", one.name))


def json_of(value: Any) -> Any:
    """A typed value as JSON: dataclasses become objects, tuples arrays."""
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
