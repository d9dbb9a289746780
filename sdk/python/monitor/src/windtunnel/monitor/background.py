"""The thread that writes: it takes what waits at every flush, and never lets the app wait for the disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from windtunnel.monitor.backlog import FRAME_CHANNEL, Backlog, Lost, Waiting, cost
from windtunnel.monitor.facts import resident_bytes
from windtunnel.monitor.guard import Faults
from windtunnel.monitor.log_files import LogFiles
from windtunnel.monitor.mcap.records import Metadata


class Background:
    """Writes the backlog to the files."""

    def __init__(
        self, backlog: Backlog, files: LogFiles, flush_s: float, facts: Callable[[], dict[str, str]], faults: Faults
    ) -> None:
        """Start nothing yet.

        Args:
            backlog: What is to be written.
            files: Where to.
            flush_s: Longest time between two flushes, in seconds.
            facts: Gives the metadata of a file.
            faults: Counts what goes wrong.
        """
        self._backlog, self._files, self._flush_s = backlog, files, flush_s
        self._facts, self._faults = facts, faults
        self._thread: threading.Thread | None = None
        self._starting = threading.RLock()
        self._state = threading.Condition()
        self._asked = self._done = 0
        self._stopping = False
        self._missing = Lost()
        self._recorded = 0
        # Resident memory at the last flush, for the next frame; 0: no frame waits for it.
        self.memory_bytes = 0

    def start(self) -> None:
        """Start the thread, once."""
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name="windtunnel-monitor", daemon=True)
                    thread.start()
                    self._thread = thread

    def flush(self, wait_s: float) -> bool:
        """Ask for a flush of all that waits now.

        Args:
            wait_s: How long to wait for it at most, in seconds.

        Returns:
            Whether it was done in this time.
        """
        self.start()
        with self._state:
            self._asked += 1
            asked = self._asked
            self._backlog.wake.set()
            return self._state.wait_for(lambda: self._done >= asked, wait_s)

    def stop(self, wait_s: float) -> bool:
        """Flush, close the file, and end the thread.

        Args:
            wait_s: How long to wait for it at most, in seconds.

        Returns:
            Whether it was done in this time.
        """
        thread = self._thread
        self._stopping = True
        self._backlog.wake.set()
        if thread is None:
            return True
        thread.join(wait_s)
        return not thread.is_alive()

    def _run(self) -> None:
        while True:
            self._backlog.wake.wait(self._flush_s)
            self._backlog.wake.clear()
            stopping = self._stopping
            with self._state:
                asked = self._asked
            try:
                self._flush()
                if stopping:
                    self._files.close(self._end())
            except Exception as error:  # noqa: BLE001 - the thread outlives whatever happens
                self._faults.count("write", error)
            with self._state:
                self._done = asked
                self._state.notify_all()
            if stopping:
                return

    def _flush(self) -> None:
        gone = self._files.vanished()
        if gone:
            self._lose(gone, "a file of the log was deleted")
        waiting = self._backlog.take()
        if not waiting:
            return
        self.memory_bytes = resident_bytes()
        try:
            self._write(waiting)
        finally:
            for item in waiting:
                self._backlog.release(cost(item.message), item.message.pieces)

    def _write(self, waiting: list[Waiting]) -> None:
        frames = 0
        outgoing = []
        for item in waiting:
            if item.message.channel_id != FRAME_CHANNEL:
                outgoing.append(item.message)
                continue
            outgoing.append(item.outgoing(Lost() if frames else self._missing))
            frames += 1
        try:
            self._files.write(outgoing, self._facts, frames)
        except Exception as error:  # noqa: BLE001 - counted, and said by the next frame that is stored
            self._faults.count("write", error)
            for item in waiting:
                if item.lost:
                    self._missing.add(item.lost.frames, *item.lost.reasons)
            self._lose(frames, f"frames: not written: {getattr(error, 'strerror', None) or error}")
            return
        self._recorded += frames
        if frames:
            self._missing = Lost()

    def _lose(self, frames: int, reason: str) -> None:
        self._missing.add(frames, reason)
        self._backlog.total_lost += frames

    def _end(self) -> Metadata:
        """What the session says at its end."""
        lost = self._backlog.still_lost()
        self._missing.add(lost.frames, *lost.reasons)
        words = {
            "frames_recorded": str(self._recorded),
            "frames_lost": str(self._backlog.total_lost),
            "frames_lost_at_end": str(self._missing.frames),
            "left_out": "; ".join(self._missing.reasons),
            "faults": "; ".join(f"{where}: {count}" for where, count in self._faults.counts.items()),
            "closed": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        return Metadata("windtunnel.end", {key: value for key, value in words.items() if value})
