"""Reads farms.yaml, and makes the farms of an installation that has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from windtunnel.errors import InvalidInput
from windtunnel.farm_dispatcher.domain.farm_settings import (
    AdbSettings,
    ArmSettings,
    AwsSettings,
    Budget,
    DdpSettings,
    Endpoints,
    FarmSettings,
    FirebaseSettings,
    LocalSettings,
    PollSeconds,
)
from windtunnel.plan.yaml_text import read_yaml, read_yaml_text
from windtunnel.service.settings import InvalidSetting

if TYPE_CHECKING:
    from windtunnel.farm_dispatcher.adapters.farms_file.farms_document import DefaultsDocument, FarmDocument

_KINDS: Final[Mapping[str, type[FarmSettings]]] = {
    kind.kind: kind for kind in (LocalSettings, ArmSettings, AdbSettings, FirebaseSettings, DdpSettings, AwsSettings)
}
# What a kind sets if farms.yaml is silent: vendors' farms carry several cells at once, which saves started minutes.
_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "local": {"poll_seconds": PollSeconds(0.05, 0.5)},
    "arm": {"poll_seconds": PollSeconds(0.05, 0.5)},
    "adb": {"poll_seconds": PollSeconds(0.5, 5.0), "parallel": 4, "entries": 8},
    "firebase": {"parallel": 20, "entries": 8, "pack_seconds": 20.0},
    "ddp": {"parallel": 20, "entries": 20, "pack_seconds": 20.0},
    "aws": {"parallel": 5, "entries": 20, "pack_seconds": 20.0},
}
DEFAULT_ATTEMPTS: Final = 3
_COMMON: Final = ("attempts", "timeout_minutes", "poll_seconds", "budget_usd")


def read_farms(path: Path, attempts: int = DEFAULT_ATTEMPTS) -> tuple[FarmSettings, ...]:
    """Reads farms.yaml.

    Args:
        path: the file.
        attempts: at a cell, if the file is silent.

    Returns:
        Its farms, defaults filled in.

    Raises:
        InvalidSetting: it cannot be read, or something in it is wrong; the message names file, line and field.
    """
    from windtunnel.documents import DocumentRefused, validated
    from windtunnel.farm_dispatcher.adapters.farms_file.farms_document import FarmsDocument

    try:
        text = read_yaml_text(path, "farms.yaml")
    except InvalidInput as error:
        raise InvalidSetting(error.message, hint=error.hint) from error
    try:
        value, places = read_yaml(text)
    except InvalidInput as error:
        raise InvalidSetting(f"{path}: {error.message}", hint=error.hint) from error
    try:
        document = validated(FarmsDocument, value)
    except DocumentRefused as refused:
        at = places.nearest(refused.path)
        line = f"line {at.line}: " if at is not None else ""
        field = ".".join(map(str, refused.path))
        raise InvalidSetting(
            f"{path}: {line}{field + ': ' if field else ''}{refused.message}", hint=refused.hint
        ) from None
    return tuple(_settings(farm, document.defaults, attempts) for farm in document.farms)


class FarmsSource(Protocol):
    """What the settings of a service say of its farms."""

    @property
    def farms_file(self) -> Path | None:
        """farms.yaml; None: there is none."""
        ...

    @property
    def farm_names(self) -> tuple[str, ...]:
        """The farms without farms.yaml."""
        ...

    @property
    def cell_attempts(self) -> int:
        """Attempts at a cell, for farms that say nothing else."""
        ...


def farms_of(source: FarmsSource) -> tuple[FarmSettings, ...]:
    """The farms of an installation.

    Args:
        source: its settings.

    Returns:
        Those of farms.yaml, or those that are named without it.

    Raises:
        InvalidSetting: something is wrong with them.
    """
    attempts = source.cell_attempts
    if source.farms_file is None:
        return named_farms(source.farm_names, attempts)
    return read_farms(source.farms_file, attempts)


def named_farms(names: Sequence[str], attempts: int = DEFAULT_ATTEMPTS) -> tuple[FarmSettings, ...]:
    """The farms of an installation without farms.yaml: each kind under its own name.

    Args:
        names: of WINDTUNNEL_FARMS.
        attempts: at a cell.

    Returns:
        Their settings.

    Raises:
        InvalidSetting: a name is not a kind, or the kind needs settings of its own.
    """
    return tuple(_named(name, attempts) for name in names)


def _named(name: str, attempts: int) -> FarmSettings:
    kind = _KINDS.get(name)
    if kind is None:
        raise InvalidSetting(f"WINDTUNNEL_FARMS names {name!r}", hint=f"there are {', '.join(_KINDS)}")
    try:
        return kind(name=name, attempts=attempts, **_DEFAULTS.get(name, {}))
    except TypeError:
        raise InvalidSetting(
            f"WINDTUNNEL_FARMS names {name!r}, which needs a project",
            hint="describe it in a farms.yaml and name that in WINDTUNNEL_FARMS_FILE",
        ) from None


def _settings(farm: FarmDocument, defaults: DefaultsDocument | None, attempts: int) -> FarmSettings:
    """The settings of one farm: its own, those of `defaults`, those of its kind."""
    given = farm.model_dump(exclude_none=True, exclude={"kind"})
    shared = {} if defaults is None else defaults.model_dump(exclude_none=True)
    kind = str(farm.kind)  # type: ignore[attr-defined]
    fields: dict[str, Any] = {"attempts": attempts} | {name: shared[name] for name in _COMMON if name in shared}
    fields.update(given)
    of_kind = _DEFAULTS.get(kind, {})
    return _KINDS[kind](**{**of_kind, **_typed(fields, of_kind.get("poll_seconds", PollSeconds()))})


def _typed(fields: dict[str, Any], poll: PollSeconds) -> dict[str, Any]:
    typed = dict(fields)
    if "cells_per_run" in typed:
        typed["entries"] = typed.pop("cells_per_run")
    if "poll_seconds" in typed:
        wanted = typed["poll_seconds"]
        least = float(wanted.get("min", poll.min))
        typed["poll_seconds"] = PollSeconds(least, max(least, float(wanted.get("max", poll.max))))
    if "budget_usd" in typed:
        typed["budget_usd"] = Budget(**{name: _money(amount) for name, amount in typed["budget_usd"].items()})
    if "price_per_minute_usd" in typed:
        prices = typed["price_per_minute_usd"]
        typed["price_per_minute_usd"] = {name: _money(amount) for name, amount in prices.items()}
    if "endpoints" in typed:
        typed["endpoints"] = Endpoints(**typed["endpoints"])
    if "serials" in typed:
        typed["serials"] = tuple(typed["serials"])
    return typed


def _money(amount: float) -> Decimal:
    # As it is written: 0.0834 is not the nearest binary fraction.
    return Decimal(str(amount))
