"""Many cells on many devices: none is lost or run twice however often dispatchers die, and memory does not grow."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.farm_scheduler import FarmLab
from support.nats import nats_server
from support.simulated_farm import PRICE, RUN, queue_all, run_all, simulated_farm
from windtunnel.bus.nats.jetstream import connect
from windtunnel.farm_dispatcher.domain.money import micro_usd
from windtunnel.farm_dispatcher.use_cases.stored.ledgers import run_ledger
from windtunnel.v1 import farm_runs_pb2

DEVICES, CELLS, KILLS = 200, 2000, 8


@pytest.mark.heavy
async def test_no_cell_is_lost_over_random_kills(tmp_path: Path) -> None:
    # Tasks of killed dispatchers end with errors that nobody reads.
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    with nats_server(tmp_path / "nats") as server:
        bus = await connect(server.url)
        farm = simulated_farm(DEVICES, CELLS, parallel=50, entries=10)
        lab = FarmLab(bus, {"sim": farm}, tmp_path, deadline_s=10**7)
        await queue_all(lab, farm, CELLS)
        _, memory = await run_all(lab, bus, CELLS, KILLS, seed=7)
        ledger = await (await lab.records()).read(run_ledger(RUN), farm_runs_pb2.Ledger)
        await bus.close()
    assert set(farm.ran) == {1}
    assert ledger is not None and not ledger.message.reserved_micro_usd
    assert ledger.message.spent_micro_usd == micro_usd(farm.billed * PRICE)
    assert len(farm.started) < CELLS / 5
    assert memory[-1] < memory[0] + 40
