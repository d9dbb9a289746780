"""What scheduling costs: cells on a simulated farm of many devices, with dispatchers that are killed on the way.

A real nats-server holds the records; the farm is simulated, answers at once and bills started minutes. Printed are the
time for each cell, that of one bare publish to the same server, the memory of the dispatcher over time, whether
every cell ran and ended exactly once, and what packing saves of the bill.

    python benchmarks/farm_scheduling.py [--devices 1000] [--cells 10000] [--kills 5] [--parallel 100] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support.farm_scheduler import FarmLab
from support.nats import nats_server
from support.simulated_farm import PRICE, RUN, billed_minutes, queue_all, run_all, simulated_farm
from windtunnel.bus.nats.jetstream import NatsBus, connect
from windtunnel.farm_dispatcher.use_cases.stored.ledgers import run_ledger
from windtunnel.v1 import farm_runs_pb2


async def bare_publish_s(bus: NatsBus, count: int = 2000) -> float:
    """Seconds of one synchronous publish of 1 KB to the same server."""
    begun = time.monotonic()
    for number in range(count):
        await bus.publish("windtunnel.benchmark.published", {"Nats-Msg-Id": f"b{number}"}, b"x" * 1000)
    return (time.monotonic() - begun) / count


async def measure(devices: int, cells: int, kills: int, parallel: int, entries: int, seed: int) -> dict[str, object]:
    """One run of the benchmark.

    Args:
        devices: of the farm.
        cells: to run.
        kills: how many dispatchers die.
        parallel: farm runs at once.
        entries: cells in a farm run.
        seed: of the kills.
    """
    # Tasks of killed dispatchers end with errors that nobody reads.
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    with tempfile.TemporaryDirectory(prefix="windtunnel-farm-") as folder, nats_server(Path(folder, "nats")) as server:
        bus = await connect(server.url)
        farm = simulated_farm(devices, cells, parallel, entries)
        lab = FarmLab(bus, {"sim": farm}, Path(folder), deadline_s=10**7)
        bare = await bare_publish_s(bus)
        queueing = await queue_all(lab, farm, cells)
        running, memory = await run_all(lab, bus, cells, kills, seed)
        ledger = await (await lab.records()).read(run_ledger(RUN), farm_runs_pb2.Ledger)
        assert ledger is not None
        await bus.close()
    paid = farm.billed * float(PRICE)
    return {
        "devices": devices,
        "cells": cells,
        "kills": kills,
        "lost": sum(count == 0 for count in farm.ran),
        "run_twice": sum(count > 1 for count in farm.ran),
        "bill_adds_up": ledger.message.spent_micro_usd == round(paid * 1e6) and not ledger.message.reserved_micro_usd,
        "queue_ms_per_cell": 1000 * queueing / cells,
        "run_ms_per_cell": 1000 * running / cells,
        "bare_publish_ms": 1000 * bare,
        "memory_mb": {"start": memory[0], "middle": memory[len(memory) // 2], "end": memory[-1]},
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "farm_runs": len(farm.started),
        "cost_usd": paid,
        "cost_unpacked_usd": cells * billed_minutes(1) * float(PRICE),
    }


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--parallel", type=int, default=100)
    parser.add_argument("--entries", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = asyncio.run(measure(given.devices, given.cells, given.kills, given.parallel, given.entries, given.seed))
    print(json.dumps(found) if given.json else "\n".join(f"{name}: {value}" for name, value in found.items()))
    return 0 if not found["lost"] and not found["run_twice"] and found["bill_adds_up"] else 1


if __name__ == "__main__":
    sys.exit(main())
