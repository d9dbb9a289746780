"""Quarantine of devices on which the farm fails again and again.

After `LIMIT` failures in a row a device gets no cell for a while, which doubles with every further failure. Then one
farm run probes it: a success ends the quarantine, a failure makes it longer.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from windtunnel.farm_dispatcher.messages.timestamps import from_timestamp, to_timestamp
from windtunnel.farm_dispatcher.use_cases.stored.records import Records, Stored
from windtunnel.v1 import farm_runs_pb2

LIMIT: Final = 3
FIRST_S: Final = 60.0
LONGEST_S: Final = 3600.0


class DeviceRecords:
    """How reliable the devices of a farm have been.

    Args:
        records: hold it.
        farm: its name.
    """

    def __init__(self, records: Records, farm: str) -> None:
        self._records = records
        self._farm = farm

    async def may_run(self, tag: str, now: datetime) -> bool:
        """Whether a device gets cells.

        Args:
            tag: of the device.
            now: the time.
        """
        stored = await self._read(tag)
        until = stored.message.quarantined_until if stored.message.HasField("quarantined_until") else None
        return until is None or from_timestamp(until) <= now

    async def is_probed(self, tag: str) -> bool:
        """Whether the next farm run of a device is a probe, which carries one cell.

        Args:
            tag: of the device.
        """
        return (await self._read(tag)).message.failures >= LIMIT

    async def note(self, tag: str, *, failed: bool, now: datetime) -> None:
        """Notes how a farm run ended.

        Args:
            tag: of the device.
            failed: whether the farm failed.
            now: the time.
        """
        while True:
            stored = await self._read(tag)
            if not failed and not stored.message.failures:
                return
            stored.message.CopyFrom(_after(stored.message.failures, failed, now))
            if await self._records.write(stored):
                return

    async def _read(self, tag: str) -> Stored[farm_runs_pb2.DeviceHealth]:
        key = f"health.{self._farm}.{tag}"
        found = await self._records.read(key, farm_runs_pb2.DeviceHealth)
        return found or Stored(key, farm_runs_pb2.DeviceHealth(), 0)


def _after(failures: int, failed: bool, now: datetime) -> farm_runs_pb2.DeviceHealth:
    if not failed:
        return farm_runs_pb2.DeviceHealth()
    failures += 1
    until = None
    if failures >= LIMIT:
        until = to_timestamp(now + timedelta(seconds=min(LONGEST_S, FIRST_S * 2.0 ** (failures - LIMIT))))
    return farm_runs_pb2.DeviceHealth(failures=failures, quarantined_until=until)
