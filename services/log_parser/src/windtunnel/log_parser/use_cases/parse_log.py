"""The use case: a benchmark log becomes a `Log`."""

from __future__ import annotations

import re
from collections.abc import Callable

from windtunnel.log_parser.domain.lines.blocks import Opens, opens
from windtunnel.log_parser.domain.lines.relevant_lines import RelevantLines
from windtunnel.log_parser.domain.log import Log
from windtunnel.log_parser.use_cases.read_runs import RunReader

# Takes the number, from 1, and the text of a line that no rule knew. False: no more of them are wanted.
Unrecognized = Callable[[int, str], bool]


def parse_log(text: str | bytes) -> Log:
    """Reads a log of the TFLite or LiteRT benchmark tool. Never raises on content; takes linear time.

    Figures are taken as printed, and milliseconds are converted to microseconds. If a log states a figure twice, the
    more exact one is kept. A number that the end of the text may have cut is not taken. Sources of the wordings:
    TensorFlow's lite/tools/benchmark and lite/profiling, LiteRT's litert/tools.

    Args:
        text: the log; bytes in UTF-8 or, with a byte order mark, in UTF-16.

    Returns:
        Its runs.
    """
    return read_log(opens(text))


def read_log(open_log: Opens, unrecognized: Unrecognized | None = None) -> Log:
    """Reads a log of any size in flat memory, as `parse_log` does.

    Args:
        open_log: opens it from its beginning; called once or twice.
        unrecognized: receives each line, not blank, that no rule knew, in order; None: they are only counted.

    Returns:
        Its runs.
    """
    lines, log = _read(open_log, (), None)
    shapes = lines.learned()
    if shapes or unrecognized is not None:
        # Prefixes that no rule knows are known only now.
        _, log = _read(open_log, shapes, unrecognized)
    return log


def _read(
    open_log: Opens, shapes: tuple[re.Pattern[str], ...], unrecognized: Unrecognized | None
) -> tuple[RelevantLines, Log]:
    tell = unrecognized or (lambda number, text: False)

    def skipped(number: int, raw: bytes) -> bool:
        return tell(number, raw.decode("utf-8", "replace").rstrip("\r"))

    lines = RelevantLines(open_log, shapes, None if unrecognized is None else skipped)
    reader = RunReader(lines.follow)
    count = 0
    for line in lines:
        understood = reader.take(line)
        if understood:
            if reader.concerned:
                lines.understood(line)
        elif understood is not None:
            count += 1
            tell(line.number, line.text)
    return lines, Log(reader.finish(), count + lines.skipped)
