"""Which lines of a log can matter at all: a scan that passes over the noise of a logcat without reading its lines.

Each signal is a text that benchmark tools, runtimes and crash reports print and few others do. A signal is looked for
by its rarest four characters, all signals at once, over a whole block of bytes. Upper and lower case are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Texts that only these lines have; what has none of them is read only next to such a line.
SIGNALS = (
    # benchmark_model, its parameters and results
    "starting!", "graph: [", "num threads: [", "parameter values verbosely", "num runs: [", "runs to be benchmarked",
    "loaded model ", "loading model", "input model file size", "initialized session", "running benchmark for",
    " avg=", " curr=", "count=0", "timings in ", "footprint", "inference runs", "benchmark", "--graph=", "use gpu",
    "use nnapi", "use xnnpack", "use hexagon", "use coreml", "perf options", "summary of all runs",
    "threads used for", "----- beginning of", "----- switch to",
    # the profiler
    "profiling info", "run order ", "top by ", "summary by node", "ode type]", "nodes observed", "node observed",
    "delegate internal",
    # runtimes and delegates
    "tflite", "tf lite", "tensorflow", "tensor flow", "litert", "delegate", "xnnpack", "nnapi", "neuron", "hexagon",
    "coreml", "edgetpu", "edge tpu", "ethos", "libqnn", " [qnn]", "qnndelegate", "will run on the ", "accelerators:",
    "accelerator could", "accelerated", "accelerator: ptr", "accelerator registered", "model provided",
    "compiler plugin", "mediapipe",
    # LiteRT's tools
    "run took ", "runs took average", "run model for ", "model run completed", "partitionsubgraph",
    "dispatch runtime", "dispatch library", "model:  ", "model size: ", "model loaded (", "model file not found",
    "model initialization", "inference (", "warmup (", "iterations...", "peak memory", "peak system ram",
    "num_threads",
    # reports of the benchmark app, and of litert-benchmark
    "average time: ", "average time in us", "config_key,", "avg_ms", '"model": ', "model_size_mb", "node type, ",
    # what stops a run
    "didn't find op", "unresolved custom", "flatbuffer", "builtin_code", "custom op", "allocate tensors",
    "failed to prepare", "failed to invoke", "input tensor #", "the interpreter", "interpreter is",
    "failed to load model", "failed to mmap", "failed to open model", "failed to map model", "could not open '",
    "mmap of ", "bad_alloc", "outofmemoryerror", "out of memory", "lowmemorykiller", "lmkd:", "lmkd ", "/lmkd",
    "oom-kill", "killed process", "kill '", "killing '", "(adj ", "oom_reaper", "memory issue", "cannot allocate",
    "cl_out_of_", "sigsegv", "sigabrt", "sigbus", "sigill", "sigfpe", "sigtrap", "sigkill", "sigsys", "fatal signal",
    "segmentation fault", "bus error", "illegal instruction", "abort message", "fatal exception", "check failed",
    "terminating with", "terminating due", "terminate called", "*** ***", " >>> ", "anr in ", "am_anr", "am_crash",
    "am_kill", "am_proc_died", "has died", "due to signal", "process crashed", "exc_bad_access", "exc_crash",
    "exc_break", "exc_resource", "traceback (most", "link executable", "exec format", "not executable",
)  # fmt: skip
_BITS = 16
# Only at every second offset is looked for a signal; it may begin at an even or an odd one.
_STEP = 2
# How frequent a letter is in text, in per mille; others are rare.
_COMMON = dict(zip(" etaoinsrlcdmpufg01h2.b345y6789vw:-k", range(100, 20, -2), strict=False))


class Scanner:
    """Looks for many texts at once.

    Args:
        signals: lower case, at least five characters each; at most some hundred.
    """

    def __init__(self, signals: Iterable[str]) -> None:
        self._keys: dict[int, list[_Key]] = {}
        for signal in dict.fromkeys(signals):
            for parity in range(_STEP):
                key = _Key.of(signal, parity)
                self._keys.setdefault(key.gram, []).append(key)
        values = np.array(list(self._keys), dtype=np.uint32)
        self._multiplier = _without_collisions(values)
        self._used = np.zeros(1 << _BITS, dtype=np.bool_)
        self._used[self._slots(values)] = True

    def find(self, block: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Where the signals may be: their first and last four characters are there.

        Args:
            block: bytes, shape (N,).

        Returns:
            Offsets of a character of each, shape (M,).
        """
        if len(block) < 4:
            return np.empty(0, dtype=np.int64)
        folded = block | np.uint8(0x20)
        words: npt.NDArray[np.uint32] = np.ndarray((len(folded) - 3,), "<u4", folded.data, strides=(1,))
        return np.concatenate([self._found(folded, words, start) for start in range(0, 4, _STEP)])

    def _found(self, folded: npt.NDArray[np.uint8], words: npt.NDArray[np.uint32], start: int) -> npt.NDArray[np.int64]:
        """Those whose key is at `start` or a multiple of four bytes after it."""
        count = (len(folded) - start) // 4
        every_fourth = folded[start : start + 4 * count].copy().view("<u4")
        likely = np.flatnonzero(self._used.take(self._slots(every_fourth)))
        values = every_fourth[likely]
        found = [np.empty(0, dtype=np.int64)]
        for value in np.unique(values).tolist():
            at = likely[values == value] * 4 + start
            found += [key.confirmed(words, at) for key in self._keys.get(value, ())]
        return np.concatenate(found)

    def _slots(self, words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        return (words * self._multiplier) >> np.uint32(32 - _BITS)


@dataclass(frozen=True, slots=True)
class _Key:
    """Four characters of a signal, as a number, and how far they are from its first and its last four."""

    gram: int
    first: int
    last: int
    to_first: int
    to_last: int

    @classmethod
    def of(cls, signal: str, parity: int) -> _Key:
        """The rarest four characters of a signal that begin at an even or at an odd place.

        Args:
            signal: its text.
            parity: 0: at an even place, 1: at an odd one.

        Returns:
            The key.
        """
        folded = signal.encode().translate(_FOLD)
        grams = [folded[start : start + 4] for start in range(len(folded) - 3)]
        numbers = [int.from_bytes(gram, "little") for gram in grams]
        best = min(range(parity, len(grams), _STEP), key=lambda start: sum(map(_weight, grams[start])))
        return cls(numbers[best], numbers[0], numbers[-1], -best, len(grams) - 1 - best)

    def confirmed(self, words: npt.NDArray[np.uint32], at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Those of the offsets around which the signal may be.

        Args:
            words: the four bytes at each offset as a number, shape (N,).
            at: offsets, shape (M,).

        Returns:
            Some of the offsets.
        """
        at = at[(at + self.to_first >= 0) & (at + self.to_last < len(words))]
        at = at[words[at + self.to_first] == self.first]
        confirmed: npt.NDArray[np.int64] = at[words[at + self.to_last] == self.last]
        return confirmed


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
