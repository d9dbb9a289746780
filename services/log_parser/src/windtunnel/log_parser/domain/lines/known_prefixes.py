"""The prefixes that loggers, containers and CI systems put before a message, one after the other.

Each pattern stands for one layer: a CI stamp before a container's, before a logger's. A pattern takes what cannot be
the beginning of a message of a benchmark tool.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

# A CI stamp, a container's, a supervisor's, a logger's: more layers than that are another kind of log.
MAX_LAYERS = 5

_LEVELS = {"V": "V", "T": "V", "D": "D", "I": "I", "N": "I", "W": "W", "E": "E", "F": "F", "C": "F", "A": "F"}
_ZONE = r"(?: ?[+-]\d\d:?\d\d|Z| (?:UTC|[A-Z]{2,4}T)(?= ))?"
_DAY = r"(?:\d{4}[-/])?\d\d[-/]\d\d"
_CLOCK = r"\d\d:\d\d:\d\d"
_FINE = rf"{_DAY}[ T]{_CLOCK}[.,]\d{{3,9}}{_ZONE}"
_STAMP = rf"{_DAY}[ T]{_CLOCK}(?:[.,]\d{{1,9}})?{_ZONE}"
_EPOCH = r" *\d{9,10}[.,]\d{3,9}"
_LOGCAT = rf"(?:{_FINE}|{_EPOCH}| *\d{{1,9}}\.\d{{3,9}})"
_PID = r"(?P<pid>\d{1,9})"
_TAG = r"(?P<tag>[^:\[\]()]{0,80}?)"
_HOST = r"[\w.-]{1,80}"
_WORD = r"INFO|WARNING|WARN|ERROR|DEBUG|FATAL|CRITICAL|NOTICE|VERBOSE|TRACE"
_LEVEL = rf"(?P<level>(?i:{_WORD}))"
# A logger's name; what a shell says of a missing benchmark_model is a message.
_NAME = (
    r"(?!benchmark\S*: (?:inaccessible|not found|No such|Permission|can't|cannot|command))"
    r"(?P<tag>[a-z_][\w.-]{0,80}|\w[\w-]{0,60}(?:\.\w[\w-]{0,60}){1,8})"
)
_CATEGORY = r"(?:\([\w .-]{1,80}\) ?)?(?:\[[\w.-]{1,80}:[A-Za-z][\w .-]{0,80}\] ?|\[[A-Za-z][\w.-]{1,80}\] )?"

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_SYSLOG = rf"{_MONTH} +\d{{1,2}} (?:\d{{4}} )?{_CLOCK}(?:[.,]\d{{1,9}})?"
_IDENT = rf"(?:{_HOST} +)?(?P<tag>[\w./@-]{{1,80}})\[\d+\]: ?{_CATEGORY}"
_PYTHON = (
    # 2026-09-14 10:21:30,000 [INFO] bench: msg, ... - bench - INFO - msg, ... INFO bench: msg
    rf"\[?{_STAMP}\]?[ |-]*\[?{_LEVEL}\]? *(?: in (?P<tag>[\w.]{{1,80}}):|[-:|]+)? ",
    rf"\[?{_STAMP}\]?[ :|-]+\[?{_NAME}\]?[ :|-]+\[?{_LEVEL}\]? *[-:|]* ",
)

# By how they begin, so that a line is compared with few. Of several that fit the first counts.
_DIGIT = (
    # logcat threadtime, also with year, zone, uid, epoch: 07-14 13:14:52.097  2283  2283 I tflite: msg
    rf"{_LOGCAT} +(?:\w+ +)?{_PID} +\d+ (?P<level>[VDIWEFA]) {_TAG} *: ?",
    # logcat time: 07-14 13:14:52.097 I/tflite  ( 2283): msg
    rf"{_LOGCAT}:? (?P<level>[VDIWEFA])/{_TAG} *\( *(?:\w+: *)?{_PID}\): ?",
    # Android Studio: 2021-07-14 13:14:52.097 2283-2283/org.app I/tflite: msg
    rf"{_FINE} +{_PID}-\d+/\S{{1,100}} (?P<level>[VDIWEFA])/{_TAG} *: ?",
    # Android Studio since 2022: 2023-07-14 13:14:52.097  2283-2283  tflite   org.app   I  msg
    rf"{_FINE} +{_PID}-\d+ +(?P<tag>\S{{1,80}}) +\S{{1,100}} +(?P<level>[VDIWEFA])(?:  ?|$)",
    # the same with a part of its columns
    rf"(?:{_FINE}|{_CLOCK}[.]\d{{3}}) +{_PID}-\d+ +(?P<tag>\S{{1,80}}(?: \S{{1,40}})?)(?: +\S{{1,100}})? +"
    r"(?P<level>[VDIWEFA])(?:  ?|$)",
    # logcat without its processes: 06-08 12:09:32.317 I litert : msg
    rf"{_LOGCAT} +(?P<level>[VDIWEFA]) (?P<tag>[\w.$@/-]{{1,60}}) *: ?",
    # `log show`: 2026-09-14 10:21:30.123456+0200 0x1a2b  Default  0x0  1234  0  App: (Lib) [sub:cat] msg
    rf"{_FINE} +0x[0-9a-f]+ +(?P<level>[A-Z])[a-z]{{3,10}} +0x[0-9a-f]+ +\d+ +\d+ +(?P<tag>[\w .-]{{1,80}}): "
    rf"{_CATEGORY}",
    # `log show --style compact`: 2026-09-14 10:21:30.123 Df App[1234:abcd] msg
    rf"{_FINE} +[A-Z][a-z ]? +(?P<tag>[\w .-]{{1,80}})\[{_PID}(?::\w+)?\]:? ?{_CATEGORY}",
    # NSLog and os_log: 2020-06-10 12:34:56.789 TFLiteBenchmark[1234:56789] msg
    rf"{_FINE} +(?P<tag>[\w .-]{{1,80}})\[{_PID}:\w+\] ?{_CATEGORY}",
    # TensorFlow: 2017-11-27 08:56:35.518009: I path/file.cc:324] msg
    rf"{_STAMP}: (?P<level>[IWEF]) (?P<tag>\S{{1,200}}:\d+)\] ?",
    # CRI, of `crictl` and /var/log/pods: 2026-09-14T10:21:30.000000000Z stdout F msg
    rf"{_STAMP} (?:stdout|stderr) [FP] ",
    # GitLab: 2026-09-14T10:21:30.000000Z 00O msg
    rf"{_STAMP} [0-9a-f]{{2}}[OE][+ ]?",
    # journald with an ISO or epoch stamp: 2026-09-14T10:21:30+0200 host bench[811]: msg
    rf"(?:{_STAMP}|{_EPOCH}) +{_IDENT}",
    # loguru: 2026-09-14 10:21:30.000 | INFO     | bench:run:12 - msg
    rf"{_STAMP} \| {_LEVEL} *\| (?P<tag>\S{{1,200}}) - ",
    *_PYTHON,
    # docker, GitHub Actions, Azure, `ts`: a stamp alone
    rf"{_STAMP}:? ?",
    rf"{_EPOCH}:? ",
    # Jenkins: 10:21:30  msg; Android Studio, compact: 10:21:30.000  I  msg
    rf"{_CLOCK}(?:[.,]\d{{1,9}})?(?: [AP]M)? {{1,2}}(?:(?P<level>[VDIWEFA])  )?",
)
_BRACKET = (
    *_PYTHON,
    rf"\[{_LEVEL} *\]:? ?",
    rf"\[{_STAMP}\] ?",
    # TeamCity: [10:21:30] : [Step 1/2] msg
    rf"\[{_CLOCK}(?:[.,]\d{{1,9}})?\][a-zA-Z]?:?\s{{1,2}}(?:\[[\w ./-]{{1,60}}\] )?",
    # `journalctl -o short-monotonic` and dmesg: [  123.456789] msg
    rf"\[ *\d{{1,9}}\.\d{{3,9}}\] +{_IDENT}",
    r"\[ *\d{1,9}\.\d{3,9}\] ",
    # kubectl --prefix, mpirun
    r"\[pod/[\w./-]{1,200}\] ",
    r"\[\d+,\d+\]<std(?:out|err)>: ?",
)
_LETTER = (
    # logcat brief and tag: I/tflite  ( 2283): msg, I/tflite  : msg
    rf"(?P<level>[VDIWEFA])/{_TAG} *(?:\( *(?:\w+: *)?{_PID}\))?: ?",
    # logcat process and thread: I( 2283) msg, I( 2283: 2283) msg
    rf"(?P<level>[VDIWEFA])\( *{_PID}(?:: *\d+){{0,2}}\) ",
    # logcat with its stamps cut off: I tflite  : msg
    r"(?P<level>[VDIWEFA]) (?P<tag>(?i:tflite|litert|tensorflow)\w{0,40}) *: ?",
    # iOS syslog: Jun 10 12:34:56 iPhone TFLiteBenchmark(tflite)[1234] <Notice>: msg
    rf"{_SYSLOG} (?:\S{{1,80}} )?(?P<tag>[\w.-]{{1,80}})(?:\([\w.-]{{1,80}}\))?\[{_PID}\] "
    r"<(?P<level>[A-Z])\w{0,12}>: ?",
    # Android Studio without stamps: com.app.name    I  msg, tflite   com.app.name   I  msg
    r"(?P<tag>[A-Za-z][\w.$-]{2,80})(?: {2,}[a-z][\w.]{2,100})? {2,}(?P<level>[VDIWEFA])(?:  |$)",
    # journald and syslog: Sep 14 10:21:30 host bench[811]: msg, Mon 2026-09-14 10:21:30 CEST host bench[811]: msg
    rf"(?:{_SYSLOG}|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) {_STAMP}) +{_IDENT}",
    rf"{_SYSLOG} ",
    # glog and absl: I0610 12:34:56.789012   12345 file.cc:12] msg
    r"(?P<level>[IWEF])\d{4}(?:\d{4})? \d\d:\d\d:\d{2,10}[.]\d+ +\d+ (?P<tag>\S{1,200}:\d+)\] ?",
    # Python logging and pytest: INFO:bench:msg, INFO     bench:run.py:30 msg, INFO - msg
    rf"{_LEVEL}:{_NAME}:",
    rf"{_LEVEL} +(?P<tag>[\w.]{{1,80}}:[\w.-]{{1,80}}\.py:\d+):? ",
    rf"{_LEVEL} +[-|] +",
    # docker compose: bench-1  | msg; a program and its pid: bench[811]: msg
    r"[a-z][\w.-]{0,60} +\| ",
    r"(?P<tag>[a-z][\w.-]{0,60})\[\d+\]: ",
)
_SIGN = (
    # RFC 5424 and 3164: <14>1 2026-09-14T10:21:30.000Z host app 811 - - msg, <14>Sep 14 10:21:30 host bench[811]: msg
    rf"<\d{{1,3}}>1 (?:{_STAMP}|-) {_HOST} (?P<tag>\S{{1,48}}) \S{{1,128}} \S{{1,32}} "
    rf"(?:-|\[[^\]]{{0,400}}\]) ?(?:\ufeff)?",
    rf"<\d{{1,3}}>{_SYSLOG} +{_IDENT}",
    # GitHub's and Azure's commands, quotes of a mail or an issue, continued lines of LiteRT
    r"##\[\w{1,20}\]",
    r"(?:> ?){1,4}",
    r"└ ?",
)
# `gh run view --log`: job, step and stamp, with tabs between
_COLUMNS = re.compile(rf"[^\t]{{1,100}}\t[^\t]{{1,100}}\t\ufeff?(?={_STAMP})")
_DIGITS, _BRACKETS, _LETTERS, _SIGNS = (
    tuple(re.compile(pattern) for pattern in patterns) for patterns in (_DIGIT, _BRACKET, _LETTER, _SIGN)
)
# Which letters may begin a prefix at all: most messages begin with another word.
_LETTER_MAY_BEGIN = re.compile(
    rf"[VDIWEFA][/( ]|[IWEF]\d{{4}}|{_MONTH} |(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d|(?i:{_WORD})(?::\S| )"
    r"|[a-z][\w.-]{0,60}(?: +\| |\[\d)|[A-Za-z][\w.$-]{2,80} {2,}"
)
# A logger's name after its level, or alone: its own layer, for the level may have been of the layer before.
_AFTER_LEVEL = re.compile(rf"{_NAME}(?: - |:(?: |$)| \| )")
_LONG = re.compile(rf"\[ {_LOGCAT} +(?:\w+: *)?{_PID}: *\d+ (?P<level>[VDIWEFA])/(?P<tag>[^\]]{{0,80}}?) *\]\s*\Z")
_PROCESS_TAG = re.compile(r"  \((?P<tag>[^()]{1,80}?) *\)\Z")
_JSON_TEXT = ("MESSAGE", "log", "message", "msg", "textPayload", "text")
_JSON_LEVEL = ("level", "severity", "levelname")


class Stripped(NamedTuple):
    """A message without its prefixes; `level` None and `source` and `pid` empty: no prefix says.

    `mark` is the process as the line has it, with one character on each side.
    """

    text: str
    level: str | None = None
    source: str = ""
    pid: str = ""
    mark: str = ""


def level_of(word: str | None) -> str | None:
    """The level that a logger's word means.

    Args:
        word: as a logger prints it.

    Returns:
        One of V D I W E F; None if it is not known.
    """
    return _LEVELS.get(word[0].upper()) if word else None


def header_of_long(raw: str) -> Stripped | None:
    """Reads the line that `logcat -v long` prints before a message.

    Args:
        raw: any line.

    Returns:
        Level and source; None for any other line.
    """
    found = _LONG.match(raw) if raw.startswith("[") else None
    if found is None:
        return None
    return Stripped("", level_of(found["level"]), found["tag"].strip(), found["pid"], _mark(raw, found))


def strip(raw: str) -> Stripped:
    """Takes every prefix off a line.

    Args:
        raw: the line.

    Returns:
        The message, with what the prefixes say.
    """
    level: str | None = None
    source = pid = mark = ""
    if raw.startswith("{") and (inner := _from_json(raw)) is not None:
        level, raw = inner.level, inner.text
    if raw[:1] == " " and _first(inner_text := raw.lstrip()):
        # Pasted into an issue, a whole log is indented.
        raw = inner_text
    for _ in range(MAX_LAYERS):
        found = _first(raw)
        if found is None:
            break
        groups = found.groupdict()
        level = level_of(groups.get("level")) or level
        source = f"{source} {groups.get('tag') or ''}".strip()
        if groups.get("pid"):
            pid, mark = found["pid"], _mark(raw, found)
        logcat_process = found[0].startswith(f"{groups.get('level')}(")
        raw = raw[found.end() :]
        if logcat_process and (tag := _PROCESS_TAG.search(raw)):
            raw, source = raw[: tag.start()], tag["tag"].strip()
        elif groups.get("level") and (name := _AFTER_LEVEL.match(raw)):
            raw, source = raw[name.end() :], f"{source} {name['tag']}".strip()
    return Stripped(raw, level, source, pid, mark)


def _mark(raw: str, found: re.Match[str]) -> str:
    return raw[max(0, found.start("pid") - 1) : found.end("pid") + 1]


def _first(raw: str) -> re.Match[str] | None:
    start = raw[:1]
    if start.isdigit():
        patterns = _DIGITS
    elif start == "[":
        patterns = _BRACKETS
    elif start in "<>#└":
        patterns = _SIGNS
    else:
        patterns = _LETTERS if _LETTER_MAY_BEGIN.match(raw) else ()
    for pattern in patterns:
        if found := pattern.match(raw):
            return found
    return _COLUMNS.match(raw) if "\t" in raw and not raw.startswith("\t") else None


def _from_json(raw: str) -> Stripped | None:
    """The message in a line of structured JSON: docker's json-file, `journalctl -o json`, cloud loggers."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    text = next((value[key] for key in _JSON_TEXT if isinstance(value.get(key), str)), None)
    if text is None:
        return None
    word = next((value[key] for key in _JSON_LEVEL if isinstance(value.get(key), str)), "")
    return Stripped(text.rstrip("\r\n"), level_of(word))
