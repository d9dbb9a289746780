"""Prefixes that no rule knows, learned from the log itself: the same shape stands before many lines of a benchmark."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from itertools import islice

# What only a benchmark tool prints, each at the very beginning of its message.
_ANCHOR = re.compile(
    r"(?:(?:INFO|WARNING|ERROR|VERBOSE): )?(?:STARTING!|Graph: \[|Num threads: \[|#threads used for CPU|"
    r"Min num runs: \[|Loaded model |Initialized session in |Running benchmark for |The input model file size"
    r"|(?:Average i|I)nference timings in |Created TensorFlow Lite |Replacing \d+ |BENCHMARK RESULTS|"
    r"Model initialization: |Inference \(avg\): )"
)
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


def learn(text: str, known: Callable[[str], str]) -> tuple[re.Pattern[str], ...]:
    """Patterns of the prefixes before the messages that only a benchmark prints, the most frequent first.

    Args:
        text: the log.
        known: takes the prefixes off a line that rules know.

    Returns:
        One pattern for each shape.
    """
    shapes: dict[str, Counter[str]] = {}
    for anchor in islice(_ANCHOR.finditer(text), _MOST_ANCHORS):
        begin = text.rfind("\n", max(0, anchor.start() - 2 * _LONGEST_PREFIX), anchor.start()) + 1
        if begin == anchor.start():
            continue
        line = known(text[begin : anchor.end()])
        found = _ANCHOR.search(line)
        if found is not None and 0 < found.start() <= _LONGEST_PREFIX and _may_end(line[found.start() - 1]):
            shapes.setdefault(_shape(line[: found.start()]), Counter())[found[0]] += 1
    # Words before one kind of message may belong to it; before several kinds they are a prefix.
    likely = [shape for shape, anchors in shapes.items() if len(anchors) >= _MIN_KINDS]
    likely.sort(key=lambda shape: -shapes[shape].total())
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
