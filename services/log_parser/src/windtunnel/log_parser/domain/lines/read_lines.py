"""From a line of a log to its message, without line ends and the prefixes that loggers put before it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from windtunnel.log_parser.domain.lines.blocks import MAX_LINE
from windtunnel.log_parser.domain.lines.known_prefixes import Stripped, header_of_long, level_of, strip

# With the words of Unity's wrapper before it, which has them in lower case.
_LEVEL = re.compile(r"\s*(?:(INFO|WARNING|WARN|ERROR|VERBOSE|FATAL|DEBUG)|TFLite (?P<unity>Info|Warning|Error)): ?")
_SOURCE = re.compile(r"(?:litert: )?\[(?P<file>[\w./+-]{1,200}):\d+\](?: |$)")
# CSI, OSC and other sequences of a terminal; also where the escape itself was printed as ^[.
_ESCAPES = re.compile(
    r"(?:\x1b|\^\[)\[[0-9;?:]{0,30}[A-Za-z]|\x1b[\]_P][^\x07\x1b]{0,400}(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]"
)


@dataclass(frozen=True, slots=True)
class Line:
    """A message without its prefixes.

    `level` is one of V D I W E F; None: no prefix says. `source` has the logger's tag and source file. `pid` is the
    process that a logcat or NSLog names, `mark` the same with the characters around it; empty: none. `partial` marks
    the last line of a text that does not end in a line feed: it may be cut anywhere. `number` counts from 1.
    `too_long`: only its beginning is here.
    """

    text: str
    level: str | None
    source: str
    partial: bool
    pid: str = ""
    mark: str = ""
    number: int = 0
    too_long: bool = False


class LineReader:
    """Takes the prefixes off the lines of one log, in order.

    Args:
        shapes: prefixes that were learned from this log.
    """

    def __init__(self, shapes: tuple[re.Pattern[str], ...] = ()) -> None:
        self._shapes = shapes
        self._header: Stripped | None = None

    def read(self, raw: bytes, number: int, *, partial: bool) -> Line | None:
        """Reads a line.

        Args:
            raw: its bytes, without the line feed.
            number: in the log, from 1.
            partial: the log ends in it, without a line feed.

        Returns:
            The message; None for a header of `logcat -v long`, which belongs to the messages after it.
        """
        if len(raw) >= MAX_LINE:
            return Line(raw[:MAX_LINE].decode("utf-8", "replace"), None, "", partial, number=number, too_long=True)
        text = _plain(raw.rstrip(b"\r").decode("utf-8", "replace"))
        if (header := header_of_long(text)) is not None:
            self._header = header
            return None
        found = message_of(text, self._shapes)
        level, source, pid, mark = found.level, found.source, found.pid, found.mark
        if self._header is not None and not pid:
            pid, mark = self._header.pid, self._header.mark
        if self._header is not None and level is None:
            level, source = self._header.level, f"{self._header.source} {source}".strip()
        return Line(found.text, level, source, partial, pid, mark, number)


def message_of(text: str, shapes: tuple[re.Pattern[str], ...] = ()) -> Stripped:
    """A line without its prefixes.

    Args:
        text: of the line.
        shapes: prefixes that were learned from its log.

    Returns:
        The message, with what the prefixes say.
    """
    found = _named(strip(text))
    for shape in shapes:
        if prefix := shape.match(found.text):
            inner = _named(strip(found.text[prefix.end() :]))
            level = inner.level or level_of(prefix.groupdict().get("level")) or found.level
            return Stripped(inner.text, level, inner.source or found.source, found.pid, found.mark)
    return found


def _plain(raw: str) -> str:
    """A line as a terminal shows it: without colors, and only what a carriage return has left of it."""
    if "\x1b" in raw or "^[[" in raw:
        raw = _ESCAPES.sub("", raw)
    if "\r" in raw:
        raw = raw.rstrip("\r").rpartition("\r")[2]
    return raw


def _named(found: Stripped) -> Stripped:
    """Takes off what the benchmark's own logger puts before a message: its level and its source file."""
    text, level, source = found.text, found.level, found.source
    if named := _LEVEL.match(text):
        level = (named[1] or named["unity"])[0]
        text = text[named.end() :]
    if text.startswith(("[", "litert: [")) and (file := _SOURCE.match(text)):
        source = f"{source} {file['file']}"
        text = text[file.end() :]
    return found._replace(text=text, level=level, source=source)
