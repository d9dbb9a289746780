"""The promises of tests/data/promised_formats.yaml, and what a document lacks of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

STORED: Final = Path(__file__).parents[1] / "data/promised_formats.yaml"
_MISSING: Final = object()
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "text": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list,),
    "object": (dict,),
    "null": (type(None),),
    "any": (object,),
}


@cache
def promises() -> Mapping[str, Any]:
    """All promises, as the file holds them."""
    loaded: dict[str, Any] = yaml.safe_load(STORED.read_text(encoding="utf-8"))
    return loaded


def promised_fields(name: str) -> Mapping[str, Any]:
    """What each field of a document may hold: a list of values, or types with "or" between them."""
    fields: dict[str, Any] = promises()["documents"][name]
    return fields


def problems(name: str, document: Any) -> list[str]:
    """Where `document` breaks the promises of the format `name`."""
    found = []
    for path, promised in promised_fields(name).items():
        for value in values(document, path):
            if value is _MISSING:
                found.append(f"{path} is missing")
            elif not _holds(value, promised):
                found.append(f"{path} is {value!r}, not {promised}")
    return found


def unseen(name: str, documents: Sequence[Any]) -> list[str]:
    """The fields that none of the documents has: nothing was checked there."""
    return [path for path in promised_fields(name) if not any(list(values(one, path)) for one in documents)]


def values(document: Any, path: str) -> Iterator[Any]:
    """What is at a path; a mark for a missing field, nothing below null and in empty lists."""
    at = [document]
    for key in path.replace("[]", ".[]").lstrip(".").split("."):
        if key == "[]":
            at = [element for value in at if isinstance(value, list) for element in value]
        else:
            at = [_child(value, key) for value in at if value is not None and value is not _MISSING]
    yield from at


def _child(value: Any, key: str) -> Any:
    return value.get(key, _MISSING) if isinstance(value, dict) else _MISSING


def _holds(value: Any, promised: str | list[Any]) -> bool:
    if isinstance(promised, list):
        return value in promised
    kinds = promised.split(" or ")
    if isinstance(value, bool):  # In Python a bool is an int; in JSON it is not.
        return "boolean" in kinds or "any" in kinds
    return isinstance(value, tuple(kind for name in kinds for kind in _TYPES[name]))
