"""What a farm run is expected to take and to cost, before it starts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from windtunnel.farm_dispatcher.domain.cells import Cell
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.farm_settings import FarmSettings
from windtunnel.farm_dispatcher.domain.money import micro_usd

# Time that a farm bills before the first job runs: it prepares the device and copies files.
START_S: Final = 30.0
# Time of one job: a benchmark warms up, runs for a second or more, and ends; files are pushed before and pulled after.
JOB_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """What cells are expected to cost on one farm. Money is in millionths of a US dollar; None: the farm is free.

    Attributes:
        farm: what farms.yaml says of it.
        cells: how many run there.
        farm_runs: that carry them.
        billed_minutes: of all farm runs; 0 if the farm is free.
        cost: of all farm runs.
        unpacked: the same if every cell had a farm run of its own.
    """

    farm: FarmSettings
    cells: int
    farm_runs: int
    billed_minutes: Decimal = Decimal(0)
    cost: int | None = None
    unpacked: int | None = None


def expected_minutes(jobs: int) -> Decimal:
    """Minutes that a farm bills for a farm run: farms bill every started minute.

    Args:
        jobs: how many run one after the other.

    Returns:
        Whole minutes.
    """
    return Decimal(math.ceil((START_S + jobs * JOB_S) / 60))


def expected_cost(device: Device, jobs: int) -> int | None:
    """What a farm run is expected to cost.

    Args:
        device: that runs it.
        jobs: how many run one after the other.

    Returns:
        In millionths of a US dollar; None: the farm bills nothing.
    """
    if device.price_per_minute_usd is None:
        return None
    return micro_usd(device.price_per_minute_usd * expected_minutes(jobs))


def pack_sizes(jobs: int, entries: int) -> Sequence[int]:
    """How many jobs each of several farm runs carries.

    Args:
        jobs: of one device.
        entries: at most so many in a farm run.

    Returns:
        One number for each farm run.
    """
    full, left = divmod(jobs, entries)
    return [entries] * full + ([left] if left else [])


def estimate(farm: FarmSettings, devices: Iterable[Device], cells: Iterable[Cell]) -> CostEstimate | None:
    """What the cells of one farm are expected to cost if they are ready together.

    Args:
        farm: what farms.yaml says of it.
        devices: that it offers.
        cells: of a plan, those of other farms and those that cannot run too.

    Returns:
        None: none of the cells runs on this farm.
    """
    places = Counter(
        (cell.device, cell.os_version, cell.run_as) for cell in cells if cell.farm == farm.name and not cell.skip_reason
    )
    if not places:
        return None
    prices = {(device.name, device.os_version): device for device in devices}
    runs, minutes = 0, Decimal(0)
    costs: list[tuple[int, int]] = []
    for (name, os_version, _), count in places.items():
        sizes = pack_sizes(count, farm.entries)
        runs += len(sizes)
        device = prices[name, os_version]
        packed = [expected_cost(device, size) for size in sizes]
        alone = expected_cost(device, 1)
        if alone is not None:
            costs.append((sum(cost or 0 for cost in packed), count * alone))
            minutes += sum(map(expected_minutes, sizes), Decimal(0))
    cost, unpacked = (sum(part) for part in zip(*costs, strict=True)) if costs else (None, None)
    return CostEstimate(farm, sum(places.values()), runs, minutes, cost, unpacked)
