"""Between cells, devices and facts and their protobuf messages."""

from __future__ import annotations

from typing import cast

from windtunnel.enum_words import DEVICE_KIND, FAILURE_KIND, PLATFORM, RUN_AS
from windtunnel.farm_dispatcher.domain.cells import Cell, RunAs
from windtunnel.farm_dispatcher.domain.devices import Device, DeviceFacts, DeviceKind
from windtunnel.farm_dispatcher.domain.money import micro_usd, usd
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.plan import shapes_from_proto, shapes_to_proto
from windtunnel.run_conditions import RunConditions
from windtunnel.service.protobuf_values import farm_properties_of, farm_properties_to_proto, message_of, value_of
from windtunnel.v1 import farm_dispatcher_pb2, types_pb2


def cell_to_proto(cell: Cell) -> types_pb2.Cell:
    """A cell on the wire.

    Args:
        cell: of the plan.

    Returns:
        The message.
    """
    return types_pb2.Cell(
        id=cell.id,
        variant=cell.variant,
        farm=cell.farm,
        device=cell.device,
        platform=cell.platform,
        os_version=cell.os_version,
        accelerator=cell.accelerator,
        threads=cell.threads,
        skip_reason=cell.skip_reason,
        input_shapes=shapes_to_proto(cell.input_shapes),
        device_platform=PLATFORM.number(cell.platform),
        farm_properties=farm_properties_to_proto(cell.farm_properties),
        run_as=RUN_AS.number(cell.run_as),
        skip_kind=FAILURE_KIND.number(cell.skip_kind or ""),
    )


def cell_from_proto(message: types_pb2.Cell) -> Cell:
    """A cell from the wire.

    Args:
        message: of it.

    Returns:
        The cell.
    """
    return Cell(
        id=message.id,
        variant=message.variant,
        farm=message.farm,
        device=message.device,
        platform=PLATFORM.read(message.device_platform, message.platform),
        os_version=message.os_version,
        accelerator=message.accelerator,
        threads=message.threads,
        skip_reason=message.skip_reason,
        input_shapes=shapes_from_proto(message.input_shapes),
        farm_properties=farm_properties_of(message),
        run_as=cast(RunAs, RUN_AS.read(message.run_as, "executable")),
        skip_kind=FailureKind(kind) if (kind := FAILURE_KIND.read(message.skip_kind, "")) else None,
    )


def facts_to_proto(facts: DeviceFacts) -> types_pb2.DeviceFacts:
    """Facts on the wire; None is absent.

    Args:
        facts: of a device.

    Returns:
        The message.
    """
    return message_of(types_pb2.DeviceFacts, facts)


def conditions_to_proto(conditions: RunConditions | None) -> types_pb2.RunConditions | None:
    """Conditions on the wire; None is absent.

    Args:
        conditions: of a run.

    Returns:
        None: there are none.
    """
    return None if conditions is None else message_of(types_pb2.RunConditions, conditions)


def device_to_proto(device: Device) -> farm_dispatcher_pb2.Device:
    """A device on the wire.

    Args:
        device: of a farm.

    Returns:
        The message.
    """
    return farm_dispatcher_pb2.Device(
        farm=device.farm,
        name=device.name,
        platform=device.platform,
        os_version=device.os_version,
        accelerators=device.accelerators,
        facts=facts_to_proto(device.facts),
        device_platform=PLATFORM.number(device.platform),
        title=device.title,
        maker=device.maker,
        form_factor=device.form_factor,
        kind=DEVICE_KIND.number(device.kind),
        soc=device.soc,
        abis=device.abis,
        price_micro_usd=None if device.price_per_minute_usd is None else micro_usd(device.price_per_minute_usd),
        unavailable=not device.available,
    )


def device_from_proto(message: farm_dispatcher_pb2.Device) -> Device:
    """A device from the wire.

    Args:
        message: of it.

    Returns:
        The device.
    """
    return Device(
        farm=message.farm,
        name=message.name,
        platform=PLATFORM.read(message.device_platform, message.platform),
        os_version=message.os_version,
        accelerators=tuple(message.accelerators),
        facts=value_of(DeviceFacts, message.facts),
        title=message.title,
        maker=message.maker,
        form_factor=message.form_factor,
        kind=cast(DeviceKind, DEVICE_KIND.read(message.kind, "physical")),
        soc=message.soc,
        abis=tuple(message.abis),
        price_per_minute_usd=usd(message.price_micro_usd) if message.HasField("price_micro_usd") else None,
        available=not message.unavailable,
    )
