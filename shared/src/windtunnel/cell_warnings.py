"""Warnings about the figures of a measurement, in the same words in a report and in `bench`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from windtunnel.accelerators import BUILTIN, accelerator_name

SHAPE_UNKNOWN: Final = "the input shape is not known: dynamic dimensions were taken as 1"
_NO_DELEGATE: Final = frozenset({"", BUILTIN})
# Delegates that a log names differently than a plan.
_SAME: Final[Mapping[str, frozenset[str]]] = {"gpu": frozenset({"gpu", "metal"})}


def unstable_words(reason: str) -> str:
    """The warning that a latency is unstable.

    Args:
        reason: why.

    Returns:
        The warning.
    """
    return f"the latency is unstable: {reason}"


def fallback_words(accelerator: str, delegate: str | None, nodes_delegated: int | None, nodes_total: int | None) -> str:
    """The warning that a requested delegate ran no node.

    Args:
        accelerator: the requested one; the builtin kernels are not a delegate.
        delegate: the one that ran, as in `windtunnel.log/1`; None: none, or not known.
        nodes_delegated: how many nodes the delegate ran; None: not known.
        nodes_total: how many nodes the graph has; None: not known.

    Returns:
        Empty if the delegate ran some nodes, or if that is not known.
    """
    if accelerator_name(accelerator) in _NO_DELEGATE:
        return ""
    if delegate not in (None, "external") and delegate not in _SAME.get(accelerator, {accelerator}):
        return f"{accelerator} was requested but {delegate} ran: the figures are not those of {accelerator}"
    if nodes_total and nodes_delegated == 0:
        return (
            f"{accelerator} ran 0 of {nodes_total} nodes: all of them fell back to the builtin kernels, "
            f"so the figures are not those of {accelerator}"
        )
    return ""


def zeroed_words(inputs: Sequence[str]) -> str:
    """The warning that inputs of a measurement were 0.

    Args:
        inputs: their names.

    Returns:
        The warning.
    """
    return (
        f"the model refuses random indices: {', '.join(inputs)} were 0 in every inference, so each read the same rows, "
        "and the latency on data may differ"
    )
