"""Warnings about the figures of a measurement, in the same words in a report and in `bench`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from windtunnel.accelerators import BUILTIN, REFERENCE, XNNPACK, accelerator_name

SHAPE_UNKNOWN: Final = "the input shape is not known: dynamic dimensions were taken as 1"
_NO_DELEGATE: Final = frozenset({"", BUILTIN})
_CPU: Final = frozenset({"", BUILTIN, REFERENCE, XNNPACK})
# An accelerator that runs a smaller share of the nodes has left the work to the CPU.
FEW_NODES: Final = 0.1
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
    few = nodes_total and nodes_delegated is not None and nodes_delegated < FEW_NODES * nodes_total
    if few and accelerator_name(accelerator) not in _CPU:
        return (
            f"{accelerator} ran {nodes_delegated} of {nodes_total} nodes: the others fell back to the CPU, so the "
            f"figures are hardly those of {accelerator}"
        )
    return ""


def fell_back(
    accelerator: str, delegate: str | None, nodes_delegated: int | None, nodes_total: int | None
) -> bool | None:
    """Whether a run on an accelerator was left to the CPU instead.

    Args:
        accelerator: the requested one.
        delegate: the one that ran, as in `windtunnel.log/1`; None: none, or not known.
        nodes_delegated: how many nodes the delegate ran; None: not known.
        nodes_total: how many nodes the graph has; None: not known.

    Returns:
        True: another delegate ran, or the requested one ran no node or fewer than `FEW_NODES` of them. False: it ran
        more, or the CPU was requested. None: not known.
    """
    if accelerator_name(accelerator) in _CPU:
        return False
    if fallback_words(accelerator, delegate, nodes_delegated, nodes_total):
        return True
    return None if nodes_delegated is None or not nodes_total else False


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
