"""Money in whole millionths of a US dollar: sums are exact, and the parts of a bill add up to it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

MICROS_PER_USD: Final = 1_000_000


def micro_usd(amount: Decimal) -> int:
    """An amount in millionths of a dollar.

    Args:
        amount: in US dollars.

    Returns:
        Rounded half up.
    """
    return int((amount * MICROS_PER_USD).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def usd(micros: int) -> Decimal:
    """An amount in US dollars.

    Args:
        micros: in millionths of a dollar.

    Returns:
        Exactly as much.
    """
    return Decimal(micros) / MICROS_PER_USD


def bill(price_per_minute_usd: Decimal | None, minutes: Decimal | None) -> int | None:
    """What a farm bills.

    Args:
        price_per_minute_usd: of the device; None: it costs nothing.
        minutes: that the farm bills; None: none.

    Returns:
        In millionths of a dollar; None: the device costs nothing.
    """
    return None if price_per_minute_usd is None else micro_usd(price_per_minute_usd * (minutes or Decimal(0)))


def share_bill(total: int, weights: Sequence[float]) -> tuple[int, ...]:
    """Divides a bill by weights; the parts add up to it exactly.

    Largest remainders first (Hamilton's method), ties by the order of the weights.

    Args:
        total: in millionths of a dollar.
        weights: one for each part, none negative. All zero: equal parts.

    Returns:
        One part for each weight, in millionths of a dollar.
    """
    if not weights:
        return ()
    exact = [Decimal(str(weight)) for weight in weights]
    if sum(exact) == 0:
        exact = [Decimal(1)] * len(exact)
    shares = [total * weight / sum(exact) for weight in exact]
    parts = [int(share) for share in shares]
    by_remainder = sorted(range(len(parts)), key=lambda index: (parts[index] - shares[index], index))
    for index in by_remainder[: total - sum(parts)]:
        parts[index] += 1
    return tuple(parts)
