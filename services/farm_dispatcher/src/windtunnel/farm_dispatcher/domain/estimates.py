"""What a farm run is expected to take and to cost, before it starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.money import micro_usd

# Time that a farm bills before the first job runs: it prepares the device and copies files.
START_S: Final = 30.0
# Time of one job: a benchmark warms up, runs for a second or more, and ends; files are pushed before and pulled after.
JOB_S: Final = 20.0


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
