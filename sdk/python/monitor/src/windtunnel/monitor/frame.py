"""One frame of the app, from the raw sample to the result: what is recorded of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from windtunnel.monitor import messages, statistics
from windtunnel.monitor.backlog import FRAME_CHANNEL, OVERHEAD_BYTES, SMALL_BYTES, Backlog
from windtunnel.monitor.guard import Faults, guarded
from windtunnel.monitor.mcap.writer import Buffer, Outgoing
from windtunnel.monitor.messages import Level, Role, TimingKind
from windtunnel.monitor.settings import Redaction

R = TypeVar("R")
_WORDS = {
    Role.RAW: "raw",
    Role.INPUT: "input",
    Role.OUTPUT: "output",
    Role.LAYER: "layer",
    Role.FUNCTION_INPUT: "function_input",
    Role.FUNCTION_OUTPUT: "function_output",
    Role.POSTPROCESSED: "postprocessed",
}  # fmt: skip
_OVER_MEMORY = "over the memory bound"


class Recorder(Protocol):
    """What frames need of their monitor."""

    backlog: Backlog
    faults: Faults
    redact: Redaction | None
    raw: bool

    def take_memory(self) -> int:
        """Resident memory, for the first frame after a flush, or 0."""
        ...


class Frame:
    """A frame that is recorded; `with monitor.frame() as frame:`. No method raises an error of the monitor."""

    __slots__ = (
        "_begin", "_closed", "_label", "_left_out", "_level", "_lost", "_number", "_pieces", "_raw", "_recorder",
        "_reserved", "_sample_rate", "_time", "_timings", "_token", "_values", "outer",
    )  # fmt: skip

    def __init__(
        self, recorder: Recorder, level: int, number: int, raw: Any, label: int | None, sample_rate_hz: float
    ) -> None:
        """Begin the frame.

        Args:
            recorder: Its monitor.
            level: How much is recorded.
            number: Its number in the session.
            raw: The raw sample, or None.
            label: Class index of the ground truth, if the app knows it.
            sample_rate_hz: Rate of raw audio, or 0.
        """
        self._recorder = recorder
        self._level = level
        self._number = number
        self._raw, self._label, self._sample_rate = raw, label, sample_rate_hz
        self._pieces: list[Buffer] = []
        self._timings: list[bytes] = []
        self._values: dict[str, str] = {}
        self._left_out: list[str] = []
        self._reserved = 0
        self._closed = self._lost = False
        self._token: Token[Frame | SkippedFrame | None] | None = None
        self.outer: Frame | SkippedFrame | None = None
        self._time = time.time_ns()
        self._begin = time.perf_counter_ns()

    @property
    def faults(self) -> Faults:
        """Where errors of the monitor are counted."""
        return self._recorder.faults

    @property
    def recorder(self) -> Recorder:
        """The monitor of the frame."""
        return self._recorder

    @property
    def level(self) -> int:
        """How much is recorded of the frame."""
        return self._level

    def __enter__(self) -> Self:
        """Make it the frame of this thread, or of this asynchronous task."""
        self.outer = _current.get()
        self._token = _current.set(self)
        if self._raw is not None and self._recorder.raw:
            self._tensor(Role.RAW, "", self._raw)
        self._raw = None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End it. An error of the app is noted by its name and is raised as usual.

        Args:
            kind: Type of the error that ends it, or None.
            error: The error.
            at: Where it was raised.
        """
        if kind is not None:
            self._left_out.append(f"frame: the app raised {kind.__name__}")
        self.end()

    def __del__(self) -> None:
        """End a frame that the app dropped: its memory is needed."""
        if not self._closed:
            self.leave_out("frame: the app did not end it")
            self.end()

    def input(self, value: Any, name: str = "", scale: float = 0.0, zero_point: int = 0) -> None:
        """Record an input of the model, as it is fed.

        Args:
            value: The array.
            name: Its name, if the model has several.
            scale: Of a quantized input: the real number of one unit.
            zero_point: Of a quantized input: the integer that stands for 0.
        """
        self._tensor(Role.INPUT, name, value, scale, zero_point)

    def output(self, value: Any, name: str = "", scale: float = 0.0, zero_point: int = 0) -> None:
        """Record an output of the model.

        Args:
            value: The array.
            name: Its name, if the model has several.
            scale: Of a quantized output: the real number of one unit.
            zero_point: Of a quantized output: the integer that stands for 0.
        """
        self._tensor(Role.OUTPUT, name, value, scale, zero_point)

    def layer(
        self, name: str, value: Any, scale: float = 0.0, zero_point: int = 0, op_index: int | None = None
    ) -> None:
        """Record the output of a layer: its values at level `layers`, its statistics at the levels below.

        Args:
            name: Name of the tensor.
            value: The array.
            scale: Of a quantized tensor: the real number of one unit.
            zero_point: Of a quantized tensor: the integer that stands for 0.
            op_index: Index of the op that gives it, in the order of execution.
        """
        self._tensor(Role.LAYER, name, value, scale, zero_point, op_index)

    def postprocessed(self, name: str, value: Any) -> None:
        """Record what the app made of the outputs.

        Args:
            name: What it is, for example "boxes".
            value: Numbers or a text.
        """
        self._tensor(Role.POSTPROCESSED, name, value)

    def call(self, name: str, function: Callable[..., R], *args: Any, **options: Any) -> R:
        """Call a function of the app and record what it was given, what it returned and how long it took.

        Args:
            name: Name of the function in the log.
            function: The function.
            *args: Its arguments; arrays, images, numbers and texts among them are recorded.
            **options: Its named arguments, the same.

        Returns:
            What the function returned.
        """
        self._parts(Role.FUNCTION_INPUT, name, (args, options))
        with self.stage(name):
            result = function(*args, **options)
        self._parts(Role.FUNCTION_OUTPUT, name, result)
        return result

    async def call_async(self, name: str, function: Callable[..., Awaitable[R]], *args: Any, **options: Any) -> R:
        """Call an asynchronous function of the app and record the same as `call`.

        Args:
            name: Name of the function in the log.
            function: The function.
            *args: Its arguments.
            **options: Its named arguments.

        Returns:
            What the function returned.
        """
        self._parts(Role.FUNCTION_INPUT, name, (args, options))
        with self.stage(name):
            result = await function(*args, **options)
        self._parts(Role.FUNCTION_OUTPUT, name, result)
        return result

    def stage(self, name: str) -> Stage:
        """Measure a stage: `with frame.stage("resize"):`.

        Args:
            name: Its name.

        Returns:
            What measures it.
        """
        return Stage(self, TimingKind.STAGE, name)

    def inference(self) -> Stage:
        """Measure the inference: `with frame.inference():`.

        Returns:
            What measures it.
        """
        return Stage(self, TimingKind.INFERENCE, "")

    @guarded
    def layer_time(self, name: str, elapsed_s: float, op: str = "") -> None:
        """Record how long a layer took, if the runtime gives it.

        Args:
            name: Name of its output tensor.
            elapsed_s: How long, in seconds.
            op: Its op, for example "CONV_2D".
        """
        self._timings.append(messages.timing(TimingKind.LAYER, name, int(elapsed_s * 1e9), 0, op))

    @guarded
    def note(self, **values: Any) -> None:
        """Record facts of the app.

        Args:
            **values: The facts by name, stored as texts.
        """
        self._values.update({key: str(value) for key, value in values.items()})

    @guarded
    def leave_out(self, words: str) -> None:
        """Say what is missing in the frame, and why.

        Args:
            words: For example "layers: the runtime does not give them".
        """
        if words not in self._left_out:
            self._left_out.append(words)

    @guarded
    def timed(self, kind: int, name: str, begin_ns: int) -> None:
        """Record a time that ends now.

        Args:
            kind: What it belongs to.
            name: Its name.
            begin_ns: When it began, by `time.perf_counter_ns`.
        """
        now = time.perf_counter_ns()
        self._timings.append(messages.timing(kind, name, now - begin_ns, begin_ns - self._begin))

    @guarded
    def _parts(self, role: int, name: str, value: Any) -> None:
        """Record the recordable parts of a function's arguments or result; the only one has the function's name."""
        found = list(_recordable("", value))
        for path, part in found:
            self._tensor(role, name if len(found) == 1 else f"{name}{path}", part)

    @guarded
    def _tensor(
        self, role: int, name: str, value: Any, scale: float = 0.0, zero_point: int = 0, op_index: int | None = None
    ) -> None:
        if self._closed or self._lost:
            return
        try:
            array = messages.stored(value)
        except TypeError as error:
            self.leave_out(f"{_WORDS[role]} {name}: {error}".replace(" :", ":"))
            return
        element, shape = messages.element_of(array), () if isinstance(array, str) else array.shape
        redacted = False
        data: Buffer | None = b""
        figures = None
        if self._recorder.redact is not None:
            array, redacted = self._redacted(role, name, array)
            if array is not _DROPPED:
                element, shape = messages.element_of(array), () if isinstance(array, str) else array.shape
        if array is not _DROPPED:
            if self._level >= Level.IO and (role != Role.LAYER or self._level == Level.LAYERS):
                data = self._copied(role, array)
                if data is _LOST:
                    return
            if not data and not isinstance(array, str) and (data is None or self._level == Level.STATISTICS):
                figures = statistics.of(array)
        self._pieces += messages.tensor_pieces(
            (role, name, element, shape), data or b"", figures, (scale, zero_point, redacted, op_index)
        )

    def _copied(self, role: int, array: Any) -> Buffer | None:
        """The bytes of values, in memory of the backlog; None: they are too large; _LOST: so is the frame."""
        data = array.encode("utf-8", "replace") if isinstance(array, str) else None
        size = array.nbytes if data is None else len(data)
        backlog = self._recorder.backlog
        if self._reserved + size > backlog.capacity:
            self.leave_out(f"{_WORDS[role]}: {_OVER_MEMORY}")
            return None
        buffer = backlog.buffer(size) if data is None and size > SMALL_BYTES else None
        if buffer is None and not backlog.reserve(size):
            self._lost = True
            return _LOST
        self._reserved += size
        return data if data is not None else messages.bytes_of(array, buffer)

    def _redacted(self, role: int, name: str, array: Any) -> tuple[Any, bool]:
        """What the app's hook leaves of a value; if the hook fails, nothing."""
        assert self._recorder.redact is not None
        try:
            given = array if isinstance(array, str) else array.copy()
            kept = self._recorder.redact(_WORDS[role], name, given)
            if kept is None:
                return _DROPPED, True
            kept = messages.stored(kept)
        except Exception as error:  # noqa: BLE001 - what the hook did not see is not recorded
            self.faults.count("redact", error)
            self.leave_out(f"{_WORDS[role]}: the redaction hook failed")
            return _DROPPED, True
        if isinstance(kept, str) or isinstance(array, str):
            return kept, not (isinstance(kept, str) and kept == array)
        same = kept.dtype == array.dtype and kept.shape == array.shape and kept.tobytes() == array.tobytes()
        return kept, not same

    @guarded
    def end(self) -> None:
        """End the frame, if it is used without `with`."""
        if self._closed:
            return
        self._closed = True
        _leave(self._token, self.outer)
        elapsed = time.perf_counter_ns() - self._begin
        backlog = self._recorder.backlog
        if not self._lost:
            message = self._message(elapsed)
            # Values have their memory; the rest is asked for now.
            if backlog.reserve(message.size + OVERHEAD_BYTES - self._reserved):
                backlog.put(message)
                return
        backlog.release(self._reserved, self._pieces)
        backlog.lose(1, f"frames: {_OVER_MEMORY}")

    def _message(self, elapsed_ns: int) -> Outgoing:
        label = self._known_label()
        tail = messages.frame_tail(
            self._recorder.take_memory(), self._values, label, self._left_out, float(self._sample_rate or 0)
        )
        head = messages.frame_head(self._number, self._time, self._level)
        timings = (*self._timings, messages.timing(TimingKind.FRAME, "", elapsed_ns, 0))
        pieces: list[Buffer] = [head, *self._pieces, *timings, tail]
        if not self._reserved:
            pieces = [b"".join(pieces)]
        return Outgoing(FRAME_CHANNEL, self._number, self._time, pieces, sum(map(len, pieces)))

    def _known_label(self) -> int | None:
        if self._label is None:
            return None
        try:
            return int(self._label)
        except (TypeError, ValueError):
            self._values.setdefault("label", str(self._label))
            return None


# Stands for the values of a frame that is lost.
_LOST = bytes(1)
# Stands for a value that the redaction hook took away.
_DROPPED: Any = np.empty(0, np.uint8)


class Stage:
    """Measures a part of a frame."""

    __slots__ = ("_begin", "_frame", "_kind", "_name")

    def __init__(self, frame: Frame, kind: int, name: str) -> None:
        """Measure nothing yet.

        Args:
            frame: The frame.
            kind: What the time belongs to.
            name: Its name.
        """
        self._frame, self._kind, self._name = frame, kind, name
        self._begin = 0

    def __enter__(self) -> Self:
        """Begin."""
        self._begin = time.perf_counter_ns()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._frame.timed(self._kind, self._name, self._begin)


class NoStage:
    """Measures nothing."""

    __slots__ = ()

    def __enter__(self) -> Self:
        """Begin nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """End nothing."""


class NoFrame:
    """A frame of which nothing is recorded: the methods of `Frame`, as cheap as can be."""

    __slots__ = ()
    level = Level.OFF

    def __enter__(self) -> Self:
        """Begin nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """End nothing."""

    def _nothing(self, *args: Any, **options: Any) -> None:
        """Record nothing."""

    def _no_stage(self, name: str = "") -> NoStage:
        """Measure nothing."""
        return NO_STAGE

    input = output = layer = postprocessed = layer_time = note = leave_out = timed = end = _nothing
    stage = inference = _no_stage

    def call(self, name: str, function: Callable[..., R], *args: Any, **options: Any) -> R:
        """Call a function of the app.

        Args:
            name: Its name in the log.
            function: The function.
            *args: Its arguments.
            **options: Its named arguments.

        Returns:
            What the function returned.
        """
        return function(*args, **options)


class SkippedFrame(NoFrame):
    """A frame that was not selected; what happens within makes no frames of its own."""

    __slots__ = ("_token", "outer", "recorder")

    def __init__(self, recorder: Recorder) -> None:
        """Begin nothing.

        Args:
            recorder: Its monitor.
        """
        self.recorder = recorder
        self.outer: Frame | SkippedFrame | None = None
        self._token: Token[Frame | SkippedFrame | None] | None = None

    def __enter__(self) -> Self:
        """Make it the frame of this thread, or of this asynchronous task."""
        self.outer = _current.get()
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        _leave(self._token, self.outer)


def _leave(token: Token[Frame | SkippedFrame | None] | None, outer: Frame | SkippedFrame | None) -> None:
    if token is not None:
        try:
            _current.reset(token)
        except ValueError:  # ended in another task or thread than it began in
            _current.set(outer)


NO_STAGE = NoStage()
NO_FRAME = NoFrame()
_current: ContextVar[Frame | SkippedFrame | None] = ContextVar("windtunnel_monitor_frame", default=None)


def current_frame(recorder: Recorder) -> Frame | SkippedFrame | None:
    """Find the open frame of this thread or asynchronous task.

    Args:
        recorder: The monitor.

    Returns:
        Its innermost open frame, or None.
    """
    frame = _current.get()
    while frame is not None and frame.recorder is not recorder:
        frame = frame.outer
    return frame


def _recordable(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The arrays, images, numbers and texts in arguments or a result, with their places."""
    match value:
        case (tuple(args), dict(options)) if not path:
            for index, part in enumerate(args):
                yield from _recordable(f"[{index}]", part)
            for key, part in options.items():
                yield from _recordable(f"[{key}]", part)
        case Mapping():
            for key, part in value.items():
                yield from _recordable(f"{path}[{key}]", part)
        case list() | tuple():
            if value and all(isinstance(part, int | float) for part in value):
                yield path, np.asarray(value)
                return
            for index, part in enumerate(value):
                yield from _recordable(f"{path}[{index}]", part)
        case str() | int() | float() | np.ndarray() | np.generic():
            yield path, value
        case _ if hasattr(value, "__array__") or hasattr(value, "__array_interface__"):
            yield path, value
        case _:
            return
