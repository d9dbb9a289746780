"""From the device filters of a plan to cells: pure rules over what the farms offer now."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from windtunnel.errors import InvalidInput
from windtunnel.farm_dispatcher.domain.cells import Cell, RunAs, cell_id
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.farm import Farm
from windtunnel.farm_dispatcher.use_cases.list_devices import devices_of
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.farms.properties import PHONES, FarmProperties, properties_of
from windtunnel.plan import DeviceFilter

DEFAULT_THREADS: Final = 1
# Of one variant. More than any farm gets through, and a few lists of a plan multiply to it easily.
MAX_CELLS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Offer:
    """What a farm has today."""

    devices: tuple[Device, ...]
    default_accelerator: str
    properties: FarmProperties = PHONES
    # The kinds of job that it takes, its default first.
    runs: tuple[RunAs, ...] = ("executable",)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a cell would run, before accelerator and threads; `device` is None if there is no such place."""

    name: str
    platform: str
    os_version: str
    device: Device | None = None
    skip_reason: str = ""
    skip_kind: FailureKind = FailureKind.UNSUPPORTED


async def offer_of(farm: Farm) -> Offer:
    """What a farm has today.

    Args:
        farm: to ask.

    Returns:
        Its offer.

    Raises:
        FarmError: it does not answer, or what it answers cannot be understood.
    """
    return Offer(await devices_of(farm), farm.default_accelerator, farm.properties, farm.runs)


def expand(
    run_id: str,
    variant: str,
    filters: Sequence[DeviceFilter],
    offers: Mapping[str, Offer],
    farms: Sequence[str] = (),
) -> tuple[Cell, ...]:
    """The cells that filters mean for one variant.

    Every combination of the values that a filter lists is at least one cell. Three kinds become skipped cells with the
    reason: no device of the farm fits, the device does not have the accelerator, or the farm is not in `offers`. A
    field that lists nothing takes every device that fits, the farm's default accelerator, 1 thread.

    Args:
        run_id: of the run.
        variant: its name.
        filters: of the plan.
        offers: of the farms that answer, by name.
        farms: the names of all farms of the installation, for the reason of a cell that names another.

    Returns:
        Each once, in the plan's order.

    Raises:
        InvalidInput: there are more than MAX_CELLS, repeats included.
    """
    cells: dict[str, Cell] = {}
    meant = (cell for wanted in filters for cell in _cells(run_id, variant, wanted, offers.get(wanted.farm), farms))
    for count, cell in enumerate(meant, 1):
        if count > MAX_CELLS:
            raise InvalidInput(
                f"the device filters mean more than {MAX_CELLS} cells for variant {variant!r}",
                hint="list fewer values in each filter: every combination of them is a cell",
            )
        cells.setdefault(cell.id, cell)
    return tuple(cells.values())


def _cells(
    run_id: str, variant: str, wanted: DeviceFilter, offer: Offer | None, farms: Sequence[str]
) -> Iterator[Cell]:
    # Of a farm that is not set up here only its name is known.
    properties = properties_of(wanted.farm) if offer is None else offer.properties
    for place in _places(wanted, offer, farms):
        accelerators = wanted.accelerator or (_default_accelerator(place.device, offer),)
        ways = itertools.product(accelerators, wanted.threads or (DEFAULT_THREADS,), wanted.run_as or (None,))
        for accelerator, threads, run_as in ways:
            fields = (wanted.farm, place.name, place.platform, place.os_version, accelerator, threads)
            # Ids of before there was a choice stay as they were.
            id = cell_id(run_id, variant, *fields, *((run_as,) if run_as else ()))
            reason = place.skip_reason or _lacks(place.device, accelerator) or _cannot(wanted.farm, offer, run_as)
            kind = place.skip_kind if reason else None
            how: RunAs = run_as or (offer.runs[0] if offer is not None else "executable")
            yield Cell(id, variant, *fields, skip_reason=reason, farm_properties=properties, run_as=how, skip_kind=kind)


def _places(wanted: DeviceFilter, offer: Offer | None, farms: Sequence[str]) -> Iterator[_Place]:
    for name, platform, os_version in itertools.product(
        wanted.device or ("",), wanted.platform or ("",), wanted.os_version or ("",)
    ):
        if offer is None:
            reason = f"farm {wanted.farm!r} is not set up in this installation"
            reason += f"; {_nearest(wanted.farm, farms)}" if farms else ""
            yield _Place(name, platform, os_version, skip_reason=reason)
            continue
        fitting = [device for device in offer.devices if _fits(device, name, platform, os_version)]
        for device in fitting:
            yield _Place(device.name, device.platform, device.os_version, device)
        if not fitting:
            reason = _why_none(wanted.farm, offer.devices, name, platform, os_version)
            yield _Place(name, platform, os_version, skip_reason=reason, skip_kind=FailureKind.DEVICE)


def _fits(device: Device, name: str, platform: str, os_version: str) -> bool:
    """Whether a device is what is asked for; an empty value asks for nothing."""
    return (
        name in ("", device.name)
        and platform in ("", device.platform)
        and (os_version in ("", device.os_version) or device.os_version.startswith(f"{os_version}."))
    )


def _why_none(farm: str, devices: Sequence[Device], name: str, platform: str, os_version: str) -> str:
    """Why no device fits: the first of the values that leaves none."""
    if not devices:
        return f"the {farm} farm has no devices now"
    named = [device for device in devices if name in ("", device.name)]
    if not named:
        return f"the {farm} farm has no device {name!r}; {_nearest(name, [device.name for device in devices])}"
    subject = f"device {name!r}" if name else f"the {farm} farm"
    on_platform = [device for device in named if platform in ("", device.platform)]
    if not on_platform:
        return f"{subject} has platform {_words(device.platform for device in named)}, not {platform!r}"
    return f"{subject} has OS version {_words(device.os_version for device in on_platform)}, not {os_version!r}"


def nearest_farm(name: str, farms: Sequence[str]) -> str:
    """What to do about the name of a farm that is not known.

    Args:
        name: as somebody wrote it.
        farms: the names that there are.

    Returns:
        "did you mean ...?", or which names there are.
    """
    return _nearest(name, farms)


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"it has {_words(known)}"


def _default_accelerator(device: Device | None, offer: Offer | None) -> str:
    if offer is None:
        return ""
    if device is None or offer.default_accelerator in device.accelerators:
        return offer.default_accelerator
    return device.accelerators[0]


def _lacks(device: Device | None, accelerator: str) -> str:
    if device is None or accelerator in device.accelerators:
        return ""
    return (
        f"accelerator {accelerator!r} is not on device {device.name!r}: "
        f"the {device.farm} farm has {_words(device.accelerators)} there"
    )


def _cannot(farm: str, offer: Offer | None, run_as: RunAs | None) -> str:
    if offer is None or not run_as or run_as in offer.runs:
        return ""
    return f"farm {farm!r} cannot run cells as {run_as!r}: it takes {_words(offer.runs)}"


def _words(values: Iterator[str] | Sequence[str]) -> str:
    """Each value once: "a, b and c"."""
    words = list(dict.fromkeys(values))
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
