"""The table of all variants: each figure, with marks for the best of its column and for its gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from windtunnel.cli.report.cell_bests import CellBests, cell_figure, worst_cell
from windtunnel.cli.report.formatting import (
    UNKNOWN,
    Gate,
    engine_of,
    entries,
    figure,
    first_over,
    gates_of,
    is_number,
    measure,
    named,
    nodes_of,
    nrmse_text,
    part,
    share,
    shorten,
    worst,
)
from windtunnel.cli.report.html.rendering import render
from windtunnel.cli.report.task_words import accuracy_words
from windtunnel.task_names import better

Variant = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of all variants. `best` selects the best one; None: no variant is the best.

    `of_cell`: the path in a cell, if the column shows the worst of a variant's cells. The best is then found within
    each cell (`CellBests`).
    """

    key: str
    title: str
    value: Callable[[Variant], Any]
    form: Callable[[Any], str]
    best: Callable[[Sequence[float]], float] | None = None
    of_cell: tuple[str, ...] = ()


def _size(variant: Variant) -> float | None:
    size = variant.get("size_bytes")
    return size / 1e6 if is_number(size) else None


def _of_cells(key: str, title: str, *path: str) -> Column:
    def worst_of(variant: Variant) -> float | None:
        cell = worst_cell(entries(variant, "cells"), path)
        return None if cell is None else cell_figure(cell, path)

    return Column(key, title, worst_of, measure, of_cell=path)


_COLUMNS = (
    Column("size", "Size, MB", _size, measure, min),
    Column("accuracy", "Accuracy", lambda variant: variant.get("accuracy"), share, max),
    Column("drop", "Drop", lambda variant: variant.get("accuracy_drop"), share, None),
    Column("loss", "Loss", lambda variant: variant.get("loss"), lambda value: figure(value, ".4f"), min),
    Column("nrmse", "Max layer nRMSE", lambda variant: part(variant, "layers").get("max_nrmse"), nrmse_text, None),
    _of_cells("p50", "p50, ms", "latency_ms", "p50"),
    _of_cells("p95", "p95, ms", "latency_ms", "p95"),
    _of_cells("memory", "Memory, MB", "memory_mb"),
)


@dataclass(frozen=True, slots=True)
class GateLine:
    """A gate, shown below the figure that it limits, or below the variant's name."""

    style: str
    words: str
    title: str


@dataclass(frozen=True, slots=True)
class FigureCell:
    """A figure of a variant. `notes` are lines in small print below; `is_unknown`: they explain why there is none."""

    shown: str
    notes: tuple[str, ...] = ()
    gate: GateLine | None = None
    is_best: bool = False
    is_unknown: bool = False


@dataclass(frozen=True, slots=True)
class VariantRow:
    """A variant: figures of the model, the first diverging layer, figures of its worst cells."""

    style: str
    name: str
    gates: Sequence[GateLine]
    model: Sequence[FigureCell]
    first_over: str
    compared: str
    measured: Sequence[FigureCell]


def variant_table(variants: Sequence[Variant]) -> Markup:
    """The table of all variants.

    Args:
        variants: of a report.

    Returns:
        The table, or a line if no variant was made.
    """
    bests = {column.key: _best(column, variants) for column in _COLUMNS}
    of_cells = CellBests(variants)
    return render(
        "variant_table.html.j2",
        model_titles=[column.title for column in _COLUMNS if not column.of_cell],
        measured_titles=[column.title for column in _COLUMNS if column.of_cell],
        rows=[_row(variant, index, bests, of_cells) for index, variant in enumerate(variants)],
        has_several=len(variants) > 1,
        has_several_cells=any(len(entries(variant, "cells")) > 1 for variant in variants),
        has_gates=any(gates_of(variant) for variant in variants),
    )


def _best(column: Column, variants: Sequence[Variant]) -> float | None:
    """The best figure of a column, if there is a choice."""
    values = [value for variant in variants if is_number(value := column.value(variant))]
    if column.best is None or len({column.form(value) for value in values}) < 2:
        return None
    is_error = any(better(str(variant.get("metric") or "")) == "lower" for variant in variants)
    return min(values) if column.key == "accuracy" and is_error else column.best(values)


def _row(variant: Variant, index: int, bests: Mapping[str, float | None], of_cells: CellBests) -> VariantRow:
    gates, layers = gates_of(variant), part(variant, "layers")
    return VariantRow(
        style=f"v{index % 8}",
        name=shorten(named(variant.get("name")), 40),
        gates=[_gate_line(gate, named=True) for gate in gates if gate.column is None],
        model=[_model_cell(one, variant, gates, bests[one.key]) for one in _COLUMNS if not one.of_cell],
        first_over=first_over(layers) or ("none" if layers.get("compared") else UNKNOWN),
        compared=f"{layers.get('compared')} of {layers.get('total')} compared" if layers.get("total") else "",
        measured=[_measured_cell(one, variant, gates, of_cells) for one in _COLUMNS if one.of_cell],
    )


def _model_cell(column: Column, variant: Variant, gates: Sequence[Gate], best: float | None) -> FigureCell:
    gate = _gate_of(column, gates)
    if column.key == "accuracy" and variant.get("accuracy") is None and variant.get("accuracy_reason"):
        return FigureCell(UNKNOWN, (str(variant["accuracy_reason"]),), gate, is_unknown=True)
    shown = column.form(column.value(variant))
    if column.key == "accuracy" and (words := accuracy_words(variant)) is not None:
        return FigureCell(shown, (words,), gate, best is not None and shown == column.form(best))
    return FigureCell(shown, gate=gate, is_best=best is not None and shown == column.form(best))


def _measured_cell(column: Column, variant: Variant, gates: Sequence[Gate], of_cells: CellBests) -> FigureCell:
    """The worst figure of a variant's cells, with the cell if there are several."""
    cells = entries(variant, "cells")
    cell = worst_cell(cells, column.of_cell)
    notes = [] if cell is None or len(cells) < 2 else [f"{named(cell.get('device'))}, {engine_of(cell)}"]
    if cell is not None and column.of_cell[0] == "latency_ms":
        notes += ["unstable"] if cell.get("unstable") else []
        notes += ["fell back"] if cell.get("fell_back") else []
        few = cell.get("nodes_delegated") == 0 or cell.get("fell_back")
        notes += [f"{nodes_of(cell)} nodes"] if few and nodes_of(cell) != UNKNOWN else []
    is_best = cell is not None and of_cells.is_best(cell, column.of_cell)
    return FigureCell(column.form(column.value(variant)), tuple(notes), _gate_of(column, gates), is_best)


def _gate_of(column: Column, gates: Sequence[Gate]) -> GateLine | None:
    gate = worst([one for one in gates if one.column == column.key])
    return None if gate is None else _gate_line(gate)


def _gate_line(gate: Gate, *, named: bool = False) -> GateLine:
    style = "warn" if gate.passed is None else "good" if gate.passed else "bad"
    bound = f"{gate.sign} {gate.limit} {gate.mark}"
    words = f"{gate.name}: {gate.measured} {bound}" if named else bound
    state = {True: "passed", False: "failed", None: "not judged" if gate.why else "not measured"}[gate.passed]
    if said := "; ".join(text for text in (gate.compared, gate.why) if text):
        state += f": {said}"
    return GateLine(style, words, f"gate {gate.name}: {gate.measured}, {state}")
