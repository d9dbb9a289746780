"""Figures in messages: few digits, but enough to show what the message says about them."""

from __future__ import annotations

import math
from typing import Final

_DIGITS: Final = 3
_EXACT: Final = 17


def rounded(value: float, digits: int = _DIGITS) -> str:
    """A figure with few significant digits: 0.00482, 17.2, 103, 1030.

    Args:
        value: any number.
        digits: how many; digits before the point are all shown.

    Returns:
        The text.
    """
    if math.isfinite(value) and abs(value) >= 10 ** (digits - 1):
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def compared_with(measured: float, limit: float) -> str:
    """A figure for a sentence in which it is compared with a limit.

    Args:
        measured: the figure.
        limit: what it is compared with.

    Returns:
        Rounded, with as many digits as put it on the same side of the limit as the figure itself.
    """
    side = (measured > limit, measured < limit)
    for digits in range(_DIGITS, _EXACT):
        text = rounded(measured, digits)
        if (float(text) > limit, float(text) < limit) == side:
            return text
    return repr(measured)
