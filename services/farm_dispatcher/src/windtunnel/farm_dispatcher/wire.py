"""Between cells, devices and facts and their protobuf messages."""

from __future__ import annotations

from windtunnel.farm_dispatcher.domain import Cell, Device, DeviceFacts
from windtunnel.v1 import farm_dispatcher_pb2, types_pb2
from windtunnel.wire import message_of, value_of


def cell_to_proto(cell: Cell) -> types_pb2.Cell:
    """The cell on the wire."""
    return message_of(types_pb2.Cell, cell)


def cell_from_proto(message: types_pb2.Cell) -> Cell:
    """The cell in `message`."""
    return value_of(Cell, message)


def facts_to_proto(facts: DeviceFacts) -> types_pb2.DeviceFacts:
    """The facts on the wire; None is absent."""
    return message_of(types_pb2.DeviceFacts, facts)


def device_to_proto(device: Device) -> farm_dispatcher_pb2.Device:
    """The device on the wire."""
    return farm_dispatcher_pb2.Device(
        farm=device.farm,
        name=device.name,
        platform=device.platform,
        os_version=device.os_version,
        accelerators=device.accelerators,
        facts=facts_to_proto(device.facts),
    )
