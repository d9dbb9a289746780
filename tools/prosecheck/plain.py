"""The passages of other files: comments of configuration, scripts and contracts, and the text of page templates."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from prosecheck.passages import CODE, Passage, passage

# Ends a passage in a template.
_END = "\0"
_BLOCK = re.compile(
    r"<(script|style)\b.*?</\1>|\{#.*?#\}|\{%.*?%\}|<!--.*?-->|</?(?:p|td|th|tr|li|h\d|div|section|summary|caption)\b[^>]*>",
    re.DOTALL | re.IGNORECASE,
)
_INLINE = re.compile(r"\{\{.*?\}\}|<code\b.*?</code>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>", re.DOTALL)
_CODE_LIKE = re.compile(r"^\S+[=:]\S*$|[{};]\s*$")


def hash_comments(text: str) -> Iterator[Passage]:
    """Comments that begin with `#`: YAML, TOML, shell, Dockerfile.

    Args:
        text: the source.

    Yields:
        Each passage.
    """
    yield from _line_comments(text, "#")


def slash_comments(text: str) -> Iterator[Passage]:
    """Comments that begin with `//`: protobuf.

    Args:
        text: the source.

    Yields:
        Each passage.
    """
    yield from _line_comments(text, "//")


def _line_comments(text: str, mark: str) -> Iterator[Passage]:
    """Comments on lines of their own, joined; comments behind code, each by itself."""
    start = re.compile(rf"(?:^|\s){re.escape(mark)}+(?![!/#])\s?(.*)")
    rows: list[tuple[int, str]] = []
    for number, line in enumerate([*text.splitlines(), ""], 1):
        found = start.search(line)
        comment = found[1] if found and not _CODE_LIKE.search(found[1]) else ""
        whole = found is not None and not line[: found.start()].strip()
        if not (whole and comment):
            yield from _finished(rows)
            rows = []
        if comment:
            rows.append((number, comment))
    yield from _finished(rows)


def templates(text: str) -> Iterator[Passage]:
    """Text between the tags of a Jinja or HTML template.

    Args:
        text: the template's source.

    Yields:
        Each passage.
    """
    split = _BLOCK.sub(lambda found: _END + "\n" * found[0].count("\n"), text)
    flat = _TAG.sub(_same_lines(" "), _INLINE.sub(_same_lines(CODE), split))
    line = 1
    for block in flat.split(_END):
        yield from _finished(enumerate(block.split("\n"), line))
        line += block.count("\n")


def _same_lines(replacement: str) -> Callable[[re.Match[str]], str]:
    return lambda found: replacement + "\n" * found[0].count("\n")


def _finished(rows: Iterable[tuple[int, str]]) -> Iterator[Passage]:
    if found := passage(rows):
        yield found
