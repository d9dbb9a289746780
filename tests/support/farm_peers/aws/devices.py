"""The devices of the peer, and which of them filters and pool rules select."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from support.farm_peers.aws.api import bad_argument

_ORDERED: Final = frozenset({"LESS_THAN", "LESS_THAN_OR_EQUALS", "GREATER_THAN", "GREATER_THAN_OR_EQUALS"})
_ANY: Final = frozenset({"EQUALS", "IN", "NOT_IN"})
# Operators that a filter may use, by attribute.
FILTERS: Final[Mapping[str, frozenset[str]]] = {
    "ARN": _ANY,
    "PLATFORM": frozenset({"EQUALS"}),
    "OS_VERSION": _ANY | _ORDERED,
    "MODEL": _ANY | {"CONTAINS"},
    "AVAILABILITY": frozenset({"EQUALS"}),
    "FORM_FACTOR": frozenset({"EQUALS"}),
    "MANUFACTURER": _ANY,
    "REMOTE_ACCESS_ENABLED": frozenset({"EQUALS"}),
    "REMOTE_DEBUG_ENABLED": frozenset({"EQUALS"}),
    "INSTANCE_ARN": _ANY,
    "INSTANCE_LABELS": frozenset({"CONTAINS"}),
    "FLEET_TYPE": frozenset({"EQUALS"}),
}
# Those that a rule of a pool may use.
RULES: Final[Mapping[str, frozenset[str]]] = {
    **FILTERS,
    "PLATFORM": _ANY,
    "FORM_FACTOR": _ANY,
    "INSTANCE_ARN": frozenset({"IN", "NOT_IN"}),
    "APPIUM_VERSION": frozenset({"CONTAINS"}),
}
_VALUES: Final[Mapping[str, frozenset[str]]] = {
    "PLATFORM": frozenset({"ANDROID", "IOS"}),
    "AVAILABILITY": frozenset({"AVAILABLE", "HIGHLY_AVAILABLE", "BUSY", "TEMPORARY_NOT_AVAILABLE"}),
    "FORM_FACTOR": frozenset({"PHONE", "TABLET"}),
    "FLEET_TYPE": frozenset({"PUBLIC", "PRIVATE"}),
}


def device(
    number: int, maker: str, name: str, os: str, platform: str = "ANDROID", availability: str = "HIGHLY_AVAILABLE",
    form: str = "PHONE",
) -> dict[str, Any]:  # fmt: skip
    """A device as ListDevices shows it."""
    return {
        "arn": f"arn:aws:devicefarm:us-west-2::device:{number:032X}",
        "name": name, "manufacturer": maker, "model": name, "modelId": name.upper().replace(" ", ""),
        "formFactor": form, "platform": platform, "os": os,
        "cpu": {"frequency": "MHz", "architecture": "arm64-v8a", "clock": 2850.0},
        "resolution": {"width": 1080, "height": 2400}, "heapSize": 512_000_000, "memory": 128_000_000_000,
        "image": f"image-{number}", "remoteAccessEnabled": True, "remoteDebugEnabled": False,
        "fleetType": "PUBLIC", "instances": [], "availability": availability,
    }  # fmt: skip


DEVICES: Final[tuple[dict[str, Any], ...]] = (
    device(1, "Google", "Google Pixel 8", "14"),
    device(2, "Google", "Google Pixel 8", "15"),
    device(3, "Samsung", "Samsung Galaxy S24", "14", availability="AVAILABLE"),
    device(4, "Samsung", "Samsung Galaxy Tab S9", "13", form="TABLET", availability="BUSY"),
    device(5, "Apple", "Apple iPhone 15", "17.2", "IOS"),
    device(6, "Google", "Google Pixel 4a", "11", availability="TEMPORARY_NOT_AVAILABLE"),
    device(7, "Apple", "Apple iPhone SE (2020)", "16.0.3", "IOS"),
)


def matches_filters(one: Mapping[str, Any], filters: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a device fits all filters; Refused: one of them cannot be used."""
    # No short cut: every filter is checked.
    fits = [_fits(one, item["attribute"], item["operator"], item["values"], FILTERS) for item in filters]
    return all(fits)


def matches_rules(one: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a device fits all rules of a pool. Their values are JSON inside a string."""
    fits = []
    for rule in rules:
        try:
            value = json.loads(rule["value"])
        except (KeyError, ValueError):
            raise bad_argument(f"Invalid rule value: {rule.get('value')!r}") from None
        values = [str(item) for item in value] if isinstance(value, list) else [str(value)]
        fits.append(_fits(one, rule["attribute"], rule["operator"], values, RULES))
    return all(fits)


def _fits(
    one: Mapping[str, Any], attribute: str, operator: str, values: Sequence[str], allowed: Mapping[str, frozenset[str]]
) -> bool:
    if operator not in allowed.get(attribute, ()):
        raise bad_argument(f"Operator {operator} is not supported for attribute {attribute}")
    if not values or (len(values) > 1 and operator not in {"IN", "NOT_IN"}):
        raise bad_argument(f"{attribute} {operator} takes one value, not {len(values)}")
    wrong = [item for item in values if item not in _VALUES.get(attribute, {item})]
    if wrong:
        raise bad_argument(f"Invalid value for {attribute}: {wrong[0]}")
    return _compare(_property(one, attribute), operator, values)


def _property(one: Mapping[str, Any], attribute: str) -> str:
    names = {
        "ARN": "arn", "PLATFORM": "platform", "OS_VERSION": "os", "MODEL": "model", "AVAILABILITY": "availability",
        "FORM_FACTOR": "formFactor", "MANUFACTURER": "manufacturer", "FLEET_TYPE": "fleetType",
    }  # fmt: skip
    if attribute == "REMOTE_ACCESS_ENABLED":
        return "TRUE" if one["remoteAccessEnabled"] else "FALSE"
    if attribute == "INSTANCE_ARN":
        return ",".join(item["arn"] for item in one["instances"])
    return str(one[names[attribute]]) if attribute in names else ""


def _compare(own: str, operator: str, values: Sequence[str]) -> bool:
    (first, *_) = values
    if operator in {"EQUALS", "IN"}:
        return own in values
    if operator == "NOT_IN":
        return own not in values
    if operator == "CONTAINS":
        return first in own
    left, right = _version(own), _version(first)
    return {
        "LESS_THAN": left < right, "LESS_THAN_OR_EQUALS": left <= right,
        "GREATER_THAN": left > right, "GREATER_THAN_OR_EQUALS": left >= right,
    }[operator]  # fmt: skip


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
