"""Every test of the bus runs on the fake and on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.bus_wires import MemoryWire, NatsWire, Wire
from support.nats import nats_server
from windtunnel.bus import Bus


@pytest.fixture(params=["memory", "nats"])
async def wire(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Wire]:
    if request.param == "memory":
        yield MemoryWire()
        return
    with nats_server(tmp_path / "nats") as server:
        wire = NatsWire(server)
        yield wire
        await wire.close()


@pytest.fixture
async def nats_wire(tmp_path: Path) -> AsyncIterator[NatsWire]:
    with nats_server(tmp_path / "nats") as server:
        wire = NatsWire(server)
        yield wire
        await wire.close()


@pytest.fixture
async def bus(wire: Wire) -> Bus:
    return await wire.open()
