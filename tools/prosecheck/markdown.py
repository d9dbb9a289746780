"""The passages of a Markdown file: paragraphs, list items, headings and table cells; no code."""

from __future__ import annotations

import re
from collections.abc import Iterator

from prosecheck.passages import Passage, passage

_FENCE = re.compile(r"\s*(`{3,}|~{3,})")
_ITEM = re.compile(r"(\s*)(?:[-*+]|\d+[.)])\s+")
_HEADING = re.compile(r"\s*#{1,6}\s+")
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\([^)]*\)", re.DOTALL)
_RULE = re.compile(r"[\s|:-]*-{3,}[\s|:-]*")
_DEFINITION = re.compile(r"\s*\[[^\]]+\]:\s")

Rows = list[tuple[int, str]]


def passages(text: str) -> Iterator[Passage]:
    """All passages of the file, in order.

    Args:
        text: the Markdown source.

    Yields:
        Each passage.
    """
    rows: Rows = []
    for number, line, starts in _prose_lines(_without_links(text)):
        if starts:
            yield from _finished(rows)
            rows = []
        if line.lstrip().startswith("|"):
            yield from _cells(number, line)
        elif line.strip():
            rows.append((number, line))
    yield from _finished(rows)


def _prose_lines(text: str) -> Iterator[tuple[int, str, bool]]:
    """Each line outside of code, with whether a new passage begins at it."""
    fence, indent, blank, comment, code = "", 0, True, False, False
    for number, line in enumerate(text.splitlines(), 1):
        if found := _FENCE.match(line):
            if not fence:
                fence = found[1]
            elif found[1].startswith(fence):
                fence = ""
            yield number, "", True
            continue
        if comment or line.lstrip().startswith("<!--"):
            comment = "-->" not in line
            continue
        if not line.strip():
            blank = True
            yield number, "", True
            continue
        width = len(line) - len(line.lstrip())
        item = _ITEM.match(line)
        code = not fence and width >= indent + 4 and (blank or code)
        if fence or code or _RULE.fullmatch(line) or _DEFINITION.match(line):
            yield number, "", True
        elif item:
            indent = item.end()
            yield number, line[item.end() :], True
        else:
            indent = indent if width else 0
            heading = _HEADING.match(line)
            yield number, line[heading.end() :] if heading else line, bool(heading) or blank or line[0] == "|"
            if heading:
                yield number, "", True
        blank = False


def _without_links(text: str) -> str:
    """Keeps the text of links and pictures and drops their addresses; line breaks stay."""
    return _LINK.sub(lambda link: link[2] + "\n" * (link[0].count("\n") - link[2].count("\n")), text)


def _cells(number: int, line: str) -> Iterator[Passage]:
    for cell in re.split(r"(?<!\\)\|", line.strip().strip("|")):
        yield from _finished([(number, cell)])


def _finished(rows: Rows) -> Iterator[Passage]:
    if found := passage(rows):
        yield found
