"""The table of benchmark_model_performance_options: one row of figures for each set of options that it tried."""

from __future__ import annotations

import re
from dataclasses import dataclass

from windtunnel.log_parser.domain.lines.read_lines import Line
from windtunnel.log_parser.domain.rules.printed_numbers import PAIR, STATS, in_us, may_go_on, natural, non_negative
from windtunnel.log_parser.domain.rules.run_facts import Failure, Run

_TITLE = re.compile(r"^=+ ?Summary of All Runs\b")
_ROW = re.compile(
    r"^\s*(?P<option>(?:cpu w/|gpu\b|nnapi\b|dsp w/|coreml\b|hexagon\b|xnnpack\b)[^:]{0,80}?) *: +"
    r"(?P<figures>count=.*|failed!.*)$"
)
_CPU = re.compile(r"cpu w/ (-?[0-9]{1,3}) threads?(?: \((xnnpack)[\w-]*\))?")
_ACCELERATORS = ("gpu", "nnapi", "dsp", "hexagon", "coreml", "xnnpack")


@dataclass(frozen=True, slots=True)
class OptionRow:
    """One row: the options as printed, and the figures as printed, or "failed!"."""

    option: str
    figures: str
    partial: bool

    @property
    def failed(self) -> bool:
        """Whether the options could not be run."""
        return self.figures.startswith("failed!")

    def is_of(self, run: Run) -> bool:
        """Whether the log has the run itself, which says more than its row.

        Args:
            run: of the log.
        """
        return any(text.strip() == self.figures or (self.partial and self.figures in text) for text in run.counts)


def is_title(text: str) -> bool:
    """Whether a line is the title of the table.

    Args:
        text: of the line.
    """
    return _TITLE.match(text) is not None


def row_of(line: Line) -> OptionRow | None:
    """Reads a row.

    Args:
        line: of the log.

    Returns:
        None: it is not a row.
    """
    found = _ROW.match(line.text)
    return None if found is None else OptionRow(found["option"], found["figures"].strip(), line.partial)


def runs_of(rows: list[OptionRow], runs: list[Run]) -> list[Run]:
    """A run for each row whose own run is not in the log.

    A row that failed has no figures by which its run could be found: it counts if the log has none of the runs.

    Args:
        rows: of the table.
        runs: of the log.

    Returns:
        The additional runs.
    """
    alone = not any(row.is_of(run) for row in rows for run in runs)
    wanted = [row for row in rows if alone or not (row.failed or any(row.is_of(run) for run in runs))]
    return [_run(row) for row in wanted]


def _run(row: OptionRow) -> Run:
    run = Run(started=True, beyond_flags=True, of_tool=True, shows_request=True)
    if cpu := _CPU.match(row.option):
        run.set_threads(natural(cpu[1]), 3)
        if cpu[2]:
            run.delegates.request("xnnpack")
    else:
        name = next((name for name in _ACCELERATORS if row.option.startswith(name)), None)
        if name is not None:
            run.delegates.request("hexagon" if name == "dsp" else name)
    if row.failed:
        run.fail(Failure("other", f"{row.option}: {row.figures}", fatal=True))
        return run
    run.fill(
        "inference",
        **{STATS[pair[1]]: _figure(pair, row) for pair in PAIR.finditer(row.figures) if pair[1] in STATS},
    )
    run.complete = not row.partial
    return run


def _figure(pair: re.Match[str], row: OptionRow) -> float | None:
    """The value; None where the end of a cut log may have cut it."""
    cut = row.partial and pair.end() == len(row.figures) and may_go_on(pair[2])
    if cut:
        return None
    return non_negative(pair[2]) if pair[1] == "count" else in_us(pair[2], pair[3])
