"""Which of many trials nothing else beats."""

from __future__ import annotations

from collections.abc import Sequence


def front(points: Sequence[Sequence[float] | None]) -> list[int]:
    """Indices of the points that no other point dominates; smaller is better on every axis.

    A point dominates another when it is nowhere larger and somewhere smaller. Of equal points the first counts;
    None is a point without figures and never counts. Ordered by the first axis, then the others.
    """
    known = [index for index, point in enumerate(points) if point is not None]
    found = [index for index in known if not any(_beats(points, other, index) for other in known if other != index)]
    return sorted(found, key=lambda index: (tuple(points[index] or ()), index))


def dominates(a: Sequence[float] | None, b: Sequence[float] | None) -> bool:
    """Whether `a` is nowhere larger than `b` and somewhere smaller; None neither dominates nor is dominated."""
    return a is not None and b is not None and tuple(a) != tuple(b) and all(x <= y for x, y in zip(a, b, strict=True))


def _beats(points: Sequence[Sequence[float] | None], first: int, second: int) -> bool:
    a, b = points[first], points[second]
    is_earlier_twin = a is not None and b is not None and tuple(a) == tuple(b) and first < second
    return is_earlier_twin or dominates(a, b)
