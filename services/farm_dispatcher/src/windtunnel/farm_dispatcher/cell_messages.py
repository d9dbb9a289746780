"""Between cells, devices and facts and their protobuf messages."""

from __future__ import annotations

from windtunnel.enum_words import PLATFORM
from windtunnel.farm_dispatcher.domain.farm import Cell, Device, DeviceFacts
from windtunnel.plan import shapes_from_proto, shapes_to_proto
from windtunnel.run_conditions import RunConditions
from windtunnel.service.protobuf_values import farm_properties_of, farm_properties_to_proto, message_of
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
    )
