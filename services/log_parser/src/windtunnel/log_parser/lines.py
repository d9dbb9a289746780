"""From bytes to messages: decoding, line ends, and the prefixes that loggers put before a message."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

# No benchmark tool prints a longer line; matching stays cheap on a hostile file.
MAX_LINE = 16_384

_LEVELS = {"V": "V", "D": "D", "I": "I", "N": "I", "W": "W", "E": "E", "F": "F", "A": "F"}
_DATE = r"(?:\d{4}-)?\d\d-\d\d[ T]\d\d:\d\d:\d\d[.,]\d{3,9}(?: ?[+-]\d{4}|Z)?"
_TAG = r"(?P<tag>[^:\[\]()]{0,80}?)"

_PREFIXES = tuple(
    re.compile(pattern)
    for pattern in (
        # logcat threadtime, with or without year and uid: 07-14 13:14:52.097  2283  2283 I tflite  : msg
        rf"{_DATE} +(?:\w+ +)?\d+ +\d+ (?P<level>[VDIWEFA]) {_TAG} *: ?",
        # logcat time: 07-14 13:14:52.097 I/tflite  ( 2283): msg
        rf"{_DATE}:? (?P<level>[VDIWEFA])/{_TAG} *\( *\d+\): ?",
        # Android Studio: 2021-07-14 13:14:52.097 2283-2283/org.app I/tflite: msg
        rf"{_DATE} +\d+-\d+/\S{{1,100}} (?P<level>[VDIWEFA])/{_TAG} *: ?",
        # Android Studio since 2022: 2023-07-14 13:14:52.097  2283-2283  tflite   org.app   I  msg
        rf"{_DATE} +\d+-\d+ +(?P<tag>\S{{1,80}}) +\S{{1,100}} +(?P<level>[VDIWEFA])  ?",
        # logcat brief and tag: I/tflite  ( 2283): msg, I/tflite  : msg
        rf"(?P<level>[VDIWEFA])/{_TAG} *(?:\( *\d+\))?: ?",
        # logcat process and thread: I( 2283) msg, I( 2283: 2283) msg
        r"(?P<level>[VDIWEFA])\( *\d+(?:: *\d+)?\) ",
        # logcat with its stamps cut off: I tflite  : msg
        r"(?P<level>[VDIWEFA]) (?P<tag>(?i:tflite|litert|tensorflow)\w{0,40}) *: ?",
        # NSLog and os_log: 2020-06-10 12:34:56.789 TFLiteBenchmark[1234:56789] msg
        rf"{_DATE} +(?P<tag>[\w .-]{{1,80}})\[\d+:\w+\] ?",
        # iOS syslog: Jun 10 12:34:56 iPhone TFLiteBenchmark(tflite)[1234] <Notice>: msg
        r"[A-Z][a-z]{2} +\d{1,2} \d\d:\d\d:\d\d \S{1,80} (?P<tag>[\w.-]{1,80})(?:\([\w.-]{1,80}\))?\[\d+\] "
        r"<(?P<level>[A-Z])\w{0,12}>: ?",
        # TensorFlow: 2017-11-27 08:56:35.518009: I path/file.cc:324] msg
        rf"{_DATE}: (?P<level>[IWEF]) (?P<tag>\S{{1,200}}:\d+)\] ?",
        # glog and absl: I0610 12:34:56.789012   12345 file.cc:12] msg
        r"(?P<level>[IWEF])\d{4}(?:\d{4})? \d\d:\d\d:\d\d[.]\d+ +\d+ (?P<tag>\S{1,200}:\d+)\] ?",
    )
)
_LEVEL = re.compile(r"\s*(INFO|WARNING|WARN|ERROR|VERBOSE|FATAL|DEBUG): ?")
_SOURCE = re.compile(r"\[(?P<file>[\w./+-]{1,200}):\d+\](?: |$)")
_ESCAPES = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")
_MAY_HAVE_PREFIX = re.compile(r"\d|[VDIWEFA][/( ]|[IWEF]\d{4}|[A-Z][a-z]{2} ")


@dataclass(frozen=True, slots=True)
class Line:
    """A message without its prefixes.

    `level` is one of V D I W E F, or None where no prefix says; `source` holds the logger's tag and source file;
    `partial` marks the last line of a text that does not end in a line feed: it may be cut anywhere.
    """

    text: str
    level: str | None
    source: str
    partial: bool


def decode(data: str | bytes) -> str:
    """Text of a log; invalid UTF-8 becomes U+FFFD, a byte order mark of UTF-16 is obeyed (PowerShell writes it)."""
    if isinstance(data, str):
        return data.removeprefix("\ufeff")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    return data.decode("utf-8", errors="replace").removeprefix("\ufeff")


def messages(text: str) -> Iterator[Line]:
    """The lines of `text` with prefixes taken off; a blank line gives an empty text."""
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        partial = end < 0
        if partial:
            end = len(text)
        yield _strip(text[start:end].rstrip("\r"), partial)
        start = end + 1


def _strip(raw: str, partial: bool) -> Line:
    if len(raw) > MAX_LINE:
        return Line(raw[:MAX_LINE], None, "", partial)
    if "\x1b" in raw:
        raw = _ESCAPES.sub("", raw)
    level: str | None = None
    source = ""
    if _MAY_HAVE_PREFIX.match(raw):
        for prefix in _PREFIXES:
            if found := prefix.match(raw):
                groups = found.groupdict()
                level = _LEVELS.get(groups.get("level") or "")
                source = (groups.get("tag") or "").strip()
                raw = raw[found.end() :]
                break
    if found := _LEVEL.match(raw):
        level = found[1][0]
        raw = raw[found.end() :]
    if raw.startswith("[") and (found := _SOURCE.match(raw)):
        source = f"{source} {found['file']}"
        raw = raw[found.end() :]
    return Line(raw, level, source, partial)
