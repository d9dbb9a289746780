"""Figures in messages: few digits, but enough to show what is said about them."""

from __future__ import annotations

import math
from typing import Final

_DIGITS: Final = 3
_EXACT: Final = 17


def rounded(value: float, digits: int = _DIGITS) -> str:
    """`value` with `digits` significant digits: 0.00482, 17.2, 103, 1030."""
    if math.isfinite(value) and abs(value) >= 10 ** (digits - 1):
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def compared_with(measured: float, limit: float) -> str:
    """`measured` rounded, for a sentence in which it is compared with `limit`.

    It has as many digits as it takes to lie on the same side of `limit` as the value itself.
    """
    side = (measured > limit, measured < limit)
    for digits in range(_DIGITS, _EXACT):
        text = rounded(measured, digits)
        if (float(text) > limit, float(text) < limit) == side:
            return text
    return repr(measured)
