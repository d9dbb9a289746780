r"""Regular expressions with Unicode properties, which Python's `re` lacks: \p{L} becomes a class of its ranges."""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import lru_cache
from typing import Final

from windtunnel.errors import Unsupported

_PROPERTY: Final = re.compile(r"\\([pP])(?:\{(\^?)([A-Za-z_]+)\}|([A-Z]))")
_CATEGORIES: Final = re.compile(r"L[ultmo]?|M[nce]?|N[dlo]?|P[cdseifo]?|S[mcko]?|Z[slp]?|C[cfosn]?")


@lru_cache(maxsize=64)
def compiled(pattern: str) -> re.Pattern[str]:
    r"""Compiles a pattern as tokenizers write it (Oniguruma).

    Args:
        pattern: may hold \p{..} and \P{..} of general categories, and POSIX-free classes.

    Returns:
        The pattern.

    Raises:
        Unsupported: another property, or a construct that Python lacks.
    """
    parts: list[str] = []
    inside, place = False, 0
    while place < len(pattern):
        found = _PROPERTY.match(pattern, place)
        if found:
            negated = (found[1] == "P") != bool(found[2])
            ranges = _ranges(found[3] or found[4], negated, pattern)
            parts.append(ranges if inside else f"[{ranges}]")
            place = found.end()
            continue
        width = 2 if pattern[place] == "\\" else 1
        inside = (inside or pattern[place] == "[") and pattern[place] != "]"
        parts.append(pattern[place : place + width])
        place += width
    try:
        return re.compile("".join(parts))
    except re.error as error:
        raise Unsupported(
            f"the tokenizer's pattern {pattern[:80]!r} is not supported: {error}",
            hint="tokenize the samples beforehand and leave the step out",
        ) from None


def _ranges(category: str, negated: bool, pattern: str) -> str:
    if not _CATEGORIES.fullmatch(category):
        raise Unsupported(
            f"the tokenizer's pattern {pattern[:80]!r} has the property {category!r}, which is not supported",
            hint="general categories such as L, Nd or Zs are",
        )
    return _class_of(category, negated)


@lru_cache(maxsize=16)
def _class_of(category: str, negated: bool) -> str:
    """The content of a character class: the ranges of a category, or of all others."""
    ranges: list[str] = []
    start = None
    for point in range(sys.maxunicode + 2):
        within = point <= sys.maxunicode and unicodedata.category(chr(point)).startswith(category) != negated
        if within and start is None:
            start = point
        elif not within and start is not None:
            ranges.append(f"\\U{start:08x}-\\U{point - 1:08x}")
            start = None
    return "".join(ranges)
