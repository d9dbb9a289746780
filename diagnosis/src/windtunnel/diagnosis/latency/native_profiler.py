"""LiteRT's own profiler, through the C API of the library in its wheel. Native code: only in a child process.

Python has no API for it. Struct layouts and option texts are those of LiteRT 2.3; if the library answers
differently, `NativeProfiler` raises Unsupported and callers measure without it.
"""

from __future__ import annotations

import ctypes as c
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from windtunnel.accelerators import BUILTIN, XNNPACK
from windtunnel.errors import Unsupported
from windtunnel.tflite.facts import ModelFacts

Kernels = Literal["xnnpack", "builtin"]

# litert/c/options: options are TOML under the name of their group.
_RUNTIME, _CPU = b"runtime_options_string", b"xnnpack"
_KERNEL_MODES: Mapping[str, str] = {XNNPACK: "xnnpack", BUILTIN: "builtin"}
_CPU_ACCELERATOR = 1
_WRITE = 1
_MAX_RANK = 8
# tflite::Profiler::EventType
_OPERATOR, _DELEGATE_OPERATOR, _DELEGATE_PROFILED = 1 << 1, 1 << 2, 1 << 3
_KEPT = _OPERATOR | _DELEGATE_OPERATOR | _DELEGATE_PROFILED
# Words of 8 bytes in an event: the figures of memory use grew from three to four.
_STRIDES = (13, 15)
_UNTOUCHED = 0xA5A5A5A5A5A5A5A5


class Event(NamedTuple):
    """One event of a run: `op` is its place in the graph, or in its delegate where `in_delegate`."""

    tag: str
    op: int
    graph: int
    in_delegate: bool
    start_us: int
    elapsed_us: int


class NativeProfiler:
    """A compiled model whose every run reports how long each op took. Times have a resolution of 1 us.

    Args:
        facts: the model; dimensions that are dynamic become those of the first inputs given.
        kernels: xnnpack, or builtin for the runtime's own optimized kernels.
        threads: CPU threads.

    Raises Unsupported where the library is missing, of another version, or refuses the model.
    """

    def __init__(self, facts: ModelFacts, kernels: Kernels, threads: int) -> None:
        self._facts = facts
        self._library = _load()
        self._kept: list[Any] = []
        self._made: list[tuple[str, c.c_void_p]] = []
        self._environment = self._make("LiteRtCreateEnvironment", "LiteRtDestroyEnvironment", 0, None)
        name = str(facts.path).encode()
        model = self._make("LiteRtCreateModelFromFile", "LiteRtDestroyModel", self._environment, name)
        options = self._options(kernels, threads)
        self._model = self._make(
            "LiteRtCreateCompiledModel", "LiteRtDestroyCompiledModel", self._environment, model, options
        )
        self._graph = self._get("LiteRtGetModelSubgraph", model, c.c_size_t(0))
        self._profiler = self._get("LiteRtCompiledModelGetProfiler", self._model)
        self._buffers: tuple[Any, Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._made:
            destroy, handle = self._made.pop()
            getattr(self._library, destroy)(handle)

    def feed(self, inputs: Sequence[NDArray[Any]]) -> None:
        """Sets the inputs of the following runs.

        Args:
            inputs: as stored, in the order of the graph's inputs.
        """
        if self._buffers is None:
            self._buffers = self._allocate("Input", inputs), self._allocate("Output", None)
        for buffer, array in zip(self._buffers[0], inputs, strict=True):
            data = np.ascontiguousarray(array)
            place = c.c_void_p()
            self._call("LiteRtLockTensorBuffer", c.c_void_p(buffer), c.byref(place), _WRITE)
            c.memmove(place, data.ctypes.data, data.nbytes)
            self._call("LiteRtUnlockTensorBuffer", c.c_void_p(buffer))

    def run(self) -> list[Event]:
        """Runs once and returns what each op took, in the order in which they began."""
        self._call("LiteRtStartProfiler", self._profiler)
        self.run_plain()
        self._call("LiteRtStopProfiler", self._profiler)
        return self._events()

    def run_plain(self) -> None:
        """Runs once without profiling.

        Raises:
            Unsupported: `feed` was not called.
        """
        if self._buffers is None:
            raise Unsupported("the profiler was given no inputs")
        inputs, outputs = self._buffers
        self._call(
            "LiteRtRunCompiledModel",
            self._model,
            c.c_size_t(0),
            c.c_size_t(len(inputs)),
            inputs,
            c.c_size_t(len(outputs)),
            outputs,
        )

    def _options(self, kernels: Kernels, threads: int) -> c.c_void_p:
        options = self._make("LiteRtCreateOptions", "LiteRtDestroyOptions")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, _CPU_ACCELERATOR)
        cpu = f'kernel_mode = "{_KERNEL_MODES[kernels]}"\nnum_threads = {threads}\n'
        for group, text in ((_RUNTIME, "enable_profiling = true\n"), (_CPU, cpu)):
            content = c.create_string_buffer(text.encode())
            release = c.CFUNCTYPE(None, c.c_void_p)(lambda _: None)
            self._kept += [content, release]
            given = self._get("LiteRtCreateOpaqueOptions", group, c.cast(content, c.c_void_p), release)
            self._call("LiteRtAddOpaqueOptions", options, given)
        return options

    def _allocate(self, side: str, inputs: Sequence[NDArray[Any]] | None) -> Any:
        """Buffers for the inputs, which give dynamic dimensions their size, or for the outputs."""
        tensors = self._facts.inputs if inputs is not None else self._facts.outputs
        buffers = (c.c_void_p * len(tensors))()
        kinds = [self._kind(side, number) for number in range(len(tensors))]
        for number, array in enumerate(inputs or ()):
            shape = (c.c_int32 * array.ndim)(*array.shape)
            if tuple(kinds[number][2 : 2 + array.ndim]) != array.shape:
                size = c.c_size_t(array.ndim)
                resize = "LiteRtCompiledModelResizeInputTensor"
                self._call(resize, self._model, c.c_size_t(0), c.c_size_t(number), shape, size)
                kinds[number][2 : 2 + array.ndim] = array.shape
        if inputs is None:
            self._take_layouts(kinds)
        for number, kind in enumerate(kinds):
            ask = f"LiteRtGetCompiledModel{side}BufferRequirements"
            needs = self._get(ask, self._model, c.c_size_t(0), c.c_size_t(number))
            make = "LiteRtCreateManagedTensorBufferFromRequirements"
            buffers[number] = self._make(make, "LiteRtDestroyTensorBuffer", self._environment, kind, needs)
        return buffers

    def _take_layouts(self, kinds: Sequence[Any]) -> None:
        """Outputs take the shapes that follow from the inputs'. A type is its element type and then its layout."""
        words = 1 + 2 * _MAX_RANK
        layouts = (c.c_int32 * (words * len(kinds)))()
        count = c.c_size_t(len(kinds))
        ask = "LiteRtGetCompiledModelOutputTensorLayouts"
        self._call(ask, self._model, c.c_size_t(0), count, layouts, c.c_bool(True))
        for number, kind in enumerate(kinds):
            kind[1 : 1 + words] = layouts[number * words : (number + 1) * words]

    def _kind(self, side: str, number: int) -> Any:
        """LiteRtRankedTensorType: the element type, rank and flags, eight dimensions, eight strides."""
        tensor = self._get(f"LiteRtGetSubgraph{side}", self._graph, c.c_size_t(number))
        kind = (c.c_int32 * 64)()
        self._call("LiteRtGetRankedTensorType", tensor, kind)
        return kind

    def _events(self) -> list[Event]:
        count = c.c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, c.byref(count))
        if count.value <= 0:
            raise Unsupported("LiteRT's profiler reported no ops")
        words = np.full(count.value * 32, _UNTOUCHED, dtype=np.uint64)
        self._call("LiteRtGetProfilerEvents", self._profiler, count, words.ctypes.data_as(c.c_void_p))
        stride = -(-int(np.flatnonzero(words != _UNTOUCHED)[-1] + 1) // count.value)
        if stride not in _STRIDES:
            raise Unsupported(f"LiteRT's profiler writes events of {stride * 8} bytes, which Windtunnel does not know")
        events = [_event(row) for row in words[: count.value * stride].reshape(-1, stride).tolist()]
        return sorted((event for event in events if event is not None), key=lambda event: event.start_us)

    def _make(self, create: str, destroy: str, *arguments: Any) -> c.c_void_p:
        handle = self._get(create, *arguments)
        self._made.append((destroy, handle))
        return handle

    def _get(self, function: str, *arguments: Any) -> c.c_void_p:
        handle = c.c_void_p()
        self._call(function, *arguments, c.byref(handle))
        return handle

    def _call(self, function: str, *arguments: Any) -> None:
        found = getattr(self._library, function, None)
        if found is None:
            raise Unsupported(f"this LiteRT has no {function}")
        status = found(*arguments)
        if status != 0:
            raise Unsupported(f"LiteRT refused {function} for {self._facts.path.name} with status {status}")


def _event(row: Sequence[int]) -> Event | None:
    kind = row[1] & 0xFFFFFFFF
    if not kind & _KEPT or not row[0]:
        return None
    tag = c.string_at(row[0]).decode("utf-8", "replace")
    return Event(tag, row[-3], row[-2], kind != _OPERATOR, row[2], row[3])


def _load() -> c.CDLL:
    import ai_edge_litert

    path = Path(ai_edge_litert.__file__).parent / "libLiteRt.so"
    try:
        return c.CDLL(str(path))
    except OSError as error:
        raise Unsupported(f"LiteRT's library cannot be loaded: {error}") from error
