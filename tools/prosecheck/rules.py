"""The rules of tools/prose_rules.toml, and what they find in a passage."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from prosecheck.passages import CODE, Passage

LENGTH = "length"


@dataclass(frozen=True)
class Rule:
    """Words that are not used, and what to say instead."""

    name: str
    pattern: re.Pattern[str]
    say: str
    shouted: bool  # whether a word in capitals, which is an identifier, matches too


@dataclass(frozen=True)
class Allowed:
    """An exact phrase in which rules find nothing, with the reason."""

    phrase: str
    reason: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """One place at which a rule matched."""

    line: int
    rule: str
    found: str
    say: str


@dataclass(frozen=True)
class Rules:
    """Everything that the rule file says.

    Attributes:
        rules: rules of words, in the file's order.
        most_words: the longest sentence.
        allowed: phrases in which nothing is found.
        clean: paths that must have no findings.
        skipped: paths that are never read.
        without: pairs of path and name of a rule (a prefix is enough) that does not hold there.
    """

    rules: tuple[Rule, ...]
    most_words: int
    allowed: tuple[Allowed, ...]
    clean: tuple[str, ...]
    skipped: tuple[str, ...]
    without: tuple[tuple[str, str], ...]

    def find(self, passage: Passage, path: str) -> Iterator[Finding]:
        """What is wrong in a passage.

        Args:
            passage: the text.
            path: of its file, relative to the repository; some rules do not hold everywhere.

        Yields:
            Each finding.
        """
        spared = [part for one in self.allowed if matches(path, one.paths) for part in _places(one.phrase, passage)]
        for rule in self.rules:
            if self._holds(rule.name, path):
                for match in rule.pattern.finditer(passage.text):
                    if not _inside(match.span(), spared) and (rule.shouted or not _is_shouted(match[0])):
                        yield Finding(passage.line_at(match.start()), rule.name, match[0], rule.say)
        if self._holds(LENGTH, path):
            yield from self._long_sentences(passage, spared)

    def _long_sentences(self, passage: Passage, spared: list[tuple[int, int]]) -> Iterator[Finding]:
        for start, sentence in passage.sentences():
            count = words(sentence)
            touched = any(start <= begin < start + len(sentence) for begin, _ in spared)
            if count > self.most_words and not touched:
                shown = " ".join(sentence.split()[:6]) + " ..."
                yield Finding(passage.line_at(start), LENGTH, f"{count} words: {shown}", "two sentences")

    def _holds(self, rule: str, path: str) -> bool:
        return not any(rule.startswith(name) and matches(path, (where,)) for where, name in self.without)


def words(sentence: str) -> int:
    """The number of words in a sentence.

    Args:
        sentence: text in which inline code is `CODE`, which counts as one word.

    Returns:
        The number.
    """
    return sum(any(c.isalnum() or c == CODE for c in word) for word in sentence.split())


def load(path: Path) -> Rules:
    """Reads a rule file.

    Args:
        path: of the TOML file.

    Returns:
        The rules.

    Raises:
        ValueError: if an entry lacks what it needs; the message names it.
    """
    with path.open("rb") as file:
        content = tomllib.load(file)
    return Rules(
        rules=tuple(_rule(entry) for entry in content["rule"]),
        most_words=content["most_words"],
        allowed=tuple(_allowed(entry) for entry in content.get("allow", [])),
        clean=tuple(content["clean"]),
        skipped=tuple(content.get("skipped", [])),
        without=tuple((one["path"], one["rule"]) for one in content.get("without", [])),
    )


def matches(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether a path is one of the patterns, below one that is a folder, or fits one with wildcards.

    Args:
        path: relative to the repository, with `/`.
        patterns: files, folders, or patterns as in `fnmatch`; `*` also matches `/`.

    Returns:
        True if any of them matches.
    """
    return any(path == one or path.startswith(one.rstrip("/") + "/") or fnmatch(path, one) for one in patterns)


def _rule(entry: dict[str, Any]) -> Rule:
    flags = re.NOFLAG if entry.get("case", False) else re.IGNORECASE
    return Rule(entry["name"], re.compile(entry["pattern"], flags), entry["say"], entry.get("case", False))


def _allowed(entry: dict[str, Any]) -> Allowed:
    if not entry.get("reason", "").strip():
        raise ValueError(f"allow {entry['phrase']!r}: give the reason")
    return Allowed(entry["phrase"], entry["reason"], tuple(entry.get("paths", ["*"])))


def _places(phrase: str, passage: Passage) -> Iterator[tuple[int, int]]:
    start = passage.text.find(phrase)
    while start >= 0:
        yield start, start + len(phrase)
        start = passage.text.find(phrase, start + 1)


def _inside(span: tuple[int, int], places: list[tuple[int, int]]) -> bool:
    return any(begin <= span[0] and span[1] <= end for begin, end in places)


def _is_shouted(text: str) -> bool:
    return len(text) > 3 and text.isupper()
