"""What waits to be written: bounded in bytes, filled by the app's threads, emptied by the writing thread."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from windtunnel.monitor import messages
from windtunnel.monitor.mcap.writer import Outgoing, Pieces

FRAME_CHANNEL, SENSOR_CHANNEL = 1, 2
# What Python needs for a waiting message in addition to its bytes.
OVERHEAD_BYTES = 600
# Values up to here are copied into new memory; larger ones into memory that is used again: fresh memory of the
# operating system takes longer than the copy.
SMALL_BYTES = 4096

Memory = npt.NDArray[np.uint8]


@dataclass(slots=True)
class Lost:
    """Frames that are missing before the next one, and why."""

    frames: int = 0
    reasons: tuple[str, ...] = ()

    def add(self, frames: int, *reasons: str) -> None:
        """Add frames.

        Args:
            frames: How many.
            *reasons: Why.
        """
        self.frames += frames
        self.reasons += tuple(reason for reason in reasons if reason not in self.reasons)


class Waiting(NamedTuple):
    """A message that waits, and what is missing before it."""

    message: Outgoing
    lost: Lost | None = None

    def outgoing(self, before: Lost) -> Outgoing:
        """Make the message that is written.

        Args:
            before: What is missing, in addition to what it knows itself.

        Returns:
            The message; a frame says what is missing.
        """
        lost = Lost(before.frames, before.reasons)
        if self.lost:
            lost.add(self.lost.frames, *self.lost.reasons)
        if not lost.frames:
            return self.message
        words = messages.lost(lost.frames, lost.reasons)
        m = self.message
        return m._replace(pieces=(*m.pieces, words), size=m.size + len(words))


class Backlog:
    """Messages that wait. Reserved are the bytes of these, of open frames, and of what is being written."""

    def __init__(self, capacity: int, flush_frames: int) -> None:
        """Begin empty.

        Args:
            capacity: Most bytes.
            flush_frames: How many messages make a chunk.
        """
        self.capacity = capacity
        self.wake = threading.Event()
        self.total_lost = 0
        self._flush_frames = flush_frames
        self._flush_bytes = capacity // 4
        # A signal handler of the app may use the monitor while its thread is within.
        self._lock = threading.RLock()
        self._waiting: list[Waiting] = []
        self._waiting_bytes = 0
        self._reserved = 0
        # Memory that was used and is free, by its size; `reserved` and `free` together keep within the capacity.
        self._free: dict[int, list[Memory]] = {}
        self._free_bytes = 0
        self._lost = Lost()

    def reserve(self, size: int) -> bool:
        """Ask for memory.

        Args:
            size: Bytes.

        Returns:
            Whether there is room.
        """
        with self._lock:
            return self._reserve(size)

    def _reserve(self, size: int) -> bool:
        if self._reserved + size > self.capacity:
            return False
        self._reserved += size
        if self._reserved + self._free_bytes > self.capacity:
            self._free.clear()
            self._free_bytes = 0
        return True

    def buffer(self, size: int) -> Memory | None:
        """Ask for memory for large values.

        Args:
            size: Bytes.

        Returns:
            Memory that is reserved, or None if there is no room.
        """
        with self._lock:
            free = self._free.get(size)
            memory = free.pop() if free else None
            if memory is not None:
                self._free_bytes -= size
            if not self._reserve(size):
                return None
        return np.empty(size, np.uint8) if memory is None else memory

    def release(self, size: int, pieces: Pieces) -> None:
        """Give memory back.

        Args:
            size: Bytes that were reserved.
            pieces: What was in the memory.
        """
        with self._lock:
            self._reserved -= size
            for piece in pieces:
                if isinstance(piece, memoryview):
                    self._free.setdefault(len(piece), []).append(piece.obj)  # type: ignore[arg-type]
                    self._free_bytes += len(piece)

    def put(self, message: Outgoing) -> None:
        """Add a message whose bytes are reserved.

        Args:
            message: The message.
        """
        with self._lock:
            lost = None
            if self._lost.frames and message.channel_id == FRAME_CHANNEL:
                lost, self._lost = self._lost, Lost()
            self._waiting.append(Waiting(message, lost))
            self._waiting_bytes += message.size
            full = len(self._waiting) >= self._flush_frames or self._waiting_bytes >= self._flush_bytes
        if full and not self.wake.is_set():
            self.wake.set()

    def lose(self, frames: int, reason: str) -> None:
        """Count frames that could not be kept.

        Args:
            frames: How many.
            reason: Why.
        """
        with self._lock:
            self.total_lost += frames
            self._lost.add(frames, reason)

    def still_lost(self) -> Lost:
        """Take what no later frame said.

        Returns:
            What is missing at the end.
        """
        with self._lock:
            lost, self._lost = self._lost, Lost()
        return lost

    def take(self) -> list[Waiting]:
        """Take what waits; its bytes stay reserved until `release`.

        Returns:
            The messages, in order.
        """
        with self._lock:
            waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        return waiting


def cost(message: Outgoing) -> int:
    """Memory that a waiting message takes.

    Args:
        message: The message.

    Returns:
        Bytes.
    """
    return message.size + OVERHEAD_BYTES
