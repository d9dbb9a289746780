"""The smallest set that still mends: doubling and halving on a ranked list, then one by one. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def smallest_set(ranked: Sequence[T], holds: Callable[[Sequence[T]], Awaitable[bool]]) -> tuple[T, ...] | None:
    """A set of which no member can be left out, or None where not even all of them hold.

    Args:
        ranked: the likeliest members first.
        holds: whether a set, in the order of `ranked`, is enough. Asked at most 2 log2(n) + k + 2 times, k members in
            the shortest front part of the list that holds.

    The first answer comes from the shortest front part, found by doubling and then halving; where leaving out can
    make things better again, that part need not be the shortest, but it was seen to hold.
    """
    if not ranked:
        return None
    size = 1
    while not await holds(ranked[:size]):
        if size >= len(ranked):
            return None
        size = min(size * 2, len(ranked))
    low = size // 2
    while size - low > 1:
        middle = (low + size) // 2
        if await holds(ranked[:middle]):
            size = middle
        else:
            low = middle
    return await without_spare(ranked[:size], holds)


async def without_spare(members: Sequence[T], holds: Callable[[Sequence[T]], Awaitable[bool]]) -> tuple[T, ...]:
    """`members`, which hold, without each one that can be left out, the unlikeliest first."""
    left = list(members)
    for member in reversed(members):
        if len(left) == 1:
            break
        fewer = [one for one in left if one != member]
        if await holds(fewer):
            left = fewer
    return tuple(left)
