"""The smallest set that is still enough: doubling and halving on a ranked list, then one by one. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def smallest_set(ranked: Sequence[T], holds: Callable[[Sequence[T]], Awaitable[bool]]) -> tuple[T, ...] | None:
    """A set of which no member can be left out.

    It is taken from the shortest front part of the list that holds, found by doubling and then halving. If leaving out
    members can make things better again, that part may not be the shortest, but it does hold.

    Args:
        ranked: the likeliest members first.
        holds: whether a set, in the order of `ranked`, is enough. Asked at most 2 log2(n) + k + 2 times, k members in
            the shortest front part of the list that holds.

    Returns:
        None if not even all of them hold.
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
    """Removes members that can be left out, the least likely first.

    Args:
        members: a set that holds.
        holds: whether a set is enough.

    Returns:
        A set that holds, of which no member can be left out.
    """
    left = list(members)
    for member in reversed(members):
        if len(left) == 1:
            break
        fewer = [one for one in left if one != member]
        if await holds(fewer):
            left = fewer
    return tuple(left)
