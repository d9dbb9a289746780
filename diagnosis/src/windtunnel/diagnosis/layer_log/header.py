"""What the header of a layer log must hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from windtunnel.accelerators import BUILTIN, REFERENCE, XNNPACK, spelled_in_comparisons
from windtunnel.errors import InvalidInput

_Check = Callable[[Any], bool]


def require_header(header: Mapping[str, Any], log: str) -> None:
    """Checks that the header has the fields that a writer writes.

    Args:
        header: JSON object.
        log: name of the file, for messages.

    Raises:
        InvalidInput: a field is missing or has another type; the message has its name and value.
    """
    _require(header, _HEADER, "the header", log)
    _require(header["model"], _MODEL, "model", log)
    _require(header["runtime"], _RUNTIME, "runtime", log)
    for number, entry in enumerate(header["inputs"]):
        _require(entry, _TENSOR, f"input {number}", log)
    for number, entry in enumerate(header["layers"]):
        _require(entry, {**_TENSOR, **_OP}, f"layer {number}", log)
    if (header["mode"] == "statistics") != (header["coding"] == "statistics"):
        raise InvalidInput(f"{log} is {header['mode']!r}, coded {header['coding']!r}", hint=_HINT)


def _require(fields: Any, checks: Mapping[str, _Check], where: str, log: str) -> None:
    if not isinstance(fields, Mapping):
        raise InvalidInput(f"the header of {log} is wrong: {where} is {fields!r:.60}", hint=_HINT)
    for name, check in checks.items():
        if name not in fields:
            raise InvalidInput(f"the header of {log} is wrong: {where} has no {name!r}", hint=_HINT)
        if not check(fields[name]):
            raise InvalidInput(f"the header of {log} is wrong: {where}: {name} is {fields[name]!r:.60}", hint=_HINT)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_dtype(value: Any) -> bool:
    try:
        return isinstance(value, str) and np.dtype(value).kind in "biufcV"
    except TypeError:
        return False


def _one_of(*values: str) -> _Check:
    return lambda value: _is_text(value) and value in values


def _list_of(*kinds: type) -> _Check:
    return lambda value: isinstance(value, list) and all(isinstance(one, kinds) for one in value)


_HINT: Final = "the log is damaged, or not written by windtunnel: write it again"
_HEADER: Final[Mapping[str, _Check]] = {
    "mode": _one_of("lossless", "statistics"),
    "coding": _one_of("predicted", "plain", "statistics"),
    "model": _is_object,
    "runtime": _is_object,
    "inputs": _list_of(Mapping),
    "layers": _list_of(Mapping),
}
_MODEL: Final[Mapping[str, _Check]] = {"name": _is_text, "sha256": _is_text}
_RUNTIME: Final[Mapping[str, _Check]] = {
    "version": _is_text,
    "accelerator": _one_of(*map(spelled_in_comparisons, (XNNPACK, BUILTIN, REFERENCE))),
    "threads": _is_count,
}
_TENSOR: Final[Mapping[str, _Check]] = {
    "index": _is_count,
    "name": _is_text,
    "dtype": _is_dtype,
    "shape": _list_of(int),
    "scales": _list_of(int, float),
    "zero_points": _list_of(int),
    "axis": _is_count,
}
_OP: Final[Mapping[str, _Check]] = {"op": _is_text, "op_index": _is_count}
