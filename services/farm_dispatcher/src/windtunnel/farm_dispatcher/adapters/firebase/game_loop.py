"""The game loop of TensorFlow Lite's benchmark app: the log and the report of each scenario.

As in tensorflow/lite/tools/benchmark/experimental/firebase: the app reads the model that is pushed as `graph`, runs
what the number of the scenario stands for, and reports to a file of Test Lab.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_BEGINS: Final = re.compile(r"Running TensorFlow Lite benchmark with scenario: (\d+)")
# The tool's first line, in apps that do not print the scenario.
_STARTS: Final = "STARTING!"
# Status of a report.
OK: Final = "OK"


def split_log(log: str, scenarios: Sequence[int]) -> Mapping[int, str]:
    """The part of a logcat that belongs to each scenario.

    Args:
        log: of all scenarios of one farm run.
        scenarios: that ran, in their order.

    Returns:
        For each scenario the lines from its beginning to that of the next; of one scenario, from its beginning on.
        Of several, nothing if the log does not show which lines are whose.
    """
    lines = log.splitlines(keepends=True)
    begins = [(index, int(found[1])) for index, line in enumerate(lines) if (found := _BEGINS.search(line))]
    if len(scenarios) == 1:
        return {scenarios[0]: "".join(lines[begins[0][0] if begins else 0 :])}
    if not begins:
        starts = [index for index, line in enumerate(lines) if _STARTS in line]
        begins = list(zip(starts, scenarios, strict=True)) if len(starts) == len(scenarios) else []
    ends = [index for index, _ in begins[1:]] + [len(lines)]
    parts = {number: "".join(lines[start:end]) for (start, number), end in zip(begins, ends, strict=False)}
    return {number: parts.get(number, "") for number in scenarios}


def status_of_report(text: str) -> str:
    """What the app says of a scenario.

    Args:
        text: of results_scenario_N.json.

    Returns:
        "OK", or the app's words; empty: it does not say.
    """
    try:
        report: Any = json.loads(text)
    except ValueError:
        return ""
    return str(report.get("status", "")) if isinstance(report, Mapping) else ""
