"""Reports of the end of a process: tombstones, the kernel's and Android's killers, crash and ANR notices.

Android reports the end of every process in one log; each report says whose end it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from windtunnel.log_parser.domain.lines.read_lines import Line
from windtunnel.log_parser.domain.log import ErrorKind


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """One report. `pid` and `name` are those of the process that ended; empty: the line does not say.

    `killed`: by the system, which kills many other processes too. `notice`: a line that comes after any process, also
    after one that did all its work.
    """

    kind: ErrorKind
    message: str
    pid: str = ""
    name: str = ""
    killed: bool = False
    notice: bool = False


@dataclass(frozen=True, slots=True)
class _Report:
    """`hint` is in every such line; `of_event` is the tag of Android's event log, if the report is one of its."""

    hint: str
    pattern: re.Pattern[str]
    kind: ErrorKind
    killed: bool
    notice: bool
    of_event: str


def _report(
    hint: str, pattern: str, kind: ErrorKind, *, killed: bool = False, notice: bool = False, of_event: str = ""
) -> _Report:
    return _Report(hint, re.compile(pattern), kind, killed, notice, of_event)


_PID = r"(?P<pid>\d{1,9})"
_NAME = r"(?P<name>[\w.:/@$-]{1,200})"
_KILLED = rf"^Killing {_PID}:{_NAME}/\S{{1,40}} \(adj "
_EVENT = rf"^\[\d{{1,4}},{_PID},{_NAME},"
# The most frequent first.
_REPORTS = (
    _report("Killing ", rf"{_KILLED}.{{0,40}}\): .{{0,80}}(?:mem|lmk)", "out_of_memory", killed=True, notice=True),
    _report("Killing ", _KILLED, "other", killed=True, notice=True),
    _report(" has died", rf"^Process {_NAME} \(pid {_PID}\) has died", "crash", killed=True, notice=True),
    _report("exited due", rf"^Process {_PID} exited due to signal \d{{1,2}}", "crash", killed=True, notice=True),
    _report(" '", rf"\b(?:Kill|Killing|Reclaim) '{_NAME}' \({_PID}\)", "out_of_memory", killed=True),
    _report(
        "atal signal",
        rf"Fatal signal \d{{1,2}}\b(?:.{{0,300}}?\bin tid \d{{1,9}} \([^()]{{0,80}}\))?"
        rf"(?:, pid {_PID} \((?P<name>[^()]{{0,200}})\))?",
        "crash",
    ),
    _report("signal ", r"^signal \d{1,2} \(SIG[A-Z]{2,6}\)", "crash"),
    _report("Abort message", r"^Abort message: ?", "crash"),
    _report(
        "ut of memory",
        rf"[Oo]ut of memory.{{0,60}}[Kk]ill(?:ed)? process {_PID}[ ,:]+\(?{_NAME}?",
        "out_of_memory",
        killed=True,
    ),
    _report(
        "oom-kill", rf"\boom-kill:.{{0,400}}?task=(?P<name>[^,\s]{{1,100}}),pid={_PID}", "out_of_memory", killed=True
    ),
    _report("oom_reaper", rf"\boom_reaper: reaped process {_PID} \({_NAME}\)", "out_of_memory", killed=True),
    _report("Killed process", rf"^Killed process {_PID} \({_NAME}\)", "out_of_memory", killed=True),
    _report("ANR in ", rf"^ANR in {_NAME}", "crash", killed=True),
    _report("PID: ", rf"^Process: {_NAME}, PID: {_PID}$", "crash"),
    _report("[", rf"{_EVENT}-?\d+,.{{0,80}}(?:mem|lmk)", "out_of_memory", killed=True, notice=True, of_event="am_kill"),
    _report("[", _EVENT, "other", killed=True, notice=True, of_event="am_kill"),
    _report("[", _EVENT, "crash", killed=True, notice=True, of_event="am_proc_died"),
    _report("[", _EVENT, "crash", killed=True, of_event="am_anr"),
    _report("[", rf"^\[{_PID},\d{{1,4}},{_NAME},", "crash", killed=True, of_event="am_crash"),
)
_SUBJECT = re.compile(rf"^pid: {_PID}(?:, tid: \d{{1,9}})?(?:, name: .{{0,80}}?)? *>>> (?P<name>.{{1,200}}?) <<<")
_BENCHMARK = re.compile(r"(?i)benchmark|tflite|litert|tensorflow|run_model")
_PACKAGE = re.compile(r"^[a-z]\w*(?:\.\w+)+")


def process_end_of(line: Line) -> ProcessEnd | None:
    """The end of a process that a line reports.

    Args:
        line: of the log.

    Returns:
        None: it reports none.
    """
    text = line.text.strip()
    for report in _REPORTS:
        if report.hint not in text or report.of_event not in line.source:
            continue
        if found := report.pattern.search(text):
            said = found.groupdict()
            return ProcessEnd(
                report.kind, text, said.get("pid") or "", said.get("name") or "", report.killed, report.notice
            )
    return None


def subject_of(line: Line) -> tuple[str, str] | None:
    """Process and name in the head of a tombstone, which the lines after it are about.

    Args:
        line: of the log.

    Returns:
        None: it is not such a line.
    """
    found = _SUBJECT.match(line.text.strip()) if ">>> " in line.text else None
    return None if found is None else (found["pid"], found["name"])


def may_be_benchmark(name: str) -> bool:
    """Whether a process of this name may be a benchmark.

    Args:
        name: as printed.
    """
    return _BENCHMARK.search(name) is not None


def is_other_app(name: str) -> bool:
    """Whether a name is that of an app that is not a benchmark.

    Args:
        name: as printed.
    """
    return _PACKAGE.match(name) is not None and not may_be_benchmark(name)
