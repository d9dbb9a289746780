"""Quarantine of devices on which the farm fails again and again.

After `LIMIT` failures in a row a device gets no cell for a while, which doubles with every further failure. Then one
farm run probes it: a success ends the quarantine, a failure makes it longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from windtunnel.farm_dispatcher.messages.timestamps import from_timestamp, to_timestamp
from windtunnel.farm_dispatcher.use_cases.stored.records import Records, Stored
from windtunnel.v1 import farm_runs_pb2

LIMIT: Final = 3
FIRST_S: Final = 60.0
LONGEST_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Health:
    """How reliable a device has been.

    Attributes:
        failures: of its farm, in a row.
        quarantined_until: no cell is sent to it before; None: it is not in quarantine.
    """

    failures: int
    quarantined_until: datetime | None

    def may_run(self, now: datetime) -> bool:
        """Whether the device gets cells.

        Args:
            now: the time.
        """
        return self.quarantined_until is None or self.quarantined_until <= now

    @property
    def is_probed(self) -> bool:
        """Whether its next farm run is a probe, which carries one cell."""
        return self.failures >= LIMIT


class DeviceRecords:
    """How reliable the devices of a farm have been.

    Args:
        records: hold it.
        farm: its name.
    """

    def __init__(self, records: Records, farm: str) -> None:
        self._records = records
        self._farm = farm

    async def read(self, tag: str) -> Health:
        """How reliable a device has been.

        Args:
            tag: of the device.

        Returns:
            What is known of it.
        """
        record = (await self._read(tag)).message
        until = from_timestamp(record.quarantined_until) if record.HasField("quarantined_until") else None
        return Health(record.failures, until)

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
