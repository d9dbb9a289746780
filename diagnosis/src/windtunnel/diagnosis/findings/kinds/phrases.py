"""Parts of sentences that several kinds of findings share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from windtunnel.plain_text import figure, is_number, layer_title

# So many channels are listed in a document at most.
MOST_CHANNELS = 16


@dataclass(frozen=True, slots=True)
class BothSides:
    """A fact of the reference and of the candidate."""

    reference: Any
    candidate: Any

    def words(self) -> str:
        """The candidate's instead of the reference's."""
        return f"{few(self.candidate)} instead of {few(self.reference)}"


def few(values: Any, count: int = 6) -> str:
    """The first values of a list, or a single one.

    Args:
        values: a list or a value.
        count: how many are shown.

    Returns:
        Words for people; an ellipsis if there are more.
    """
    listed = list(values) if isinstance(values, list | tuple) else [values]
    shown = ", ".join(figure(one) if is_number(one) else layer_title(one) for one in listed[:count])
    return f"{shown}, …" if len(listed) > count else shown or "nothing"


def span(ends: Sequence[float | None]) -> str:
    """A range.

    Args:
        ends: least and largest value; None: not known.

    Returns:
        Words for people.
    """
    return " to ".join(figure(end) for end in ends[:2])


def percent(share: float) -> str:
    """A share as percent.

    Args:
        share: 0 to 1.

    Returns:
        Words for people.
    """
    return f"{figure(100 * share)} %"


def channels_words(channels: Sequence[int]) -> str:
    """Channels by number, if they are few.

    Args:
        channels: their indices; empty: all.

    Returns:
        Words for people.
    """
    if not channels:
        return "all channels"
    if len(channels) >= MOST_CHANNELS:
        return f"{MOST_CHANNELS} channels or more"
    return f"channel{'' if len(channels) == 1 else 's'} {few(channels)}"
