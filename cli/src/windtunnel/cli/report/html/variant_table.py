"""The table of all variants: each figure with the best of its column and the gate that holds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from windtunnel.cli.report.cell_bests import CellBests, cell_figure, worst_cell
from windtunnel.cli.report.formatting import (
    UNKNOWN,
    Gate,
    clean,
    drift,
    engine_of,
    entries,
    figure,
    first_over,
    gates_of,
    is_number,
    measure,
    named,
    nodes_of,
    part,
    share,
    shorten,
    worst,
)
from windtunnel.cli.report.html.markup import Html, joined, tag

Variant = Mapping[str, Any]
_BEST = "best of all variants"


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of all variants. `best` picks the best one; None: it has none.

    `of_cell`: the path to it in a cell, where it is the worst one of a variant's cells; bests are then told cell by
    cell (`CellBests`).
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
    Column("nrmse", "Max layer nRMSE", lambda variant: part(variant, "layers").get("max_nrmse"), drift, None),
    _of_cells("p50", "p50, ms", "latency_ms", "p50"),
    _of_cells("p95", "p95, ms", "latency_ms", "p95"),
    _of_cells("memory", "Memory, MB", "memory_mb"),
)


def variant_table(variants: Sequence[Variant]) -> Html:
    """The table, or a line where no variant was made."""
    if not variants:
        return tag("p", "No variant was made.", class_="quiet")
    bests = {column.key: _best(column, variants) for column in _COLUMNS}
    of_cells = CellBests(variants)
    heads = [tag("th", column.title, class_="number") for column in _COLUMNS]
    heads.insert(5, tag("th", "First layer over"))
    rows = [_row(variant, index, bests, of_cells) for index, variant in enumerate(variants)]
    table = tag("table", tag("thead", tag("tr", tag("th", "Variant"), *heads)), tag("tbody", *rows))
    return joined([tag("div", table, class_="scroll", tabindex="0"), tag("p", _key(variants), class_="key")])


def _key(variants: Sequence[Variant]) -> Html:
    parts: list[object] = []
    if len(variants) > 1:
        parts += [tag("span", _BEST, class_="best"), "; latency and memory: on the same cell. "]
    if any(len(entries(variant, "cells")) > 1 for variant in variants):
        parts.append("Latency and memory are those of the variant's worst cell, which is named below them. ")
    if any(gates_of(variant) for variant in variants):
        parts.append("Below a figure: the gate that holds it (✓ kept, ✗ exceeded, ? not judged).")
    return joined(parts)


def _best(column: Column, variants: Sequence[Variant]) -> float | None:
    """The best figure of a column, where there is a choice."""
    values = [value for variant in variants if is_number(value := column.value(variant))]
    if column.best is None or len({column.form(value) for value in values}) < 2:
        return None
    return column.best(values)


def _row(variant: Variant, index: int, bests: Mapping[str, float | None], of_cells: CellBests) -> Html:
    gates = gates_of(variant)
    cells = [
        _worst_cell(column, variant, gates, of_cells)
        if column.of_cell
        else _cell(column, variant, gates, bests[column.key])
        for column in _COLUMNS
    ]
    if variant.get("accuracy") is None and variant.get("accuracy_reason"):
        cells[1] = _unknown(variant["accuracy_reason"], gates)
    layers = part(variant, "layers")
    compared = f"{layers.get('compared')} of {layers.get('total')} compared" if layers.get("total") else None
    cells.insert(
        5,
        tag(
            "td",
            tag("span", first_over(layers) or ("none" if layers.get("compared") else UNKNOWN)),
            tag("span", compared, class_="sub") if compared else None,
            class_="layer",
        ),
    )
    others = [_gate_line(gate, named=True) for gate in gates if gate.column is None]
    name = tag(
        "td",
        tag("span", class_=f"chip v{index % 8}"),
        tag("b", shorten(named(variant.get("name")), 40)),
        *others,
        class_="name",
    )
    return tag("tr", name, *cells)


def _cell(column: Column, variant: Variant, gates: Sequence[Gate], best: float | None) -> Html:
    shown = column.form(column.value(variant))
    return _figure(column, shown, gates, is_best=best is not None and shown == column.form(best))


def _worst_cell(column: Column, variant: Variant, gates: Sequence[Gate], of_cells: CellBests) -> Html:
    """The worst figure of a variant's cells, with the cell where there are several."""
    cells = entries(variant, "cells")
    cell = worst_cell(cells, column.of_cell)
    notes = [] if cell is None or len(cells) < 2 else [f"{named(cell.get('device'))}, {engine_of(cell)}"]
    if cell is not None and column.of_cell[0] == "latency_ms":
        notes += ["unstable"] if cell.get("unstable") else []
        notes += [f"{nodes_of(cell)} nodes"] if cell.get("nodes_delegated") == 0 and nodes_of(cell) != UNKNOWN else []
    is_best = cell is not None and of_cells.is_best(cell, column.of_cell)
    return _figure(column, column.form(column.value(variant)), gates, is_best=is_best, notes=notes)


def _figure(column: Column, shown: str, gates: Sequence[Gate], *, is_best: bool, notes: Sequence[str] = ()) -> Html:
    gate = worst([one for one in gates if one.column == column.key])
    return tag(
        "td",
        tag("span", shown, class_="best" if is_best else None, title=_BEST if is_best else None),
        *(tag("span", note, class_="sub") for note in notes),
        None if gate is None else _gate_line(gate),
        class_="number",
    )


def _unknown(reason: object, gates: Sequence[Gate]) -> Html:
    """An accuracy that is not known, and why."""
    gate = worst([one for one in gates if one.column == "accuracy"])
    said = tag("span", clean(reason), class_="sub")
    return tag("td", tag("span", UNKNOWN), said, None if gate is None else _gate_line(gate), class_="number unknown")


def _gate_line(gate: Gate, *, named: bool = False) -> Html:
    style = "warn" if gate.passed is None else "good" if gate.passed else "bad"
    bound = f"{gate.sign} {gate.limit} {gate.mark}"
    words = f"{gate.name}: {gate.measured} {bound}" if named else bound
    state = {True: "passed", False: "failed", None: "not judged" if gate.why else "not measured"}[gate.passed]
    if gate.why:
        state += f": {gate.why}"
    return tag("span", words, class_=f"gate-line {style}", title=f"gate {gate.name}: {gate.measured}, {state}")
