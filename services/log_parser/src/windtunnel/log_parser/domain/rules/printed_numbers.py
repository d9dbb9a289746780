"""Numbers as the tools print them."""

from __future__ import annotations

import math
import re
from decimal import Decimal

# Only digits of ASCII: \d has those of every script.
NUMBER = r"[-+]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?(?:[eE][-+]?[0-9]{1,4})?|\.[0-9]{1,400}|(?i:nan|inf(?:inity)?))"
# Units of time as tools print them; microseconds with either of the two characters that look like a mu.
UNIT = r"(?:ns|us|µs|μs|ms|s)"
# A figure with its name in a row of statistics: avg=1.5, or p95=1.5ms.
PAIR = re.compile(rf"(\w{{1,20}})=({NUMBER})({UNIT})?(?=[\s,;]|$)")
STATS = {
    "count": "count", "first": "first_us", "avg": "avg_us", "min": "min_us", "max": "max_us", "std": "std_us",
    "p5": "p5_us", "median": "median_us", "p50": "median_us", "p95": "p95_us",
}  # fmt: skip
_NUMBER = re.compile(rf"\s*({NUMBER})%?\s*\Z")


def number(literal: str | None, scale: int = 1) -> float | None:
    """Reads a number. Decimal arithmetic keeps 4.478 ms at 4478 us.

    Args:
        literal: as printed; None: nothing is printed.
        scale: what to multiply by.

    Returns:
        An int if it is one; None if it is not a finite number.
    """
    found = _NUMBER.match(literal) if literal is not None else None
    if found is None:
        return None
    approximate = float(found[1])
    if not math.isfinite(approximate * scale):
        return None
    if approximate == 0.0:
        return 0
    exact = Decimal(found[1]) * scale
    if abs(approximate) < 2**53 and exact == exact.to_integral_value():
        return int(exact)
    return float(exact)


def in_us(literal: str | None, unit: str | None, default: str = "us") -> float | None:
    """Reads a time. Negative values mean unknown to the tools.

    Args:
        literal: as printed; None: nothing is printed.
        unit: after the literal; None: nothing is printed.
        default: the unit without one.

    Returns:
        In microseconds; None: unknown.
    """
    unit = unit or default
    if unit == "ns":
        value = non_negative(literal)
        return None if value is None else value / 1000
    return non_negative(literal, {"s": 1_000_000, "ms": 1000}.get(unit, 1))


def non_negative(literal: str | None, scale: int = 1) -> float | None:
    """As `number`; a negative value means unknown to the tools.

    Args:
        literal: as printed; None: nothing is printed.
        scale: what to multiply by.

    Returns:
        None: unknown.
    """
    value = number(literal, scale)
    return None if value is None or value < 0 else value


def natural(literal: str | None) -> int | None:
    """Reads a count.

    Args:
        literal: as printed; None: nothing is printed.

    Returns:
        None if it is not a whole number of at most 15 digits.
    """
    if literal is None or not literal.isascii() or not literal.isdigit() or len(literal) > 15:
        return None
    return int(literal)


def may_go_on(literal: str) -> bool:
    """Whether a number at the very end of a cut text may be the beginning of a longer one.

    C++ streams print six significant digits and an exponent of two digits, so some literals are surely whole.

    Args:
        literal: as printed.
    """
    mantissa, exponent, power = literal.lower().partition("e")
    if exponent:
        return len(power.lstrip("+-")) < 2
    whole, point, fraction = mantissa.partition(".")
    if not point:
        return True
    digits = (whole + fraction).lstrip("+-0")
    # One digit before the point may still be followed by an exponent.
    return len(digits) < 6 or len(whole.lstrip("+-")) < 2
