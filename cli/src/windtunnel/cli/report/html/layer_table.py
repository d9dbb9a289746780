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
    diverges,
    entries,
    figure,
    is_number,
    named,
    nrmse_text,
    part,
    shorten,
)
from windtunnel.cli.report.html.rendering import render
from windtunnel.cli.report.layer_names import layer_title
from windtunnel.thresholds import DEFAULT_THRESHOLD

Layer = Mapping[str, Any]

# More layers than this scroll below the table's head.
_SHOWN_WHOLE: Final = 16


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of every layer, and what it means."""

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

    Columns whose figure no layer has are left out; nothing if no layer was compared.
    """
    layers = entries(diagnosis, "layers")
    if not layers:
        return Markup()
    columns = [column for column in _COLUMNS if any(column.show(layer) != UNKNOWN for layer in layers)]
    threshold = diagnosis.get("threshold") or DEFAULT_THRESHOLD
    worst = max((_isolated(layer) for layer in layers), default=0.0)
    codes = culprit_codes(diagnosis)
    order = sorted(range(len(layers)), key=lambda number: (number not in codes, -_badness(layers[number], worst)))
    rows = [_row(layers[number], codes.get(number, ()), columns, threshold=threshold, worst=worst) for number in order]
    return render("layer_table.html.j2", columns=columns, rows=rows, is_tall=len(layers) > _SHOWN_WHOLE)


def _row(layer: Layer, codes: Sequence[str], columns: Sequence[Column], *, threshold: float, worst: float) -> LayerRow:
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
        cells=[_cell(layer, column, threshold=threshold, worst=worst) for column in columns],
    )


def _cell(layer: Layer, column: Column, *, threshold: float, worst: float) -> LayerCell:
    shown = column.show(layer)
    if column.title == _ISOLATED:
        return LayerCell(shown, share=round(_isolated(layer) / worst, 3) if worst > 0 else 0.0)
    if column.title == _ACCUMULATED:
        return LayerCell(shown, note=_interval(layer), diverges=diverges(layer, threshold))
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
    return nrmse_text(layer.get("nrmse")) if problem is None else clean(problem).replace("_", " ")


def _interval(layer: Layer) -> str:
    """The 95 % interval of the accumulated error; empty if unknown."""
    ends = layer.get("nrmse_ci")
    return f"{nrmse_text(ends[0])} to {nrmse_text(ends[1])}" if isinstance(ends, list) and len(ends) == 2 else ""


def _saturated(layer: Layer) -> str:
    value = layer.get("saturated")
    return f"{100 * value:.2g} %" if is_number(value) else UNKNOWN


def _dead(layer: Layer) -> str:
    found = part(layer, "dead_channels")
    if not found.get("candidate") and not found.get("reference"):
        return UNKNOWN
    return f"{named(found.get('candidate'))} / {named(found.get('reference'))} of {named(found.get('channels'))}"


def _channel(layer: Layer) -> str:
    found = part(layer, "channel_nrmse")
    return f"{nrmse_text(found.get('max'))} (no. {named(found.get('worst'))})" if found else UNKNOWN


_ACCUMULATED: Final = "nRMSE"
_ISOLATED: Final = "isolated nRMSE"
_COLUMNS: Final = (
    Column(_ISOLATED, lambda layer: nrmse_text(layer.get("local_nrmse")), "error on the reference's inputs"),
    Column(_ACCUMULATED, _accumulated, "error accumulated up to this layer, with its 95 % interval"),
    Column("worst channel", _channel, "largest nRMSE of a single channel"),
    Column(
        "SNR dB",
        lambda layer: figure(layer.get("snr_db"), ".1f"),
        "power of reference divided by power of error",
    ),
    Column("cosine", lambda layer: figure(layer.get("cosine"), ".4f"), "similarity of both models' values"),
    Column("bias", lambda layer: figure(layer.get("bias"), ".2g"), "mean of candidate minus reference, in real units"),
    Column("max abs", lambda layer: figure(layer.get("max_abs")), "largest difference of a value, in real units"),
    Column("at the ends", _saturated, "share of stored values at an end of the integer type"),
    Column("dead channels", _dead, "channels that never change, candidate / reference"),
)
