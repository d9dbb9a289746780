"""The use case: a benchmark log becomes a `Log`."""

from __future__ import annotations

import re
from dataclasses import replace

from windtunnel.log_parser.domain.lines.read_lines import MAX_LINE, Line, decode, messages
from windtunnel.log_parser.domain.log import Log, UnsupportedOp
from windtunnel.log_parser.domain.rules.benchmark_rules import RULES
from windtunnel.log_parser.domain.rules.failure_wordings import failure_of
from windtunnel.log_parser.domain.rules.options_table import OptionRow, row_of, runs_of
from windtunnel.log_parser.domain.rules.profile_tables import OpTable
from windtunnel.log_parser.domain.rules.rule import Begins, Rule
from windtunnel.log_parser.domain.rules.run_facts import Failure, Run

_REFUSED_HEAD = re.compile(r"^(?:Following|Next) operations are not supported by (.{1,60}?) delegate:")
_REFUSED_OP = re.compile(r"^([A-Z][A-Z0-9_]{1,60}(?: [\w.:/-]{1,100})?):(?: (.{0,4000}))?$")
_TABLE_HEAD = re.compile(r"^={3,} ?(?:Run Order|Top by |Summary by )")
_PARAMETERS = re.compile(r"^(?:Log parameter values|(?:Min n|N)um runs:|Graph:)")
_LOADS = re.compile(r"^Load(?:ed model|ing model)")
_TIMES = re.compile(r"^(?:Running (?:benchmark for |\d+ (?:warmup|benchmark) iterations)|\s*count=)")
_RUNTIME = re.compile(r"(?i)tflite|tensorflow|litert")


def parse_log(text: str | bytes) -> Log:
    """Reads a log of the TFLite or LiteRT benchmark tool. Never raises on content; takes linear time.

    Figures are taken as printed, and milliseconds are converted to microseconds. If a log states a figure twice, the
    more exact one is kept. A number that the end of the text may have cut is not taken. Sources of the wordings:
    TensorFlow's lite/tools/benchmark and lite/profiling, LiteRT's litert/tools.

    Args:
        text: the log; bytes of any encoding that `decode` knows.

    Returns:
        Its runs.
    """
    parser = _Parser()
    for line in messages(decode(text)):
        parser.take(line)
    return parser.finish()


class _Parser:
    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.run: Run | None = None
        self.unrecognized = 0
        self.last = ""
        self.last_known = True
        self.refusing: str | None = None
        self.options: list[OptionRow] = []

    def take(self, line: Line) -> None:
        """Reads one message.

        Args:
            line: of the log.
        """
        text = line.text
        if not text or text.isspace():
            return
        if text == self.last and self._is_repeat(text):
            self.unrecognized += not self.last_known
            return
        self.last = text
        self.last_known = len(text) < MAX_LINE and self._known(line)
        if self.last_known and self.run is not None and "litert" in line.source.lower():
            self.run.tool = "litert"
        self.unrecognized += not self.last_known

    def _known(self, line: Line) -> bool:
        if self._option(line) or self._block(line) or self._rules(line) or self._failure(line):
            return True
        # Pasted into an issue or a list, a whole log may stand to the right.
        text = line.text.lstrip()
        if text == line.text:
            return False
        return self._rules(replace(line, text=text)) or self._failure(replace(line, text=text))

    def _option(self, line: Line) -> bool:
        """Rows of the table over all runs; whether they are runs of their own shows at the end of the log."""
        if not (":" in line.text and (row := row_of(line))):
            return False
        if row not in self.options:
            self.options.append(row)
        return True

    def finish(self) -> Log:
        """The log so far."""
        self.runs += runs_of(self.options, self.runs)
        return Log(tuple(run.build() for run in self.runs), self.unrecognized)

    def _is_repeat(self, text: str) -> bool:
        """Whether a line equal to the one before is its double: a logger and a console in one file.

        Rows of a table may be equal by themselves; there only a table whose heading came twice is doubled.
        """
        profile = self.run.profile if self.run is not None else None
        if profile is None or profile.table is None:
            return True
        if _TABLE_HEAD.match(text) or OpTable.is_header(text):
            profile.doubled = True
        return profile.doubled

    def _block(self, line: Line) -> bool:
        """Lines that mean something only after others: refused ops, rows of a table."""
        run = self.run
        if run is None:
            return False
        if self.refusing is not None:
            if found := _REFUSED_OP.match(line.text):
                if not line.partial:
                    why = (found[2] or "").strip() or None
                    run.delegates.name(self.refusing).unsupported[UnsupportedOp(found[1], why)] = None
                return True
            self.refusing = None
        table = run.profile.table
        op = table.row(line.text) if table is not None else None
        if op is None:
            return False
        if run.profile.target is not None and not line.partial:
            run.profile.target.append(op)
        return True

    def _rules(self, line: Line) -> bool:
        text = line.text
        for rule in RULES:
            if rule.hint in text and (found := rule.pattern.search(text)):
                run = self._run_for(rule, line)
                if run is not None and rule.handler is not None:
                    rule.handler(run, found, line)
                self._after(run, line)
                return True
        return False

    def _after(self, run: Run | None, line: Line) -> None:
        """What a line means beyond its own rule."""
        if run is None:
            return
        if head := _REFUSED_HEAD.match(line.text):
            self.refusing = head[1]
            run.delegates.name(head[1])
        if _TABLE_HEAD.match(line.text):
            run.profile.doubled = False
        if _TIMES.match(line.text):
            run.beyond_flags = True
        if "delegate" in line.text and (failure := failure_of(line)):
            run.fail(failure[0])

    def _run_for(self, rule: Rule, line: Line) -> Run | None:
        if self.run is None or self._ends_run(self.run, rule.begins, line.text):
            if rule.begins == "on":
                return self.run
            self.run = Run()
            self.runs.append(self.run)
        return self.run

    @staticmethod
    def _ends_run(run: Run, begins: Begins, text: str) -> bool:
        """Whether a line cannot belong to the run at hand any more."""
        if begins == "new":
            return run.under_way or (run.started and text.startswith("STARTING!"))
        if run.gave_up and begins == "go":
            return not text.startswith("Benchmarking failed")
        if _PARAMETERS.match(text):
            return run.under_way
        if _LOADS.match(text):
            return bool(run.counts) or run.complete
        if _TIMES.match(text):
            done = run.complete or len(run.counts) >= 2
            return done and text not in (*run.phases[-1:], *run.counts)
        return run.summary is not None and "timings in " in text and text != run.summary

    def _failure(self, line: Line) -> bool:
        """Failures, and what the runtime reports as a warning or an error in words that no rule knows."""
        found = failure_of(line)
        if found is not None:
            failure, opens = found
            if self.run is None and (opens or not self.runs):
                self._open()
            if self.run is not None:
                self.run.fail(failure)
            return self.run is not None
        of_runtime = not line.source or _RUNTIME.search(line.source) is not None
        if self.run is None or line.level not in ("W", "E", "F") or not of_runtime:
            return False
        if line.level == "W":
            self.run.warnings[line.text.strip()] = None
        else:
            self.run.fail(Failure("other", line.text.strip(), fatal=line.level == "F"))
        return True

    def _open(self) -> None:
        self.run = Run()
        self.runs.append(self.run)
