"""The edge monitor: records what an app feeds its model and what comes out.

    monitor = Monitor("edge-log", level="io", model="model.tflite", app="camera", app_version="1.4")
    interpreter = monitor.interpreter(interpreter)

No method raises an error of the monitor into the app, and only `flush` and `close` wait for the disk.
"""

from __future__ import annotations

import atexit
import inspect
import itertools
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast

from windtunnel.monitor import facts, messages
from windtunnel.monitor.background import Background
from windtunnel.monitor.backlog import SENSOR_CHANNEL, Backlog, cost
from windtunnel.monitor.frame import NO_FRAME, Frame, NoFrame, SkippedFrame, current_frame
from windtunnel.monitor.guard import Faults, guarded
from windtunnel.monitor.interpreter import MonitoredInterpreter
from windtunnel.monitor.log_files import LogFiles
from windtunnel.monitor.mcap.writer import Outgoing
from windtunnel.monitor.messages import LEVELS, Level
from windtunnel.monitor.settings import Redaction, checked_bounds, checked_selection, level_named

P = ParamSpec("P")
R = TypeVar("R")


class Monitor:
    """Records frames into a folder of edge logs. Threads may share it, each with frames of its own."""

    def __init__(
        self,
        folder: str | PathLike[str],
        level: str = "io",
        *,
        model: str | PathLike[str] | None = None,
        app: str = "",
        app_version: str = "",
        pipeline: str | PathLike[str] | Mapping[str, Any] | None = None,
        every: int = 1,
        every_s: float | None = None,
        raw: bool = False,
        redact: Redaction | None = None,
        redacts: Sequence[str] = ("*",),
        memory_bytes: int = 4_000_000,
        file_bytes: int = 32_000_000,
        disk_bytes: int = 256_000_000,
        flush_frames: int = 64,
        flush_s: float = 2.0,
        **device: Any,
    ) -> None:
        """Make a monitor. Files are made with the first frame, by a thread of its own.

        Args:
            folder: Where the log lies; it is made.
            level: "off", "statistics", "io" or "layers".
            model: Path of the model's file, or its SHA-256.
            app: Name of the app.
            app_version: Its version.
            pipeline: Path of a pipeline.json, or what it holds: what the app means to do before the model.
            every: Record every n-th frame.
            every_s: Record a frame only if that many seconds passed since the last recorded one.
            raw: Record raw samples too. They may show persons: think of `redact`.
            redact: Called as redact(role, name, array) with a copy of each array (or a text) before it is recorded;
                gives what may be recorded, or None for nothing.
            redacts: Names of what `redact` may change, for the log.
            memory_bytes: Most memory of the monitor.
            file_bytes: A file is closed at this size.
            disk_bytes: The oldest files are deleted at this size of all.
            flush_frames: A chunk is written after so many frames.
            flush_s: And after so many seconds.
            **device: More facts of the device or the app, such as runtime="LiteRT 2.3" or accelerator="gpu".

        Raises:
            ValueError: A level is unknown, a bound is not positive, or `redact` is not a function.
        """
        self._configured = level_named(level)
        self._selection = checked_selection(every, every_s)
        if redact is not None and not callable(redact):
            raise ValueError(f"redact={redact!r}: give a function of the role, the name and the value")
        bounds = {"memory_bytes": memory_bytes, "file_bytes": file_bytes, "disk_bytes": disk_bytes}
        self._bounds = checked_bounds({**bounds, "flush_frames": flush_frames, "flush_s": flush_s})
        self.raw, self.redact = raw, redact
        self.faults = Faults()
        self._folder = Path(folder)
        self._model, self._pipeline = model, pipeline
        self._facts = {"app": app, "app_version": app_version, **facts.device_facts()}
        if redact is not None:
            self._facts["redacted"] = ",".join(redacts)
        self._facts.update({name: str(value) for name, value in device.items()})
        self._read_facts: dict[str, str] | None = None
        self._begin_session()
        _living.add(self)

    def _begin_session(self) -> None:
        """Begin as a process with nothing recorded."""
        bounds = self._bounds
        self._session = facts.new_session()
        self._numbers = itertools.count()
        self._sensor_numbers = itertools.count()
        self._last_s = float("-inf")
        self._closing = threading.RLock()
        self._closed = False
        self._level = self._configured
        self.backlog = Backlog(bounds.backlog_bytes, bounds.flush_frames)
        self._files = LogFiles(self._folder, self._session, bounds.file_bytes, bounds.disk_bytes)
        self._background = Background(self.backlog, self._files, bounds.flush_s, self._metadata, self.faults)

    @property
    def session(self) -> str:
        """Name of the session, with which its files begin."""
        return self._session

    @property
    def frames_lost(self) -> int:
        """Frames that should have been recorded and were not."""
        return self.backlog.total_lost

    @property
    def level(self) -> str:
        """How much is recorded; it may be set at any time."""
        return LEVELS[self._configured]

    @level.setter
    def level(self, level: str) -> None:
        try:
            self._configured = level_named(level)
        except ValueError as error:
            self.faults.count("level", error)
            return
        if not self._closed:
            self._level = self._configured

    def frame(self, raw: Any = None, label: int | None = None, sample_rate_hz: float = 0.0) -> Frame | NoFrame:
        """Begin a frame: `with monitor.frame(raw=image) as frame:`.

        Args:
            raw: The raw sample: an image, audio or a text. Recorded only by a monitor with raw=True.
            label: Class index of the ground truth, if the app knows it.
            sample_rate_hz: Rate of raw audio, in Hz.

        Returns:
            The frame, or one that records nothing.
        """
        number = next(self._numbers)
        if not self._level:
            return NO_FRAME
        return self._selected(number, raw, label, sample_rate_hz) or NO_FRAME

    @guarded
    def _selected(self, number: int, raw: Any, label: int | None, sample_rate_hz: float) -> Frame | NoFrame:
        selection = self._selection
        if number % selection.every:
            return SkippedFrame(self)
        if selection.every_s is not None:
            now = time.monotonic()
            if now - self._last_s < selection.every_s:
                return SkippedFrame(self)
            self._last_s = now
        self._background.start()
        return Frame(self, self._level, number, raw, label, sample_rate_hz)

    def current_frame(self) -> Frame | NoFrame:
        """Find the frame that is open in this thread or asynchronous task.

        Returns:
            The frame, or one that records nothing.
        """
        return (current_frame(self) if self._level else None) or NO_FRAME

    def frame_of_inference(self) -> tuple[Frame | NoFrame, bool]:
        """Find the open frame, or begin one for an inference outside a frame.

        Returns:
            The frame, and whether it is new.
        """
        frame = current_frame(self)
        return (frame, False) if frame is not None else (self.frame(), True)

    @property
    def recording_level(self) -> int:
        """How much is recorded now: off after `close`."""
        return self._level

    def function(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function of the app: its calls within a frame are recorded.

        Args:
            function: The function.

        Returns:
            The function that records its input, output and time under its name.
        """
        name = getattr(function, "__name__", "function")

        if inspect.iscoroutinefunction(function):
            return cast(Callable[P, R], self._asynchronous(name, function))

        @wraps(function)
        def recorded(*args: P.args, **options: P.kwargs) -> R:
            frame: Frame | NoFrame | None = current_frame(self) if self._level else None
            return function(*args, **options) if frame is None else frame.call(name, function, *args, **options)

        return recorded

    def _asynchronous(self, name: str, function: Any) -> Any:
        @wraps(function)
        async def recorded(*args: Any, **options: Any) -> Any:
            frame = current_frame(self) if self._level else None
            if not isinstance(frame, Frame):
                return await function(*args, **options)
            return await frame.call_async(name, function, *args, **options)

        return recorded

    def interpreter(self, interpreter: Any) -> Any:
        """Wrap an interpreter of LiteRT or TensorFlow Lite: every inference is recorded.

        Args:
            interpreter: The interpreter.

        Returns:
            One that is used the same way. An inference outside a frame makes a frame of its own.
        """
        wrapped = self._wrapped(interpreter)
        return interpreter if wrapped is None else wrapped

    @guarded
    def _wrapped(self, interpreter: Any) -> Any:
        return MonitoredInterpreter(self, interpreter)

    @guarded
    def describe(self, **device: Any) -> None:
        """Add facts of the device or the app; they are in the files that begin later.

        Args:
            **device: The facts by name; those that are known already stay.
        """
        for name, value in device.items():
            self._facts.setdefault(name, str(value))

    @guarded
    def sensor(self, name: str, values: Sequence[float]) -> None:
        """Record what a sensor says.

        Args:
            name: "orientation" (degrees), "light" (lux), "motion" (m/s^2), or a name of the app's.
            values: What it says.
        """
        if not self._level:
            return
        now = time.time_ns()
        data = messages.sensor_reading(now, name, [float(value) for value in values])
        reading = Outgoing(SENSOR_CHANNEL, next(self._sensor_numbers), now, (data,), len(data))
        if self.backlog.reserve(cost(reading)):
            self._background.start()
            self.backlog.put(reading)
        else:
            self.faults.count("sensor", "readings are left out: over the memory bound")

    def flush(self, wait_s: float = 2.0) -> bool:
        """Write what waits, so that a killed app does not lose it.

        Args:
            wait_s: How long to wait for that at most, in seconds; 0: only ask for it.

        Returns:
            Whether it was handed to the operating system in this time.
        """
        return bool(self._flush(wait_s))

    @guarded
    def _flush(self, wait_s: float) -> bool:
        return self._closed or self._background.flush(wait_s)

    def close(self, wait_s: float = 5.0) -> bool:
        """Write what waits, and the summary; later frames are not recorded. Done at the end of the process too.

        Args:
            wait_s: How long to wait for that at most, in seconds.

        Returns:
            Whether it was done in this time.
        """
        return bool(self._close(wait_s))

    @guarded
    def _close(self, wait_s: float) -> bool:
        with self._closing:
            if self._closed:
                return True
            self._closed, self._level = True, Level.OFF
        return self._background.stop(wait_s)

    def __enter__(self) -> Self:
        """Use the monitor until the block ends."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close it.

        Args:
            kind: Type of the error that ends it, or None.
            error: The error.
            at: Where it was raised.
        """
        self.close()

    def take_memory(self) -> int:
        """Take the resident memory at the last flush.

        Returns:
            Bytes, once; then 0 until the next flush.
        """
        memory, self._background.memory_bytes = self._background.memory_bytes, 0
        return memory

    def _metadata(self) -> dict[str, str]:
        """What a file begins with. Called by the writing thread, which reads the model and the pipeline once."""
        if self._read_facts is None:
            self._read_facts = self._read()
        words = {
            "session": self._session,
            "schema": facts.SCHEMA,
            "level": self.level,
            **self._read_facts,
            **self._facts,
        }
        return {name: value for name, value in words.items() if value}

    def _read(self) -> dict[str, str]:
        words = {}
        try:
            if self._model is not None:
                words["model_sha256"] = facts.model_sha256(self._model)
        except OSError as error:
            self.faults.count("model", error)
        try:
            if self._pipeline is not None:
                words["pipeline"] = facts.pipeline_json(self._pipeline)
        except (OSError, TypeError, ValueError) as error:
            self.faults.count("pipeline", error)
        return words

    def after_fork(self) -> None:
        """In a child process: begin a session of its own; what waits is the parent's to write."""
        self._files.forget()
        self.faults = Faults()
        closed = self._closed
        self._begin_session()
        if closed:
            self._closed, self._level = True, Level.OFF
        # Processes of multiprocessing end without atexit.
        util: Any = sys.modules.get("multiprocessing.util")
        if util is not None:
            util.register_after_fork(self, _close_at_end_of_process)


def _close_at_end_of_process(monitor: Monitor) -> None:
    """In a process of multiprocessing, after it forgot what its parent had registered."""
    sys.modules["multiprocessing.util"].Finalize(monitor, monitor.close, exitpriority=0)


_living: weakref.WeakSet[Monitor] = weakref.WeakSet()


def _after_fork() -> None:
    for monitor in list(_living):
        monitor.after_fork()


def _close_all() -> None:
    for monitor in list(_living):
        monitor.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_close_all)
