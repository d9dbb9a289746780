"""Rows of the profiler's tables."""

from __future__ import annotations

import re

from windtunnel.log_parser.domain.log import Op
from windtunnel.log_parser.domain.rules.printed_numbers import number

_CELL = re.compile(r"\[([^\[\]]{1,40})\]")
_NUMERIC = re.compile(r"[-+]?(?:[0-9][0-9.]{0,30}(?:e[-+]?[0-9]+)?|nan|inf)%?\Z", re.IGNORECASE)
_CSV_HEAD = "node type, "
_FIELDS = {
    "start": "start_ms",
    "first": "first_ms",
    "avg ms": "avg_ms",
    "%": "percent",
    "mem kb": "memory_kb",
    "times called": "calls",
}


class OpTable:
    """Reads rows under one header. Columns are found by their titles: newer tools leave some out.

    Args:
        header: line with the titles of the columns.
    """

    def __init__(self, header: str) -> None:
        self._csv = header.lstrip().startswith(_CSV_HEAD)
        titles = header.split(",") if self._csv else _CELL.findall(header)
        self.columns = [title.strip().lower().replace("avg_ms", "avg ms") for title in titles]
        self._named = self.columns[-1:] == ["name"]

    @property
    def is_of_ops(self) -> bool:
        """Whether each row is an op; if not, each is a type of op, with the count of its ops."""
        return "count" not in self.columns

    @staticmethod
    def is_header(text: str) -> bool:
        """Whether a line is the header of any of the profiler's tables.

        Args:
            text: of the line.
        """
        return text.lstrip()[:11].lower() == "[node type]" or text.startswith(_CSV_HEAD)

    def row(self, text: str) -> Op | None:
        """Reads a row.

        Args:
            text: of the line.

        Returns:
            None if it is not a whole row.
        """
        cells = self._cells(text)
        if cells is None:
            return None
        named = dict(zip(self.columns, cells, strict=True))
        figures = {field: number(named.get(column)) for column, field in _FIELDS.items()}
        return Op(type=named["node type"], name=named.get("name"), **figures)

    def _cells(self, text: str) -> list[str] | None:
        width = len(self.columns)
        if self._csv:
            cells: list[str] | None = [cell.strip() for cell in text.split(",", width - 1)]
        else:
            cells = self._by_tabs(text, width) if text.startswith("\t") else self._by_spaces(text.split(), width)
        if cells is None or len(cells) != width or not cells[0]:
            return None
        numeric = cells[1:-1] if self._named else cells[1:]
        return cells if all(map(_NUMERIC.match, numeric)) else None

    @staticmethod
    def _by_tabs(text: str, width: int) -> list[str]:
        return [cell.strip() for cell in text[1:].split("\t", width - 1)]

    def _by_spaces(self, words: list[str], width: int) -> list[str] | None:
        """Node types and names may hold spaces: the columns are the first unbroken run of numbers between them."""
        count = width - (2 if self._named else 1)
        run = 0
        for index, word in enumerate(words):
            run = run + 1 if _NUMERIC.match(word) else 0
            if run == count and index >= count:
                first = index - count + 1
                cells = [" ".join(words[:first]), *words[first : index + 1]]
                return [*cells, " ".join(words[index + 1 :])] if self._named else cells
        return None
