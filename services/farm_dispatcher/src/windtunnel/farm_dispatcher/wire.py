"""Between cells, devices and facts and their protobuf messages."""

from __future__ import annotations

from windtunnel.farm_dispatcher.domain import Cell, Device, DeviceFacts
from windtunnel.v1 import farm_dispatcher_pb2, types_pb2


def cell_to_proto(cell: Cell) -> types_pb2.Cell:
    """The cell on the wire."""
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
    )


def cell_from_proto(message: types_pb2.Cell) -> Cell:
    """The cell in `message`."""
    return Cell(
        message.id,
        message.variant,
        message.farm,
        message.device,
        message.platform,
        message.os_version,
        message.accelerator,
        message.threads,
        message.skip_reason,
    )


def facts_to_proto(facts: DeviceFacts) -> types_pb2.DeviceFacts:
    """The facts on the wire; None is absent."""
    return types_pb2.DeviceFacts(
        name=facts.name,
        cpu=facts.cpu,
        cores=facts.cores,
        memory_bytes=facts.memory_bytes,
        os=facts.os,
        os_version=facts.os_version,
        runtime=facts.runtime,
        nodes_delegated=facts.nodes_delegated,
        nodes_total=facts.nodes_total,
    )


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
