"""What makes the figures of a measured cell mean less than they seem to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from windtunnel.metrics_store.domain.record import CellState
from windtunnel.metrics_store.domain.values import CellSpec, Measurement

SHAPE_UNKNOWN: Final = (
    "the input shape is not known: open dimensions were taken as 1 (give samples, or input_shapes in the plan)"
)
_NO_DELEGATE: Final = frozenset({"", "cpu"})
# Delegates whose log calls them otherwise than a plan.
_SAME: Final[Mapping[str, frozenset[str]]] = {"gpu": frozenset({"gpu", "metal"})}


def cell_warnings(cell: CellState) -> tuple[str, ...]:
    """Warnings about a measured cell, in words; none for one that is not measured."""
    if cell.measured is None or cell.spec.is_emulated:
        return ()
    return tuple(_warnings(cell.spec, cell.measured.measurement))


def doubt(measurement: Measurement, *, of_latency: bool) -> str:
    """Why no gate may be judged on figures of `measurement`; empty: they can be trusted.

    `of_latency`: the gate is on the latency, not on the memory, which other work does not change.
    """
    if measurement.shapes_known is False:
        return SHAPE_UNKNOWN
    if of_latency and measurement.conditions is not None and measurement.conditions.unstable:
        return f"the latency is unstable: {measurement.conditions.reason}"
    return ""


def _warnings(spec: CellSpec, measurement: Measurement) -> Iterator[str]:
    if text := _fallback(spec.accelerator, measurement):
        yield text
    if measurement.shapes_known is False:
        yield SHAPE_UNKNOWN
    if measurement.conditions is not None and measurement.conditions.unstable:
        yield f"the latency is unstable: {measurement.conditions.reason}"


def _fallback(accelerator: str, measurement: Measurement) -> str:
    """What is said of a requested delegate that took no part; one that took some nodes is shown, not warned of."""
    ran, total = measurement.delegate, measurement.nodes_total
    if accelerator in _NO_DELEGATE:
        return ""
    if ran not in (None, "external") and ran not in _SAME.get(accelerator, {accelerator}):
        return f"{accelerator} was requested but {ran} ran: the figures are not those of {accelerator}"
    if total and measurement.nodes_delegated == 0:
        return (
            f"{accelerator} ran 0 of {total} nodes: all of them fell back to the runtime's own kernels, "
            f"so the figures are not those of {accelerator}"
        )
    return ""
