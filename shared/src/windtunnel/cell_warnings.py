"""What makes the figures of a measurement mean less than they seem to: the same words in a report and a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

SHAPE_UNKNOWN: Final = "the input shape is not known: open dimensions were taken as 1"
_NO_DELEGATE: Final = frozenset({"", "cpu"})
# Delegates whose log calls them otherwise than a plan.
_SAME: Final[Mapping[str, frozenset[str]]] = {"gpu": frozenset({"gpu", "metal"})}


def unstable_words(reason: str) -> str:
    """That a latency is unstable, and why."""
    return f"the latency is unstable: {reason}"


def fallback_words(accelerator: str, delegate: str | None, nodes_delegated: int | None, nodes_total: int | None) -> str:
    """What to say of a requested delegate that took no part; empty where it took some nodes, or nothing is known.

    Args:
        accelerator: what was asked for; "cpu" is not a delegate.
        delegate: the one that ran, as in `windtunnel.log/1`; None: none, or not known.
    """
    if accelerator in _NO_DELEGATE:
        return ""
    if delegate not in (None, "external") and delegate not in _SAME.get(accelerator, {accelerator}):
        return f"{accelerator} was requested but {delegate} ran: the figures are not those of {accelerator}"
    if nodes_total and nodes_delegated == 0:
        return (
            f"{accelerator} ran 0 of {nodes_total} nodes: all of them fell back to the runtime's own kernels, "
            f"so the figures are not those of {accelerator}"
        )
    return ""


def zeroed_words(inputs: Sequence[str]) -> str:
    """What it means that inputs of a measurement were 0."""
    return (
        f"the model refuses random indices: {', '.join(inputs)} were 0 in every inference, so each read the same rows, "
        "and the latency on data may differ"
    )
