"""A rule: what a line looks like, and what it says of the run."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from windtunnel.log_parser.domain.lines.read_lines import Line
from windtunnel.log_parser.domain.rules.printed_numbers import may_go_on
from windtunnel.log_parser.domain.rules.run_facts import Run

Found = re.Match[str]
# Whether a line begins a run. "go" may begin one; "new" also ends the one in progress; "on" belongs to it.
# Every app that uses the runtime prints a line of "may": it begins a run only if there is no other.
Begins = Literal["new", "go", "may", "on"]
Handler = Callable[[Run, Found, Line], None]


@dataclass(frozen=True, slots=True)
class Rule:
    """A literal that the line must hold (cheap to look for), a pattern, and a handler.

    Patterns are anchored or bounded, so that matching takes linear time on any input. `handler` is None for lines that
    are known and say nothing we report.
    """

    hint: str
    pattern: re.Pattern[str]
    handler: Handler | None
    begins: Begins


def rule(hint: str, pattern: str, handler: Handler | None = None, begins: Begins = "on") -> Rule:
    """A rule with its pattern compiled.

    Args:
        hint: text that every such line has, in lower case.
        pattern: regular expression of the line.
        handler: takes the facts of the line; None: there are none.
        begins: whether the line may begin a run.

    Returns:
        The rule.
    """
    return Rule(hint, re.compile(pattern), handler, begins)


def literal(found: Found, group: str | int, line: Line) -> str | None:
    """The text of a group.

    Args:
        found: match of a line.
        group: name or number.
        line: that matched.

    Returns:
        None if the end of a cut log may have cut it.
    """
    text = found[group]
    if text and line.partial and found.end(group) == len(line.text) and may_go_on(text):
        return None
    return text
