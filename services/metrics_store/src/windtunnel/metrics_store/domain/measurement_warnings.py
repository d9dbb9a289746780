"""What makes the figures of a measured cell mean less than they seem to."""

from __future__ import annotations

from typing import Final

from windtunnel import cell_warnings as words
from windtunnel.metrics_store.domain.record import CellState
from windtunnel.metrics_store.domain.values import CellSpec, Measurement

_SHAPE_UNKNOWN: Final = f"{words.SHAPE_UNKNOWN} (give samples, or input_shapes in the plan)"


def cell_warnings(cell: CellState) -> tuple[str, ...]:
    """Warnings about a measured cell.

    An emulated device has no latency to warn of, but what its delegate takes over is what a real one takes.

    Args:
        cell: of a run.

    Returns:
        Sentences; none for a cell that is not measured.
    """
    if cell.measured is None:
        return ()
    found = cell.measured.measurement
    fallback = words.fallback_words(cell.spec.accelerator, found.delegate, found.nodes_delegated, found.nodes_total)
    others = (_shape(found), _unstable(found)) if cell.spec.times_count else ()
    return tuple(text for text in (fallback, *others) if text)


def fallen_back(cell: CellSpec, found: Measurement) -> bool | None:
    """Whether a measurement on an accelerator was left to the CPU.

    Args:
        cell: what was requested.
        found: what ran.

    Returns:
        None: not known.
    """
    return words.fell_back(cell.accelerator, found.delegate, found.nodes_delegated, found.nodes_total)


def doubt(cell: CellSpec, measurement: Measurement, *, of_latency: bool) -> str:
    """Why no gate may be judged on figures of a measurement.

    Args:
        cell: what was requested.
        measurement: of it.
        of_latency: the gate is on the latency, not on the memory, which other work does not change.

    Returns:
        Empty: they can be trusted.
    """
    if shape := _shape(measurement):
        return shape
    if not of_latency:
        return ""
    if fallen_back(cell, measurement):
        nodes = measurement.nodes_delegated, measurement.nodes_total
        return words.fallback_words(cell.accelerator, measurement.delegate, *nodes)
    unstable = _unstable(measurement)
    return f"{unstable} (measure again when the host is quiet)" if unstable else ""


def _shape(measurement: Measurement) -> str:
    return _SHAPE_UNKNOWN if measurement.shapes_known is False else ""


def _unstable(measurement: Measurement) -> str:
    conditions = measurement.conditions
    return words.unstable_words(conditions.reason) if conditions is not None and conditions.unstable else ""
