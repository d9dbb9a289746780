"""Facts as JSON documents and back, without loss."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from pydantic import TypeAdapter

from windtunnel.farms.properties import FarmProperties
from windtunnel.metrics_store.domain import facts
from windtunnel.metrics_store.domain.values import Blob, Device, Failure, FarmRun
from windtunnel.run_conditions import RunConditions

T = TypeVar("T")

_KINDS: Final = (
    facts.Canceled,
    facts.Converted,
    facts.Ready,
    facts.Compared,
    facts.NotRun,
    facts.Measured,
    facts.Diagnosed,
    facts.RepeatsRequested,
    Blob,
    RunConditions,
    FarmProperties,
    FarmRun,
    Device,
    Failure,
)
_ADAPTERS: Final[dict[type[Any], TypeAdapter[Any]]] = {kind: TypeAdapter(kind) for kind in _KINDS}


def to_document(value: Any) -> Any:
    """The JSON form of a dataclass.

    Args:
        value: of a known class.

    Returns:
        None stays None.
    """
    return None if value is None else _ADAPTERS[type(value)].dump_python(value, mode="json")


def from_document(kind: type[T], document: Any) -> T | None:
    """Reads what `to_document` wrote.

    Args:
        kind: of the dataclass.
        document: JSON value.

    Returns:
        None stays None.
    """
    if document is None:
        return None
    value: T = _ADAPTERS[kind].validate_python(document)
    return value
