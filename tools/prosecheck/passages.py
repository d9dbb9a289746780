"""A passage: a stretch of running text with the line of each of its words."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# Stands for inline code, a link's address or a value in an f-string: one word that no rule matches.
CODE = "\u00a4"

_CODE_SPAN = re.compile(r"(`+)(?:(?!\1).|\n)+?\1")
_ADDRESS = re.compile(r"<?\bhttps?://[^\s)>\]]+>?")
_SENTENCE_END = re.compile(r"[.!?][\"')\]*_]*(?=\s+[\"'(\[*_]*[A-Z0-9\u00a4])")
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|etc|vs|cf|al|approx|Fig|No)\.$")


@dataclass(frozen=True)
class Passage:
    """Text of one paragraph, list item, table cell, comment or message.

    Attributes:
        text: the text on one line; code and addresses are replaced by `CODE`.
        starts: offset in `text` at which each source line begins, ascending.
        lines: the number of each of these source lines, from 1.
    """

    text: str
    starts: tuple[int, ...]
    lines: tuple[int, ...]

    def line_at(self, offset: int) -> int:
        """The source line of a character.

        Args:
            offset: of the character in `text`.

        Returns:
            The number of the line, from 1.
        """
        return self.lines[max(bisect_right(self.starts, offset) - 1, 0)]

    def sentences(self) -> Iterator[tuple[int, str]]:
        """Each sentence with the offset at which it begins."""
        begin = 0
        for end in _SENTENCE_END.finditer(self.text):
            if _ABBREVIATION.search(self.text[: end.start() + 1]):
                continue
            yield begin, self.text[begin : end.end()].strip()
            begin = end.end() + 1
        if rest := self.text[begin:].strip():
            yield begin, rest


def passage(rows: Iterable[tuple[int, str]]) -> Passage | None:
    """Joins source rows to a passage.

    Args:
        rows: pairs of line number and text, in order.

    Returns:
        The passage, or None if the rows hold no words.
    """
    numbers, texts = [], []
    for number, text in rows:
        if text.strip():
            numbers.append(number)
            texts.append(text.strip())
    masked = mask("\n".join(texts))
    if not any(character.isalpha() for character in masked):
        return None
    starts = [0, *(at + 1 for at, character in enumerate(masked) if character == "\n")]
    return Passage(masked.replace("\n", " "), tuple(starts), tuple(numbers))


def mask(text: str) -> str:
    """Replaces inline code and addresses by `CODE`.

    Args:
        text: one paragraph.

    Returns:
        The text; line breaks stay where they are.
    """
    return _ADDRESS.sub(CODE, _CODE_SPAN.sub(lambda span: CODE + "\n" * span[0].count("\n"), text))
