"""The records of farm runs in their bucket: which keys there are, and what each of them holds.

    queue.<farm>.<device>.<name>   a cell that waits
    taken.<farm>.<name>            a cell that a farm run has
    run.<farm>.<key>               a farm run
    ended.<farm>.<key>             a farm run that has ended, for people
    lease.<farm>                   who leads the farm
    ledger.<scope>                 what was spent
    health.<farm>.<device>         how reliable a device has been

A cell moves from `queue` to `taken` by a creation, which only one can do, and back by another one. Both may exist for a
moment if a process dies in between: the higher attempt counts, and of two equal ones the taken cell.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from google.protobuf.message import Message

from windtunnel.bus import Bucket
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.v1 import farm_dispatcher_pb2, farm_runs_pb2, types_pb2

M = TypeVar("M", bound=Message)
_TAG_DIGITS: Final = 16


@dataclass(slots=True)
class Stored(Generic[M]):
    """A record as it was read or written last. Its message is changed in place and then written."""

    key: str
    message: M
    revision: int


def device_tag(name: str, os_version: str) -> str:
    """A device in a key.

    Args:
        name: as the farm knows it.
        os_version: of the device.

    Returns:
        Letters and digits.
    """
    return hashlib.sha256(f"{name}\0{os_version}".encode()).hexdigest()[:_TAG_DIGITS]


def tag_of(place: types_pb2.Cell | farm_dispatcher_pb2.Device | Device) -> str:
    """The device of a cell in a key.

    Args:
        place: a cell, or a device itself.

    Returns:
        Letters and digits.
    """
    name = place.device if isinstance(place, types_pb2.Cell) else place.name
    return device_tag(name, place.os_version)


class Records:
    """The records of all farms.

    Args:
        bucket: holds them.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def revision(self) -> str:
        """Changes with every write."""
        return await self._bucket.revision()

    async def read(self, key: str, kind: type[M]) -> Stored[M] | None:
        """Reads a record.

        Args:
            key: of the record.
            kind: of its message.

        Returns:
            None: there is none.
        """
        found = await self._bucket.read(key)
        return None if found is None else Stored(found.key, kind.FromString(found.value), found.revision)

    async def create(self, key: str, message: M) -> Stored[M] | None:
        """Writes a record that must not exist.

        Args:
            key: of the record.
            message: its content.

        Returns:
            None: it exists.
        """
        stored = Stored(key, message, 0)
        return stored if await self.write(stored) else None

    async def write(self, stored: Stored[M]) -> bool:
        """Writes a record that nobody else has written since it was read.

        Args:
            stored: with its new content. Its revision is brought up to date.

        Returns:
            False: somebody else has written it, and nothing was written now.
        """
        value = stored.message.SerializeToString(deterministic=True)
        revision = await self._bucket.update(stored.key, value, stored.revision)
        if revision is None:
            return False
        stored.revision = revision
        return True

    async def forget(self, key: str) -> None:
        """Removes a record.

        Args:
            key: of the record.
        """
        await self._bucket.forget(key)

    async def queued(self, farm: str, limit: int, *, after: int = 0) -> list[Stored[farm_runs_pb2.QueuedCell]]:
        """Cells of a farm that wait, the longest waiting first.

        Args:
            farm: its name.
            limit: at most so many.
            after: only those with a later revision.

        Returns:
            The cells.
        """
        return await self._page(f"queue.{farm}", farm_runs_pb2.QueuedCell, limit, after)

    async def queued_for(self, farm: str, tag: str, limit: int) -> list[Stored[farm_runs_pb2.QueuedCell]]:
        """Cells that wait for one device.

        Args:
            farm: its name.
            tag: of the device.
            limit: at most so many.

        Returns:
            The cells, the longest waiting first.
        """
        return await self._page(f"queue.{farm}.{tag}", farm_runs_pb2.QueuedCell, limit, 0)

    async def runs(self, farm: str, limit: int, *, after: int = 0) -> list[Stored[farm_runs_pb2.FarmRun]]:
        """Farm runs of a farm that have not ended.

        Args:
            farm: its name.
            limit: at most so many.
            after: only those with a later revision.

        Returns:
            The farm runs.
        """
        return await self._page(f"run.{farm}", farm_runs_pb2.FarmRun, limit, after)

    async def ended(self, farm: str, limit: int, *, after: int = 0) -> list[Stored[farm_runs_pb2.FarmRun]]:
        """Farm runs of a farm that have ended, the oldest first.

        Args:
            farm: its name.
            limit: at most so many.
            after: only those with a later revision.

        Returns:
            The farm runs.
        """
        return await self._page(f"ended.{farm}", farm_runs_pb2.FarmRun, limit, after)

    async def _page(self, prefix: str, kind: type[M], limit: int, after: int) -> list[Stored[M]]:
        found = await self._bucket.page(prefix, limit, after=after)
        return [Stored(one.key, kind.FromString(one.value), one.revision) for one in found]


def queue_key(entry: farm_runs_pb2.QueuedCell, name: str) -> str:
    """Where a cell waits.

    Args:
        entry: the cell.
        name: of it in farm runs.

    Returns:
        The key.
    """
    return f"queue.{entry.cell.farm}.{tag_of(entry.cell)}.{name}"


def taken_key(farm: str, name: str) -> str:
    """Where a cell is while a farm run has it.

    Args:
        farm: its name.
        name: of the cell in farm runs.

    Returns:
        The key.
    """
    return f"taken.{farm}.{name}"


def run_key(farm: str, key: str) -> str:
    """Where a farm run is.

    Args:
        farm: its name.
        key: of the farm run.

    Returns:
        The key.
    """
    return f"run.{farm}.{key}"


def ended_key(farm: str, key: str) -> str:
    """Where a farm run is once it has ended.

    Args:
        farm: its name.
        key: of the farm run.

    Returns:
        The key.
    """
    return f"ended.{farm}.{key}"


def name_in(key: str) -> str:
    """The last part of a key: the name of a cell, or the key of a farm run.

    Args:
        key: of a record.

    Returns:
        The name.
    """
    return key.rpartition(".")[2]
