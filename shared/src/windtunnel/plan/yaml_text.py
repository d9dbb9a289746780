"""The text of a plan: its values, and where each of them stands."""

from __future__ import annotations

import pathlib
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from windtunnel.errors import InvalidInput, InvalidPlan

Path = tuple[str | int, ...]
MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 20
MAX_FIELDS: Final = 20_000
# YAML 1.1 reads a number with an exponent only with a dot and a sign, 1.0e+5; JSON writes 1e-05 and 1E5 too.
_JSON_FLOAT: Final = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+\Z")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])[A-Z]")
_NUMBERS: Final = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|nan)\Z", re.IGNORECASE)
# What is below these is the user's own: names are taken as they are, not as fields in another spelling.
_FREE: Final = (("gates", "only"), ("input_shapes",))
# Fields that are text, whatever YAML takes them for.
_TEXTS: Final[Mapping[str, tuple[str, ...]]] = {
    "data": ("samples", "calibration"),
    "devices": ("farm", "device", "platform", "os_version", "accelerator"),
}


class PlanLoader(yaml.SafeLoader):
    """YAML as people write it, of which all of JSON is a part, its numbers too."""


PlanLoader.add_implicit_resolver("tag:yaml.org,2002:float", _JSON_FLOAT, list("-+0123456789"))


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is in the text; lines and columns count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Places:
    """Where each field and item of a document is in its text; empty: the document is not a text."""

    found: dict[Path, Place] = field(default_factory=dict)

    def nearest(self, path: Path) -> Place | None:
        """The place of a field or an item, or of what should hold it.

        Args:
            path: names of fields in snake_case and indices of items.

        Returns:
            The place; None if the document is not a text.
        """
        # What is missing, or came by way of a merge key, has no place of its own.
        return next((self.found[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.found), None)


def read_yaml_text(path: pathlib.Path, what: str) -> str:
    """The text of a YAML file that a person wrote.

    Args:
        path: as the user gave it.
        what: what it is, for messages: "catalog".

    Returns:
        Its text.

    Raises:
        InvalidInput: it cannot be read, is not a plain file, has more than `MAX_BYTES`, or is not UTF-8.
    """
    try:
        # A device may have no end, and nothing may ever write into a pipe.
        if not (stat.S_ISREG(path.stat().st_mode) or path.is_dir()):
            raise InvalidInput(f"{what} {path} is not a plain file", hint=f"is it a {what}?")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        why = error.strerror or str(error)
        raise InvalidInput(f"{what} {path} cannot be read: {why}", hint="check the path") from error
    if len(data) > MAX_BYTES:
        raise InvalidInput(f"{what} {path} has more than {MAX_BYTES} bytes", hint=f"is it a {what}?")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{what} {path} is not UTF-8 text: {error}", hint=f"is it a {what}?") from error


def read_yaml(text: str) -> tuple[Any, Places]:
    """The value of a plan's text, and where each part of it stands.

    Args:
        text: YAML.

    Returns:
        The value (None for an empty text) and the places, by paths in snake_case.

    Raises:
        InvalidPlan: not YAML, a field that is given twice, or too deep or too many fields; with line and column.
    """
    places = Places()
    try:
        loader = PlanLoader(text)
        node = loader.get_single_node()
        if node is not None:
            node = _recorded(node, (), places.found)
        value = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark is not None else (None, None)
        raise InvalidPlan(f"this is not YAML: {error.problem}", line=place[0], column=place[1]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidPlan(f"this is not YAML: {error}") from error
    return value, places


def _recorded(node: yaml.Node, path: Path, places: dict[Path, Place]) -> yaml.Node:
    """Notes where each key and item is.

    Returns:
        The node as it is to be read.

    Raises:
        InvalidPlan: too deep or too many fields, as an alias that leads back to its own parent gives them.
    """
    # An item of an object is looked for at its key.
    places.setdefault(path, _place(node.start_mark))
    if len(path) > MAX_DEPTH:
        raise InvalidPlan(f"it is nested more than {MAX_DEPTH} deep", hint="does an alias point at its parent?")
    if len(places) > MAX_FIELDS:
        raise InvalidPlan(f"it has more than {MAX_FIELDS} fields", hint="do aliases multiply?")
    # Copies: by an alias one node may be text in one place and a number in another.
    if isinstance(node, yaml.MappingNode):
        entries = [(key, _recorded(value, _field(key, path, places), places)) for key, value in node.value]
        return yaml.MappingNode(node.tag, entries, node.start_mark, node.end_mark)
    if isinstance(node, yaml.SequenceNode):
        items = [_recorded(item, (*path, index), places) for index, item in enumerate(node.value)]
        return yaml.SequenceNode(node.tag, items, node.start_mark, node.end_mark)
    if isinstance(node, yaml.ScalarNode) and _is_text(path) and _is_number(node):
        # YAML reads `os_version: 14.10` as the number 14.1; a version is text, as it is written.
        return yaml.ScalarNode("tag:yaml.org,2002:str", node.value, node.start_mark, node.end_mark)
    return node


def _field(key: yaml.Node, path: Path, places: dict[Path, Place]) -> Path:
    name, at = _field_name(str(key.value), path), _place(key.start_mark)
    if (*path, name) in places:
        raise InvalidPlan(f"field {name!r} is given twice", line=at.line, column=at.column)
    places[(*path, name)] = at
    return (*path, name)


def _place(mark: yaml.Mark) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def _field_name(name: str, path: Path) -> str:
    """The name in snake_case (but apiVersion), unless the object at `path` is the user's own."""
    if path[:1] == ("preprocessing",) or path in _FREE or "recipe" in path:
        return name
    snake = _HUMP.sub(lambda match: f"_{match[0].lower()}", name)
    return "apiVersion" if snake == "api_version" else snake


def _is_text(path: Path) -> bool:
    """Whether a text is read at `path`: `data.samples`, `devices[0].os_version` or an item of that."""
    names = _TEXTS.get(str(path[0]), ()) if path else ()
    below = path[2:] if path[:1] == ("devices",) else path[1:]
    # Only fields of devices may hold several.
    several = len(below) == 2 and path[0] == "devices" and isinstance(below[1], int)
    return bool(below) and below[0] in names and (len(below) == 1 or several)


def _is_number(node: yaml.ScalarNode) -> bool:
    return node.tag in _NUMBERS and not _NOT_FINITE.match(node.value)
