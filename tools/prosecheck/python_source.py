"""The passages of a Python file: docstrings, comments, and strings that are sentences (messages and help)."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import replace

from prosecheck import markdown
from prosecheck.passages import CODE, Passage, passage

_DIRECTIVE = re.compile(r"#\s*(!|type:|noqa|pragma|mypy:|ruff:|fmt:|%%)")
_SECTION = re.compile(r"\s*(Args|Arguments|Returns|Raises|Yields|Attributes|Example|Examples|Note|Usage):\s*$")
_ENTRY = re.compile(r"\s*(?:[-*]\s+|\d+[.)]\s+|\*{0,2}[A-Za-z_][\w., *]*(?:\([^)]*\))?:\s)")
_WORDS = re.compile(r"[A-Za-z]{2,}[,.:;]?\s+\S*[A-Za-z]{2,}")
# A string with these is a pattern, a path, markup or code, not a sentence.
_NOT_PROSE = re.compile(r"\\[bdswSWD]|\(\?|^\s*[<{]|^(SELECT|INSERT|UPDATE|DELETE|CREATE|WITH)\b|;\s*$|\{\s*\n")

Rows = list[tuple[int, str]]


def passages(text: str) -> Iterator[Passage]:
    """All passages of the file: docstrings, comments and messages.

    Args:
        text: the Python source.

    Yields:
        Each passage.

    Raises:
        SyntaxError: if the source cannot be parsed.
    """
    tree = ast.parse(text)
    documented = {id(node): node for node in _docstrings(tree)}
    for node in documented.values():
        yield from _docstring(node)
    yield from _messages(tree, set(documented))
    yield from _comments(text)


def _docstrings(tree: ast.AST) -> Iterator[ast.Constant]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        body = node.body if isinstance(node, kinds) else []
        first = body[0].value if body and isinstance(body[0], ast.Expr) else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first


def _docstring(node: ast.Constant) -> Iterator[Passage]:
    lines = list(enumerate(str(node.value).splitlines(), node.lineno))
    margin = min((_width(line) for _, line in lines[1:] if line.strip()), default=0)
    rows: Rows = []
    section, blank, code = False, False, False
    for number, line in lines:
        width = _width(line) - margin if number > node.lineno else 0
        section = bool(_SECTION.match(line)) or (section and (not line.strip() or width > 0))
        code = bool(line.strip()) and not section and width >= 4 and (blank or code)
        if not line.strip() or code or _SECTION.match(line) or ">>>" in line or _ENTRY.match(line):
            yield from _finished(rows)
            rows = []
        blank = not line.strip()
        if not code and not _SECTION.match(line) and ">>>" not in line:
            # The name of an argument is an identifier.
            rows.append((number, _ENTRY.sub("", line, count=1) if section else line))
    yield from _finished(rows)


def _messages(tree: ast.AST, documented: set[int]) -> Iterator[Passage]:
    inside: set[int] = set(documented)
    for node in ast.walk(tree):
        if id(node) in inside:
            continue
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in ast.walk(node) if not _is_nested_text(part, node)}
            text = "".join(p.value if isinstance(p, ast.Constant) else CODE for p in node.values)  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if _WORDS.search(text) and not _NOT_PROSE.search(text):
            yield from _paragraphs(node.lineno, text)


def _is_nested_text(part: ast.AST, whole: ast.JoinedStr) -> bool:
    """Whether a part of an f-string is a text of its own, inside of a replacement field."""
    return part not in whole.values and isinstance(part, ast.Constant | ast.JoinedStr) and part is not whole


def _paragraphs(line: int, text: str) -> Iterator[Passage]:
    """A message; one of several lines is read as Markdown, which pages and help texts are."""
    if "\n" not in text.strip():
        yield from _finished([(line, text)])
        return
    for one in markdown.passages(text.replace("\b", "")):
        yield replace(one, lines=tuple(line + number - 1 for number in one.lines))


def _comments(text: str) -> Iterator[Passage]:
    rows: Rows = []
    last = (-1, -1)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        number, column = token.start
        if last != (number - 1, column):
            yield from _finished(rows)
            rows = []
        last = (number, column)
        if not _DIRECTIVE.match(token.string):
            rows.append((number, token.string.lstrip("#: ")))
    yield from _finished(rows)


def _width(line: str) -> int:
    return len(line) - len(line.lstrip())


def _finished(rows: Iterable[tuple[int, str]]) -> Iterator[Passage]:
    if found := passage(rows):
        yield found
