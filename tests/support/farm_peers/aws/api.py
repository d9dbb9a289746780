"""AWS Device Farm's API as botocore describes it: requests and answers are checked against its shapes."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

TARGET: Final = "DeviceFarm_20150623"
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "double": (int, float),
    "boolean": (bool,),
    "timestamp": (int, float),
    "list": (list,),
    "map": (dict,),
    "structure": (dict,),
}


class Refused(Exception):
    """What the service answers instead of a result.

    Args:
        code: of the service, such as ArgumentException.
        message: its words.
        status: of HTTP.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status


def bad_argument(message: str) -> Refused:
    """An ArgumentException."""
    return Refused("ArgumentException", message)


@cache
def description() -> dict[str, Any]:
    """botocore's description of the service."""
    path = resources.files("botocore") / "data" / "devicefarm" / "2015-06-23" / "service-2.json.gz"
    described: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return described


def check_request(operation: str, values: object) -> dict[str, Any]:
    """The parameters of a request.

    Raises:
        Refused: the operation does not exist, or the parameters have another shape.
    """
    described = description()["operations"].get(operation)
    if described is None:
        raise Refused("UnknownOperationException", operation)
    found = list(problems(described["input"]["shape"], values))
    if found:
        raise Refused("ValidationException", f"{len(found)} validation error detected: {'; '.join(found)}")
    assert isinstance(values, dict)
    return values


def check_answer(operation: str, values: dict[str, Any]) -> dict[str, Any]:
    """An answer; fails if the service could not have given it."""
    found = list(problems(description()["operations"][operation]["output"]["shape"], values))
    assert not found, f"the peer's answer to {operation} is wrong: {found}"
    return values


def problems(shape_name: str, value: object, at: str = "") -> Iterator[str]:
    """What is wrong with a value of a shape."""
    shape = description()["shapes"][shape_name]
    kind = shape["type"]
    if not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind != "boolean"):
        yield f"{at or shape_name} must be a {kind}, not {value!r}"
        return
    yield from _limits(shape, value, at or shape_name)
    if kind == "structure":
        yield from _members(shape, value, at)
    elif kind == "list":
        for index, item in enumerate(value):  # type: ignore[arg-type,var-annotated]
            yield from problems(shape["member"]["shape"], item, f"{at}[{index}]")
    elif kind == "map":
        for key, item in value.items():  # type: ignore[attr-defined]
            yield from problems(shape["key"]["shape"], key, f"{at} key")
            yield from problems(shape["value"]["shape"], item, f"{at}.{key}")


def _members(shape: dict[str, Any], value: Any, at: str) -> Iterator[str]:
    for name in shape.get("required", ()):
        if value.get(name) is None:
            yield f"{at}.{name} is required"
    for name, item in value.items():
        if name not in shape["members"]:
            yield f"{at}.{name} does not exist"
        elif item is not None:
            yield from problems(shape["members"][name]["shape"], item, f"{at}.{name}")


def _limits(shape: dict[str, Any], value: Any, at: str) -> Iterator[str]:
    if "enum" in shape and value not in shape["enum"]:
        yield f"{at} {value!r} must be one of {', '.join(shape['enum'])}"
    if "pattern" in shape and not re.search(shape["pattern"], value):
        yield f"{at} {value!r} must match {shape['pattern']}"
    if shape["type"] in {"string", "list", "map"}:
        size = len(value)
    elif shape["type"] in {"integer", "long", "double"}:
        size = value
    else:
        return
    if not shape.get("min", size) <= size <= shape.get("max", size):
        yield f"{at} has {size}, allowed are {shape.get('min')} to {shape.get('max')}"
