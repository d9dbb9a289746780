"""Every compared layer of a diagnosis with its figures, as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from windtunnel.cli.report.evidence import culprit_codes, notes_of
from windtunnel.cli.report.formatting import (
    UNKNOWN,
    clean,
    entries,
    is_number,
    named,
    nrmse_text,
    shorten,
)
from windtunnel.cli.report.html.rendering import render
from windtunnel.cli.report.layer_names import layer_title
from windtunnel.diagnosis.findings.divergence import Limit, entry_diverges, limit_of
from windtunnel.diagnosis.numerics import metrics
from windtunnel.diagnosis.numerics.metric import Metric

Layer = Mapping[str, Any]

# More layers than this scroll below the table's head.
_SHOWN_WHOLE: Final = 16
# Fields of the errors that are drawn as bars and marked if they diverge.
_ISOLATED: Final = "local_nrmse"
_ACCUMULATED: Final = "nrmse"


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of every layer, and what it means. `name`: its field in the diagnosis."""

    name: str
    title: str
    show: Callable[[Layer], str]
    meaning: str


@dataclass(frozen=True, slots=True)
class LayerCell:
    """A figure of a layer. `share`: its part of the largest one, drawn as a bar; 0: no bar."""

    shown: str
    note: str = ""
    diverges: bool = False
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A layer: its names, codes of its causes, why it differs, and its figures."""

    op_index: str
    title: str
    name: str
    about: str
    codes: Sequence[str]
    notes: Sequence[str]
    cells: Sequence[LayerCell]


def layer_table(diagnosis: Mapping[str, Any]) -> Markup:
    """The culprits, then layers by isolated error, largest first; by accumulated error if isolated errors are unknown.

    Columns whose figure no layer has are left out.

    Args:
        diagnosis: a `windtunnel.diagnosis/1`.

    Returns:
        The table; empty if no layer was compared.
    """
    layers = entries(diagnosis, "layers")
    if not layers:
        return Markup()
    columns = [column for column in _columns() if any(column.show(layer) != UNKNOWN for layer in layers)]
    limit = limit_of(diagnosis)
    worst = max((_isolated(layer) for layer in layers), default=0.0)
    codes = culprit_codes(diagnosis)
    order = sorted(range(len(layers)), key=lambda number: (number not in codes, -_badness(layers[number], worst)))
    rows = [_row(layers[number], codes.get(number, ()), columns, limit=limit, worst=worst) for number in order]
    return render("layer_table.html.j2", columns=columns, rows=rows, is_tall=len(layers) > _SHOWN_WHOLE)


def _row(layer: Layer, codes: Sequence[str], columns: Sequence[Column], *, limit: Limit, worst: float) -> LayerRow:
    name, reference = named(layer.get("name")), named(layer.get("reference"))
    about = named(layer.get("op"))
    if reference not in (name, UNKNOWN):
        about += f", in the reference {layer_title(reference, 60)}"
    return LayerRow(
        op_index=named(layer.get("op_index")),
        title=layer_title(name, 70),
        name=shorten(name, 400),
        about=about,
        codes=codes,
        notes=notes_of(layer),
        cells=[_cell(layer, column, limit=limit, worst=worst) for column in columns],
    )


def _cell(layer: Layer, column: Column, *, limit: Limit, worst: float) -> LayerCell:
    shown = column.show(layer)
    if column.name == _ISOLATED:
        return LayerCell(shown, share=round(_isolated(layer) / worst, 3) if worst > 0 else 0.0)
    if column.name == _ACCUMULATED:
        return LayerCell(shown, note=_interval(layer), diverges=entry_diverges(layer, limit))
    return LayerCell(shown)


def _isolated(layer: Layer) -> float:
    value = layer.get("local_nrmse")
    return float(value) if is_number(value) else 0.0


def _badness(layer: Layer, worst: float) -> float:
    """The sort key of layers: one without a figure comes first."""
    if layer.get("problem") is not None:
        return float("inf")
    return _isolated(layer) if worst > 0 else float(layer.get("nrmse") or 0.0)


def _accumulated(layer: Layer) -> str:
    problem = layer.get("problem")
    if problem is not None:
        return clean(problem).replace("_", " ")
    return metrics.metric(_ACCUMULATED).shown(layer.get(_ACCUMULATED))


def _interval(layer: Layer) -> str:
    """The 95 % interval of the accumulated error; empty if unknown."""
    return metrics.metric("nrmse_ci").shown(layer.get("nrmse_ci"))


def _columns() -> list[Column]:
    """The isolated error, then every metric with a title."""
    found = [Column(_ISOLATED, "isolated nRMSE", _isolated_text, "error on the reference's inputs")]
    for one in metrics.METRICS:
        if one.title:
            found.append(Column(one.name, one.title, _text_of(one), one.meaning))
    return found


def _isolated_text(layer: Layer) -> str:
    return nrmse_text(layer.get(_ISOLATED))


def _text_of(metric: Metric) -> Callable[[Layer], str]:
    return _accumulated if metric.name == _ACCUMULATED else lambda layer: metric.shown(layer.get(metric.name))
