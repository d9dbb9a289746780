"""From bytes to messages: decoding, line ends, and the prefixes that loggers put before a message."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from windtunnel.log_parser.domain.lines.known_prefixes import Stripped, header_of_long, level_of, strip
from windtunnel.log_parser.domain.lines.learned_prefixes import learn

# No benchmark tool prints a longer line; matching stays cheap on a hostile file.
MAX_LINE = 16_384

_LEVEL = re.compile(r"\s*(INFO|WARNING|WARN|ERROR|VERBOSE|FATAL|DEBUG): ?")
_SOURCE = re.compile(r"\[(?P<file>[\w./+-]{1,200}):\d+\](?: |$)")
# CSI, OSC and other sequences of a terminal; also where the escape itself was printed as ^[.
_ESCAPES = re.compile(
    r"(?:\x1b|\^\[)\[[0-9;?:]{0,30}[A-Za-z]|\x1b[\]_P][^\x07\x1b]{0,400}(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]"
)


@dataclass(frozen=True, slots=True)
class Line:
    """A message without its prefixes.

    `level` is one of V D I W E F; None: no prefix says. `source` has the logger's tag and source file. `partial`
    marks the last line of a text that does not end in a line feed: it may be cut anywhere.
    """

    text: str
    level: str | None
    source: str
    partial: bool


def decode(data: str | bytes) -> str:
    """The text of a log.

    Args:
        data: text, or bytes as a tool or PowerShell wrote them.

    Returns:
        Invalid UTF-8 becomes U+FFFD; a byte order mark of UTF-16 is obeyed.
    """
    if isinstance(data, str):
        return data.removeprefix("\ufeff")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    return data.decode("utf-8", errors="replace").removeprefix("\ufeff")


def messages(text: str) -> Iterator[Line]:
    """The lines of a log with prefixes taken off.

    Args:
        text: the log.

    Yields:
        Each line; a blank one has an empty text.
    """
    shapes = learn(text, lambda raw: _named(strip(_plain(raw))).text)
    header: Stripped | None = None
    for raw, partial in _raw_lines(text):
        if len(raw) > MAX_LINE:
            yield Line(raw[:MAX_LINE], None, "", partial)
            continue
        raw = _plain(raw)
        if (found := header_of_long(raw)) is not None:
            header = found
            continue
        line = _message(raw, shapes, partial)
        if header is not None and line.level is None:
            line = replace(line, level=header.level, source=f"{header.source} {line.source}".strip())
        yield line


def _raw_lines(text: str) -> Iterator[tuple[str, bool]]:
    """Each line, without its end, and whether the text stops before it has one."""
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        partial = end < 0
        if partial:
            end = len(text)
        yield text[start:end].rstrip("\r"), partial
        start = end + 1


def _plain(raw: str) -> str:
    """A line as a terminal shows it: without colors, and only what a carriage return has left of it."""
    if "\x1b" in raw or "^[[" in raw:
        raw = _ESCAPES.sub("", raw)
    if "\r" in raw:
        raw = raw.rstrip("\r").rpartition("\r")[2]
    return raw


def _message(raw: str, shapes: tuple[re.Pattern[str], ...], partial: bool) -> Line:
    found = _named(strip(raw))
    for shape in shapes:
        if prefix := shape.match(found.text):
            inner = _named(strip(found.text[prefix.end() :]))
            level = inner.level or level_of(prefix.groupdict().get("level")) or found.level
            found = Stripped(inner.text, level, inner.source or found.source)
            break
    return Line(found.text, found.level, found.source, partial)


def _named(found: Stripped) -> Stripped:
    """Takes off what the benchmark's own logger puts before a message: its level and its source file."""
    text, level, source = found.text, found.level, found.source
    if named := _LEVEL.match(text):
        level = named[1][0]
        text = text[named.end() :]
    if text.startswith("[") and (file := _SOURCE.match(text)):
        source = f"{source} {file['file']}"
        text = text[file.end() :]
    return Stripped(text, level, source)
