"""Assigns the messages of a log to the benchmark runs that they speak of."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from windtunnel.log_parser.domain.lines.read_lines import Line
from windtunnel.log_parser.domain.log import RunLog, UnsupportedOp
from windtunnel.log_parser.domain.rules.benchmark_rules import RULES
from windtunnel.log_parser.domain.rules.failure_wordings import failure_of
from windtunnel.log_parser.domain.rules.options_table import OptionRow, is_title, row_of, runs_of
from windtunnel.log_parser.domain.rules.process_ends import (
    ProcessEnd,
    is_other_app,
    may_be_benchmark,
    process_end_of,
    subject_of,
)
from windtunnel.log_parser.domain.rules.profile_tables import OpTable
from windtunnel.log_parser.domain.rules.report_rules import REPORT_HEAD, csv_row
from windtunnel.log_parser.domain.rules.rule import Begins, Rule
from windtunnel.log_parser.domain.rules.run_facts import Failure, Run

_REFUSED_HEAD = re.compile(r"^(?:Following|Next) operations are not supported by (.{1,60}?) delegate:")
_REFUSED_OP = re.compile(r"^([A-Z][A-Z0-9_]{1,60}(?: [\w.:/-]{1,100})?):(?: (.{0,4000}))?$")
_TABLE_HEAD = re.compile(r"^={3,} ?(?:Run Order|Top by |Summary by )")
_PARAMETERS = re.compile(r"^(?:Log parameter values|(?:Min n|N)um runs:|Graph:)")
_LOADS = re.compile(r"^Load(?:ed model|ing model)")
_TIMES = re.compile(r"^(?:Running (?:benchmark for |\d+ (?:warmup|benchmark) iterations)|\s*count=)")
_RUNTIME = re.compile(r"(?i)tflite|tensorflow|litert|benchmark")


@dataclass(slots=True)
class _Process:
    """One process of the log, or the lines that name none, and what is known of it so far."""

    pid: str
    run: Run | None = None
    last: str = ""
    last_known: bool = True
    refusing: str | None = None


class RunReader:
    """Takes the messages of one log in order.

    Processes that a log names are read separately: several write into one logcat at the same time.

    Args:
        follow: asks for every further line of a process; it receives the process as its lines have it.
    """

    def __init__(self, follow: Callable[[str], None] = lambda mark: None) -> None:
        self._follow = follow
        self._runs: list[Run] = []
        self._processes: dict[str, _Process] = {}
        self._latest: _Process | None = None
        self._options: list[OptionRow] = []
        self._before: tuple[str, str] = ("", "")
        self._before_known = True
        # LiteRT's own lines, which may come before the first that begins a run.
        self._litert = False
        self._tombstone: tuple[str, str] | None = None
        # Whether the last line was about a run: the lines after it may be too.
        self.concerned = False

    def take(self, line: Line) -> bool | None:
        """Reads one message.

        Args:
            line: of the log.

        Returns:
            Whether it was understood; None: it is blank.
        """
        text = line.text
        self.concerned = False
        if not text or text.isspace():
            return None
        process = self._process_of(line)
        if self._is_repeat(process, line):
            return process.last_known if text == process.last else self._before_known
        self._before = (text, line.pid)
        self._litert = self._litert or "litert" in line.source.lower()
        process.last = text
        process.last_known = not line.too_long and self._known(line, process)
        self._before_known = process.last_known
        if process.last_known and process.run is not None:
            self._latest = process
            if "litert" in line.source.lower():
                process.run.tool = "litert"
        return process.last_known

    def finish(self) -> tuple[RunLog, ...]:
        """The runs of the log.

        In a log with a benchmark, lines of delegates from another process make no run: other apps use the runtime too.
        """
        # Of a command without a run, only the last may be one whose log is cut.
        started = [run for run in self._runs[:-1] if not run.is_command_alone] + self._runs[-1:]
        benchmarks = {run.pid for run in started if run.of_tool}
        runs = [run for run in started if not benchmarks or not run.pid or run.pid in benchmarks]
        built: list[RunLog] = []
        printed: set[tuple[str, RunLog]] = set()
        for run in (*runs, *runs_of(self._options, runs)):
            one = run.build()
            # A logcat that was read twice into one file has a run of a process twice.
            twice = bool(run.pid) and one.inference.avg_us is not None and (run.pid, one) in printed
            printed.add((run.pid, one))
            if not twice:
                built.append(one)
        return tuple(built)

    # --- which process ------------------------------------------------------------------------------------------------

    def _process_of(self, line: Line) -> _Process:
        if line.pid:
            return self._processes.get(line.pid) or _Process(line.pid)
        return self._processes.get("") or self._latest or _Process("")

    def _is_repeat(self, process: _Process, line: Line) -> bool:
        """Whether a line is the double of the one before: of its process, or in a log and a console in one file."""
        text, pid = self._before
        same = line.text == process.last or (line.text == text and "" in (pid, line.pid))
        if not same:
            return False
        # Rows of a table may be equal by themselves; there only a table whose heading came twice is doubled.
        profile = process.run.profile if process.run is not None else None
        if profile is None or profile.table is None:
            return True
        if _TABLE_HEAD.match(line.text) or OpTable.is_header(line.text):
            profile.doubled = True
        return profile.doubled

    def _open(self, process: _Process, line: Line) -> Run:
        process.run = Run(pid=process.pid, tool="litert" if self._litert and not self._runs else "tflite")
        self._runs.append(process.run)
        self._processes[process.pid] = process
        if line.mark:
            self._follow(line.mark)
        return process.run

    def _without_process(self) -> Run | None:
        """The run whose lines name no process: lines of a logcat in the same file may belong to it."""
        process = self._processes.get("")
        return None if process is None else process.run

    # --- what a line says -------------------------------------------------------------------------------------------

    def _known(self, line: Line, process: _Process) -> bool:
        if (end := process_end_of(line)) is not None:
            self._ended(end, line, process)
            return True
        if self._option(line) or self._block(line, process) or self._rules(line, process):
            return True
        if self._failure(line, process):
            return True
        # Pasted into an issue or a list, a whole log may stand to the right.
        text = line.text.lstrip()
        if text == line.text:
            return False
        line = replace(line, text=text)
        return self._rules(line, process) or self._failure(line, process)

    def _option(self, line: Line) -> bool:
        """Rows of the table over all runs; whether they are runs of their own shows at the end of the log."""
        if is_title(line.text):
            self.concerned = True
            return True
        if not (":" in line.text and (row := row_of(line))):
            return False
        self.concerned = True
        if row not in self._options:
            self._options.append(row)
        return True

    def _block(self, line: Line, process: _Process) -> bool:
        """Lines that mean something only after others: refused ops, rows of a table."""
        run = process.run
        if run is None:
            return False
        self.concerned = True
        if run.csv_columns is not None and "," in line.text and csv_row(run, line):
            return True
        if process.refusing is not None:
            if found := _REFUSED_OP.match(line.text):
                if not line.partial:
                    why = (found[2] or "").strip() or None
                    run.delegates.name(process.refusing).unsupported[UnsupportedOp(found[1], why)] = None
                return True
            process.refusing = None
        table = run.profile.table
        op = table.row(line.text) if table is not None else None
        if op is None:
            return False
        if run.profile.target is not None and not line.partial:
            run.profile.target.append(op)
        return True

    def _rules(self, line: Line, process: _Process) -> bool:
        text = line.text
        for rule in RULES:
            if rule.hint in text and (found := rule.pattern.search(text)):
                run = self._run_for(rule, line, process)
                self.concerned = run is not None
                if run is not None and rule.handler is not None:
                    rule.handler(run, found, line)
                self._after(run, line, process)
                return True
        return False

    def _after(self, run: Run | None, line: Line, process: _Process) -> None:
        """What a line means beyond its own rule."""
        if run is None:
            return
        if head := _REFUSED_HEAD.match(line.text):
            owner = process if process.run is run else self._processes.get("", process)
            owner.refusing = head[1]
            run.delegates.name(head[1])
        if _TABLE_HEAD.match(line.text):
            run.profile.doubled = False
        if _TIMES.match(line.text):
            run.beyond_flags = True
        if "delegate" in line.text and (failure := failure_of(line)):
            run.fail(failure[0])

    def _run_for(self, rule: Rule, line: Line, process: _Process) -> Run | None:
        run = process.run
        another = run is not None and run.is_command_alone and rule.hint == "--graph="
        if run is None or another or self._ends_run(run, rule.begins, line.text):
            shared = self._without_process() if process.pid and run is None else None
            if rule.begins == "on":
                return run or shared
            if rule.begins == "may" and shared is not None:
                return shared
            run = self._open(process, line)
        run.of_tool = run.of_tool or rule.begins in ("go", "new")
        return run

    @staticmethod
    def _ends_run(run: Run, begins: Begins, text: str) -> bool:
        """Whether a line cannot belong to the run at hand any more."""
        if begins == "new":
            return run.under_way or (run.started and text.startswith("STARTING!"))
        if run.gave_up and begins in ("go", "may"):
            return not text.startswith("Benchmarking failed")
        if REPORT_HEAD.match(text) or text.startswith("config_key,"):
            return run.reported
        if _PARAMETERS.match(text):
            return run.under_way
        if _LOADS.match(text):
            return bool(run.counts) or run.complete
        if _TIMES.match(text):
            done = run.complete or len(run.counts) >= 2
            return done and text not in (*run.phases[-1:], *run.counts)
        return run.summary is not None and "timings in " in text and text != run.summary

    # --- failures -----------------------------------------------------------------------------------------------------

    def _failure(self, line: Line, process: _Process) -> bool:
        """Failures, and what the runtime reports as a warning or an error in words that no rule knows."""
        if (subject := subject_of(line)) is not None:
            self._tombstone = subject
            return True
        of_runtime = not line.source or _RUNTIME.search(line.source) is not None
        found = failure_of(line)
        if found is not None:
            return self._fail(line, process, *found, of_runtime=of_runtime)
        if process.run is None or line.level not in ("W", "E", "F") or not of_runtime:
            return False
        self.concerned = True
        if line.level == "W":
            process.run.warnings[line.text.strip()] = None
        else:
            process.run.fail(Failure("other", line.text.strip(), fatal=line.level == "F"))
        return True

    def _fail(self, line: Line, process: _Process, failure: Failure, opens: bool, *, of_runtime: bool) -> bool:
        run = process.run
        if run is None and process.pid:
            # A process that is not known to run a benchmark.
            if not (opens or of_runtime):
                return False
            run = self._without_process()
        if run is None and (opens or not self._runs):
            run = self._open(process, line)
        if run is not None:
            run.fail(failure)
        self.concerned = run is not None
        return self.concerned

    def _ended(self, end: ProcessEnd, line: Line, process: _Process) -> None:
        """Fails the run whose process ended; other processes end in a log too."""
        pid, name = end.pid, end.name
        if not pid and not name and self._tombstone is not None:
            pid, name = self._tombstone
        run = self._run_that_ended(pid, name, end, process)
        if run is None and not self._runs and (may_be_benchmark(name) or not (line.pid or name)):
            run = self._open(process, line)
        self.concerned = run is not None
        if run is None or (run.complete and end.notice):
            return
        run.fail(Failure(end.kind, end.message, fatal=True))

    def _run_that_ended(self, pid: str, name: str, end: ProcessEnd, process: _Process) -> Run | None:
        if pid and (known := self._processes.get(pid)) is not None:
            return known.run
        if process.run is not None and process.pid and not pid and not end.killed:
            return process.run
        run = self._without_process()
        if run is not None:
            return None if end.killed and is_other_app(name) else run
        if not pid and process.run is not None and not is_other_app(name):
            return process.run
        if may_be_benchmark(name) and self._runs and not pid:
            return self._runs[-1]
        return None
