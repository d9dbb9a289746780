"""The devices of several farms at once; a farm that fails does not hide the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from windtunnel.errors import FarmError, WindtunnelError
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.farm import Farm
from windtunnel.farm_dispatcher.messages.cell_messages import device_to_proto
from windtunnel.v1 import farm_dispatcher_pb2

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listing:
    """What farms offer.

    Attributes:
        devices: farm by farm.
        farms: the names of those that answer.
        outages: why the devices of other farms are not known, by the names of the farms.
    """

    devices: tuple[Device, ...]
    farms: tuple[str, ...]
    outages: Mapping[str, WindtunnelError]


async def list_devices(farms: Mapping[str, Farm]) -> Listing:
    """Asks farms for their devices, all at once.

    Args:
        farms: by name.

    Returns:
        The devices of those that answer, and why the others do not.
    """
    answers = await asyncio.gather(*(_devices_of(farm) for farm in farms.values()))
    devices: list[Device] = []
    outages: dict[str, WindtunnelError] = {}
    for name, answer in zip(farms, answers, strict=True):
        if isinstance(answer, WindtunnelError):
            outages[name] = answer
        else:
            devices += answer
    return Listing(tuple(devices), tuple(name for name in farms if name not in outages), outages)


async def _devices_of(farm: Farm) -> tuple[Device, ...] | WindtunnelError:
    try:
        return await devices_of(farm)
    except WindtunnelError as error:
        return error


async def devices_of(farm: Farm) -> tuple[Device, ...]:
    """Asks one farm for its devices.

    Args:
        farm: to ask.

    Returns:
        Its devices.

    Raises:
        FarmError: it does not answer, or what it answers cannot be understood.
        WindtunnelError: it refuses.
    """
    try:
        return tuple(await farm.devices())
    except WindtunnelError:
        raise
    except Exception as error:
        # What one farm answers, however wrong, must not hide the devices of the others.
        log.warning("farm %s cannot be listed", farm.settings.name, exc_info=True)
        raise FarmError(
            f"its answer cannot be understood: {type(error).__name__}: {error}", hint="check the farm's address"
        ) from error


def listing_to_proto(listing: Listing) -> farm_dispatcher_pb2.ListDevicesResponse:
    """What farms offer, on the wire.

    Args:
        listing: of the farms.

    Returns:
        The message.
    """
    outages = [
        farm_dispatcher_pb2.FarmOutage(farm=name, message=error.message, hint=error.hint)
        for name, error in listing.outages.items()
    ]
    return farm_dispatcher_pb2.ListDevicesResponse(
        devices=map(device_to_proto, listing.devices), farms=listing.farms, outages=outages
    )
