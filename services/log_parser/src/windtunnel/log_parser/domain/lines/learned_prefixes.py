"""Prefixes that no rule knows, learned from the log itself: the same shape stands before many lines of a benchmark."""

from __future__ import annotations

import re
from collections import Counter

# What only a benchmark tool prints, each at the very beginning of its message.
_ANCHOR = re.compile(
    r"(?:(?:INFO|WARNING|ERROR|VERBOSE): )?(?:STARTING!|Graph: \[|Num threads: \[|#threads used for CPU|"
    r"Min num runs: \[|Loaded model |Initialized session in |Running benchmark for |The input model file size"
    r"|(?:Average i|I)nference timings in |Created TensorFlow Lite |Replacing \d+ |BENCHMARK RESULTS|"
    r"Model initialization: |Inference \(avg\): )"
)
# One of them is in each.
_WORDS = (
    "STARTING!", ": [", "threads used", "oad", "nitialized session", "Running bench", "model file size", "timings in ",
    "Created TensorFlow", "Replacing", "BENCHMARK", "Model init", "Inference (avg",
)  # fmt: skip
_LONGEST_PREFIX = 240
_MAX_SHAPES = 4
_MIN_KINDS = 2
_MOST_ANCHORS = 2000
# What differs from line to line: numbers, also in hex, levels, source files, and the spaces that align them.
_VARIABLE = re.compile(
    r"(?P<file>[\w./-]+\.(?:cc|cpp|c|h|py|kt|java|go|rs|swift|mm?)\b)|(?P<hex>0x[0-9a-fA-F]+)|(?P<number>\d+)"
    r"|(?P<level>\b(?:INFO|WARNING|WARN|ERROR|DEBUG|FATAL|VERBOSE|NOTICE|[VDIWEF])\b)|(?P<space>\s+)"
)
_CLASSES = {
    "file": r"[\w./-]+\.\w{1,5}",
    "hex": r"0x[0-9a-fA-F]+",
    "number": r"\d+",
    "level": r"[A-Z]{1,8}",
    "space": r"\s+",
}


class Learner:
    """Collects what stands before the messages that only a benchmark prints."""

    def __init__(self) -> None:
        self._shapes: dict[str, Counter[str]] = {}
        self.noted = 0

    def note(self, line: str) -> None:
        """Looks at a line.

        Args:
            line: without the prefixes that rules know.
        """
        if self.noted >= _MOST_ANCHORS or not any(word in line for word in _WORDS):
            return
        found = _ANCHOR.search(line, 0, _LONGEST_PREFIX + 100)
        if found is None:
            return
        self.noted += 1
        if 0 < found.start() <= _LONGEST_PREFIX and _may_end(line[found.start() - 1]):
            self._shapes.setdefault(_shape(line[: found.start()]), Counter())[found[0]] += 1

    def shapes(self) -> tuple[re.Pattern[str], ...]:
        """Patterns of the prefixes, the most frequent first.

        Returns:
            One pattern for each shape.
        """
        # Words before one kind of message may belong to it; before several kinds they are a prefix.
        likely = [shape for shape, anchors in self._shapes.items() if len(anchors) >= _MIN_KINDS]
        likely.sort(key=lambda shape: -self._shapes[shape].total())
        return tuple(re.compile(shape) for shape in likely[:_MAX_SHAPES])


def _may_end(character: str) -> bool:
    """A prefix ends in a space or a sign: "recount=5" is a word."""
    return not character.isalnum() and character not in "_-\"'="


def _shape(prefix: str) -> str:
    parts: list[str] = []
    end = levels = 0
    for found in _VARIABLE.finditer(prefix):
        kind = str(found.lastgroup)
        parts += [re.escape(prefix[end : found.start()]), _CLASSES[kind]]
        if kind == "level" and not levels:
            parts[-1] = f"(?P<level>{parts[-1]})"
            levels += 1
        end = found.end()
    shape = "".join((*parts, re.escape(prefix[end:])))
    # The spaces before a message belong to it: rows of tables begin with some.
    return f"{shape.removesuffix(_CLASSES['space'])}\\s" if shape.endswith(_CLASSES["space"]) else shape
