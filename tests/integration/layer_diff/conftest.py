"""Every test of the service runs on the fake bus and on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.bus_wires import Wire
from support.runtime import wire_of


@pytest.fixture(params=["memory", "nats"])
async def wire(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Wire]:
    async with wire_of(request.param, tmp_path) as wire:
        yield wire
