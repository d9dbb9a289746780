"""Requests and answers checked against Google's own API descriptions (discovery documents of the installed client)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import googleapiclient

from support.farm_peers.google.google_errors import GoogleError, invalid_argument

_DOCUMENTS = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
_DURATION = re.compile(r"-?\d+(\.\d{1,9})?s")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
_INT32, _INT64 = 1 << 31, 1 << 63


@dataclass(frozen=True)
class Method:
    """A method of an API: how it is called, and its description."""

    id: str
    verb: str
    path: re.Pattern[str]
    parameters: Mapping[str, Mapping[str, Any]]
    request: str
    response: str
    takes_media: bool = False


@dataclass(frozen=True)
class Call:
    """A request that fits its method: path and query parameters in Python's types, and the body."""

    method: Method
    parameters: Mapping[str, Any]
    body: Any = None
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Api:
    """One API, as its discovery document describes it.

    Args:
        name: of the document, for example "testing.v1".
    """

    def __init__(self, name: str) -> None:
        self.document = json.loads((_DOCUMENTS / f"{name}.json").read_text(encoding="utf-8"))
        self.schemas: Mapping[str, Any] = self.document["schemas"]
        self._methods = sorted(_methods(self.document, self.document), key=lambda one: ":" not in one.path.pattern)
        self._global = set(self.document["parameters"]) | {"uploadType", "upload_protocol", "upload_id"}

    def route(self, verb: str, path: str) -> tuple[Method, dict[str, str]] | None:
        """The method of a request and its path parameters; None: there is no such method."""
        for method in self._methods:
            if method.verb == verb and (match := method.path.fullmatch(path)):
                return method, {name: unquote(value) for name, value in match.groupdict().items()}
        return None

    def check(self, method: Method, found: Mapping[str, str], query: Mapping[str, Sequence[str]], body: Any) -> Call:
        """The request as a call. Raises GoogleError 400: it does not fit the description."""
        parameters: dict[str, Any] = {name: self._parameter(method, name, [value]) for name, value in found.items()}
        for name, values in query.items():
            if name in method.parameters and method.parameters[name]["location"] == "query":
                parameters[name] = self._parameter(method, name, values)
            elif name not in self._global:
                raise invalid_argument(
                    f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter. '
                    f"Field '{name}' could not be found in request message.",
                    name,
                )
        for name, about in method.parameters.items():
            if about.get("required") and name not in parameters:
                raise invalid_argument(f"Required parameter: {name}", name)
        if method.request and not method.takes_media:
            self.check_value({"$ref": method.request}, {} if body is None else body, "")
        elif body is not None and not method.takes_media:
            raise invalid_argument(f"{method.id} takes no body", "")
        return Call(method, parameters, body, query)

    def check_answer(self, method: Method, answer: Any) -> None:
        """Raises AssertionError where an answer of this peer is not one that the service could give."""
        if not method.response:
            return
        try:
            self.check_value({"$ref": method.response}, answer, "", is_answer=True)
        except GoogleError as error:
            raise AssertionError(f"the peer's answer to {method.id} is not of its schema: {error}") from error

    def _parameter(self, method: Method, name: str, values: Sequence[str]) -> Any:
        about = method.parameters.get(name, {"type": "string"})
        if len(values) > 1 and not about.get("repeated"):
            raise invalid_argument(f"parameter {name} may be given once", name)
        read = [_read_parameter(name, about, value) for value in values]
        return read if about.get("repeated") else read[0]

    def check_value(self, about: Mapping[str, Any], value: Any, where: str, *, is_answer: bool = False) -> None:
        """Raises GoogleError 400 where a JSON value is not of a schema; `where` is the field's path."""
        if "$ref" in about:
            about = self.schemas[about["$ref"]]
        kind = about.get("type", "any")
        if value is None or kind == "any":
            return
        if kind == "object":
            self._check_object(about, value, where, is_answer=is_answer)
        elif kind == "array":
            if not isinstance(value, list):
                raise _wrong(where, "a list", value)
            for index, item in enumerate(value):
                self.check_value(about["items"], item, f"{where}[{index}]", is_answer=is_answer)
        else:
            _check_scalar(about, value, where, is_answer=is_answer)

    def _check_object(self, about: Mapping[str, Any], value: Any, where: str, *, is_answer: bool) -> None:
        if not isinstance(value, dict):
            raise _wrong(where, "an object", value)
        properties = about.get("properties", {})
        for name, item in value.items():
            inside = f"{where}.{name}" if where else name
            if name in properties:
                self.check_value(properties[name], item, inside, is_answer=is_answer)
            elif "additionalProperties" in about:
                self.check_value(about["additionalProperties"], item, inside, is_answer=is_answer)
            else:
                raise invalid_argument(
                    f'Invalid JSON payload received. Unknown name "{name}"{f" at {where!r}" if where else ""}: '
                    "Cannot find field.",
                    where,
                )


@cache
def api(name: str) -> Api:
    """An API by the name of its document; read once."""
    return Api(name)


def _methods(document: Mapping[str, Any], resource: Mapping[str, Any]) -> list[Method]:
    found = [_method(document, about) for about in resource.get("methods", {}).values()]
    for inner in resource.get("resources", {}).values():
        found += _methods(document, inner)
    return found


def _method(document: Mapping[str, Any], about: Mapping[str, Any]) -> Method:
    pieces = re.split(r"\{(\+?)(\w+)\}", about["path"])
    pattern = re.escape("/" + document["servicePath"] + pieces[0])
    for plus, name, rest in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        inside = about["parameters"][name].get("pattern", "^.+?$")[1:-1] if plus else "[^/]+?"
        pattern += f"(?P<{name}>{inside})" + re.escape(rest)
    return Method(
        about["id"], about["httpMethod"], re.compile(pattern), about.get("parameters", {}),
        about.get("request", {}).get("$ref", ""), about.get("response", {}).get("$ref", ""),
        "mediaUpload" in about,
    )  # fmt: skip


def _read_parameter(name: str, about: Mapping[str, Any], value: str) -> Any:
    kind = about["type"]
    if "enum" in about and value not in about["enum"]:
        raise invalid_argument(f"Invalid value at '{name}' (enum), \"{value}\"", name)
    if "pattern" in about and not re.search(about["pattern"], value):
        raise invalid_argument(f"Invalid value at '{name}': {value!r} is not of {about['pattern']}", name)
    if kind == "boolean":
        if value not in ("true", "false"):
            raise _wrong(name, "true or false", value)
        return value == "true"
    if kind == "integer":
        if not re.fullmatch(r"-?\d+", value):
            raise _wrong(name, "an integer", value)
        return int(value)
    return value


def _check_scalar(about: Mapping[str, Any], value: Any, where: str, *, is_answer: bool) -> None:
    kind, style = about["type"], about.get("format", "")
    if kind == "boolean" and not isinstance(value, bool):
        raise _wrong(where, "true or false", value)
    if kind == "integer" and not _is_integer(value, _INT32 if style == "int32" else _INT64, text=not is_answer):
        raise _wrong(where, "TYPE_INT32", value)
    if kind == "number" and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise _wrong(where, "a number", value)
    if kind == "string":
        _check_string(about, style, value, where, is_answer=is_answer)


def _check_string(about: Mapping[str, Any], style: str, value: Any, where: str, *, is_answer: bool) -> None:
    if style in ("int64", "uint64"):
        # Answers hold strings; requests may hold numbers.
        if not _is_integer(value, _INT64, text=True) or (is_answer and not isinstance(value, str)):
            raise _wrong(where, "TYPE_INT64", value)
        return
    if not isinstance(value, str):
        raise _wrong(where, "TYPE_STRING", value)
    if "enum" in about and value not in about["enum"]:
        raise invalid_argument(f"Invalid value at '{where}' (type.googleapis.com/enum), \"{value}\"", where)
    if style == "google-duration" and not _DURATION.fullmatch(value):
        raise _wrong(where, "a duration such as 300s", value)
    if style in ("google-datetime", "date-time") and not _TIME.fullmatch(value):
        raise _wrong(where, "a time of RFC 3339", value)


def _is_integer(value: Any, limit: int, *, text: bool) -> bool:
    if isinstance(value, str) and text and re.fullmatch(r"-?\d+", value):
        value = int(value)
    return isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit


def _wrong(where: str, wanted: str, value: Any) -> GoogleError:
    return invalid_argument(f"Invalid value at '{where}' ({wanted}), {json.dumps(value)[:100]}", where)
