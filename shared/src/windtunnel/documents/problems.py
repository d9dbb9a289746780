"""What is wrong with a document: one message for people, whichever check of a model finds it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

Path = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)

# Begins the tag of a union's alternative, which pydantic puts into the path of an error. No name in YAML begins so.
TAG: Final = "\0"
# The type of the errors that `problem` makes.
PROBLEM: Final = "windtunnel"
# Ends the path of an error in the key of a mapping.
_KEY: Final = "[key]"
_SHOWN: Final = 60

# What pydantic's own checks ask for, by the type of its error; a template of the error's context.
_ASKED: Final[Mapping[str, str]] = {
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "too_long": "must have at most {max_length} items; has {actual_length}",
    "too_short": "must have at least {min_length} items; has {actual_length}",
    "literal_error": "must be {expected}",
}


class DocumentRefused(Exception):
    """A document is not what its model asks for.

    `path` leads to what is wrong, by the names of the model's fields.
    """

    def __init__(self, message: str, path: Path, hint: str = "") -> None:
        """One thing that is wrong.

        Args:
            message: what is wrong, with the value.
            path: names of fields and indices of items that lead to it.
            hint: what to do; empty: nothing.
        """
        super().__init__(message)
        self.message = message
        self.path = path
        self.hint = hint


def problem(message: str, hint: str = "", at: Path = ()) -> PydanticCustomError:
    """An error that a check of a model raises.

    Args:
        message: what is wrong, with the value.
        hint: what to do; empty: nothing.
        at: where it is below the value that is checked.

    Returns:
        The error.
    """
    return PydanticCustomError(PROBLEM, "{message}", {"message": message, "hint": hint, "at": at})


def kind_of(value: Any) -> str:
    """A value as messages show it.

    Args:
        value: any value.

    Returns:
        Its type and its beginning; "nothing" for None.
    """
    return "nothing" if value is None else f"{type(value).__name__} {value!r:.{_SHOWN}}"


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint for a name that is not known.

    Args:
        name: the name.
        known: all known names.

    Returns:
        The nearest known name as a question; all known names if none is near.
    """
    names = list(known)
    close = difflib.get_close_matches(name, names)
    near = [one for one in names if one in close]
    if not near:
        return f"known are {', '.join(names) or 'none'}"
    # Of several that are as near, the one that is known first.
    return f"did you mean {max(near, key=lambda one: difflib.SequenceMatcher(None, one, name).ratio())!r}?"


def validated(model: type[M], value: Any) -> M:
    """The document that a value is.

    Args:
        model: the model of the document.
        value: decoded YAML or JSON.

    Returns:
        The document.

    Raises:
        DocumentRefused: the first thing that is wrong with it, in the order of the model's fields.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise DocumentRefused(*_described(error.errors(include_url=False)[0])) from None


def path_of(location: Path) -> Path:
    """The path by names of fields to what an error of pydantic's is about.

    Args:
        location: of the error.

    Returns:
        The path; for an error in a key of a mapping that of the mapping.
    """
    without_key = location[:-2] if location[-1:] == (_KEY,) else location
    return tuple(part for part in without_key if not (isinstance(part, str) and part.startswith(TAG)))


def _described(error: ErrorDetails) -> tuple[str, Path, str]:
    """Message, path and hint of an error of pydantic's."""
    path = path_of(error["loc"])
    context = error.get("ctx", {})
    if error["type"] == PROBLEM:
        return context["message"], (*path, *context["at"]), context["hint"]
    if error["type"] == "missing":
        return "is missing", path, ""
    asked = _ASKED.get(error["type"])
    message = asked.format(**context) if asked is not None else error["msg"]
    if error["type"] in ("too_long", "too_short"):
        return message, path, ""
    return f"{message}, this is {kind_of(error['input'])}", path, ""
