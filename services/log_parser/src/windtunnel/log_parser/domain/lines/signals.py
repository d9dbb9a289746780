"""Which lines of a log can matter at all: a scan that passes over the noise of a logcat without reading its lines.

Each signal is a text that benchmark tools, runtimes and crash reports print and few others do. A signal is looked for
by its rarest four characters, all signals at once, over a whole block of bytes. Upper and lower case are the same.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

# Texts that only these lines have; what has none of them is read only next to such a line.
SIGNALS = (
    # benchmark_model, its parameters and results
    "starting!", "graph: [", "num threads: [", "parameter values verbosely", "num runs: [", "runs to be benchmarked",
    "loaded model ", "loading model", "input model file size", "initialized session", "running benchmark for",
    " avg=", " curr=", "count=0", "timings in ", "footprint", "inference runs", "benchmark", "--graph=", "use gpu",
    "use nnapi", "use xnnpack", "use hexagon", "use coreml", "perf options", "summary of all runs", "threads used for",
    "----- beginning of", "----- switch to",
    # the profiler
    "profiling info", "run order ", "top by ", "summary by node", "ode type]", "nodes observed", "node observed", "delegate internal",
    # runtimes and delegates
    "tflite", "tf lite", "tensorflow", "tensor flow", "litert", "delegate", "xnnpack", "nnapi", "neuron", "hexagon",
    "coreml", "edgetpu", "edge tpu", "ethos", "libqnn", "qnn_", "[qnn", "qnndelegate", "will run on the ", "accelerators:", "accelerator could",
    "accelerated", "accelerator: ptr", "accelerator registered", "model provided", "compiler plugin", "mediapipe",
    # LiteRT's tools
    "model:  ", "model size: ", "model loaded (", "model file not found", "model initialization", "inference (",
    "warmup (", "iterations...", "peak memory", "peak system ram", "num_threads",
    # reports of the benchmark app, and of litert-benchmark
    "average time in us", "config_key,", "avg_ms",
    # what stops a run
    "didn't find op", "unresolved custom", "flatbuffer", "builtin_code", "custom op", "allocate tensors",
    "failed to prepare", "failed to invoke", "input tensor #", "the interpreter", "interpreter is", "failed to load model",
    "failed to mmap", "failed to open model", "failed to map model", "could not open '", "mmap of ", "bad_alloc",
    "outofmemoryerror", "out of memory", "lowmemorykiller", "lmkd", "oom-kill", "killed process", "kill '", "killing '", "(adj ",
    "oom_reaper", "memory issue", "cannot allocate", "cl_out_of_", "sigsegv", "sigabrt", "sigbus", "sigill", "sigfpe",
    "sigtrap", "sigkill", "sigsys", "fatal signal", "segmentation fault", "bus error", "illegal instruction",
    "abort message", "fatal exception", "check failed", "terminating with", "terminating due", "terminate called", "*** ***",
    ">>> ", "anr in ", "am_anr", "am_crash", "am_kill", "am_proc_died", "has died", "process crashed", "exc_bad_access",
    "exc_resource", "traceback (most", "link executable", "exec format", "not executable",
)  # fmt: skip
_BITS = 16
# How often a letter stands in text, in per mille; others are rare.
_COMMON = dict(zip(" etaoinsrlcdmpufg01h2.b345y6789vw:-k", range(100, 20, -2), strict=False))


class Scanner:
    """Looks for many texts at once.

    Args:
        signals: lower case, at least four characters each; at most some hundred.
    """

    def __init__(self, signals: Iterable[str]) -> None:
        self._signals: dict[int, list[_Signal]] = {}
        for text in dict.fromkeys(signals):
            signal = _Signal(text)
            self._signals.setdefault(signal.gram, []).append(signal)
        values = np.array(list(self._signals), dtype=np.uint32)
        self._multiplier = _without_collisions(values)
        self._used = np.zeros(1 << _BITS, dtype=np.bool_)
        self._used[self._slots(values)] = True

    def find(self, block: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Where the signals stand.

        Args:
            block: bytes, shape (N,).

        Returns:
            Offsets of a character of each, ascending, shape (M,).
        """
        folded = block | np.uint8(0x20)
        found = [self._found(folded, start) for start in range(4)]
        return np.unique(np.concatenate(found))

    def _found(self, folded: npt.NDArray[np.uint8], start: int) -> npt.NDArray[np.int64]:
        """Those whose rarest four characters begin at `start` or a multiple of four bytes after it."""
        count = max(0, len(folded) - start) // 4
        words = np.ascontiguousarray(folded[start : start + 4 * count]).copy().view("<u4")
        likely = np.flatnonzero(self._used.take(self._slots(words)))
        values = words[likely]
        found = [np.empty(0, dtype=np.int64)]
        for value in np.unique(values).tolist():
            at = likely[values == value] * 4 + start
            found += [signal.confirmed(folded, at) for signal in self._signals.get(value, ())]
        return np.concatenate(found)

    def _slots(self, words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        return (words * self._multiplier) >> np.uint32(32 - _BITS)


class _Signal:
    """One text, and its rarest four characters as a number."""

    def __init__(self, text: str) -> None:
        folded = text.encode().translate(_FOLD)
        starts = range(len(folded) - 3)
        self._start = min(starts, key=lambda start: sum(map(_weight, folded[start : start + 4])))
        self._bytes = np.frombuffer(folded, dtype=np.uint8)
        self.gram = int.from_bytes(folded[self._start : self._start + 4], "little")

    def confirmed(self, folded: npt.NDArray[np.uint8], at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Those of the offsets around which the whole text stands."""
        begins = at - self._start
        inside = (begins >= 0) & (begins + len(self._bytes) <= len(folded))
        at, begins = at[inside], begins[inside]
        for index, byte in enumerate(self._bytes):
            same = folded[begins + index] == byte
            at, begins = at[same], begins[same]
        return at


_FOLD = bytes(byte | 0x20 for byte in range(256))


def _weight(byte: int) -> int:
    return _COMMON.get(chr(byte), 1)


def _without_collisions(values: npt.NDArray[np.uint32]) -> np.uint32:
    """A multiplier that gives each value a slot of its own."""
    multiplier = 2654435761
    while True:
        slots = (values * np.uint32(multiplier)) >> np.uint32(32 - _BITS)
        if len(np.unique(slots)) == len(values):
            return np.uint32(multiplier)
        multiplier = (multiplier * 1664525 + 1013904223) % (1 << 32) | 1
