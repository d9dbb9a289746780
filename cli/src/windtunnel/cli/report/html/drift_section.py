"""The section of a page on errors of layers: the drift charts, what they show, and the largest errors as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from windtunnel.cli.report.formatting import UNKNOWN, clean, is_number, named, part, shorten
from windtunnel.cli.report.html.drift_chart import drift_chart
from windtunnel.cli.report.html.drift_curves import ACCUMULATED, ISOLATED, Curve, Key, curve
from windtunnel.cli.report.html.rendering import render

_LAYERS_SHOWN = 12
_KEY = (
    "nRMSE is the root mean square error divided by the larger range of the two tensors, after dequantization. "
    "A ring marks the first layer that diverges, a cross a layer without a figure (NaN, infinity), "
    "a diamond the layer of a cause. Point at a layer for its name and figures."
)
_ISOLATED_KEY = "The isolated error of a layer is its nRMSE when it runs on the reference's inputs."


@dataclass(frozen=True, slots=True)
class WorstCell:
    """A layer's figure in one variant; `style` is the class that marks it as diverging or not compared."""

    shown: str
    style: str


@dataclass(frozen=True, slots=True)
class WorstRow:
    """A layer with large errors."""

    layer: str
    op: str
    cells: Sequence[WorstCell]


def drift_of_variants(variants: Sequence[Mapping[str, Any]]) -> Markup:
    """Curves of all variants over the layers of the reference; isolated errors in a chart below.

    Args:
        variants: of a report; those without a diagnosis have no curve.

    Returns:
        The section; empty if no variant has a diagnosis.
    """
    curves = _curves(variants, ACCUMULATED)
    if not curves:
        return Markup()
    chart = drift_chart(curves)
    isolated = [one for one in _curves(variants, ISOLATED) if one.values] if chart else []
    peaks = _peaks(curves)
    return render(
        "drift_section.html.j2",
        chart=chart,
        key=_KEY,
        isolated_chart=drift_chart(isolated),
        isolated_key=_ISOLATED_KEY,
        names=[shorten(clean(one.name), 24) for one in curves],
        worst=[_worst_row(key, curves) for key in peaks[:_LAYERS_SHOWN]],
        total=len(peaks),
    )


def drift_of_one(diagnosis: Mapping[str, Any]) -> Markup:
    """Accumulated and isolated errors of one candidate in one chart.

    Args:
        diagnosis: a `windtunnel.diagnosis/1`.

    Returns:
        The section; a line if no layer was compared.
    """
    both = [
        curve("accumulated", 0, diagnosis),
        curve("isolated", 1, diagnosis, ISOLATED),
    ]
    return render(
        "drift_section.html.j2",
        chart=drift_chart([one for one in both if one.values or one.figure == ACCUMULATED]),
        key=f"{_KEY} {_ISOLATED_KEY}" if both[1].values else _KEY,
        isolated_chart=Markup(),
        isolated_key="",
        names=[],
        worst=[],
        total=0,
    )


def _curves(variants: Sequence[Mapping[str, Any]], figure: str) -> list[Curve]:
    return [
        curve(str(variant.get("name")), index, part(variant, "diagnosis"), figure)
        for index, variant in enumerate(variants)
    ]


def _peaks(curves: Sequence[Curve]) -> list[Key]:
    """All layers, the one with the largest error in any variant first."""
    peak: dict[Key, float] = {}
    for one in curves:
        for key, layer in one.layers.items():
            value = layer.get("nrmse")
            peak[key] = max(peak.get(key, 0.0), value if is_number(value) else float("inf"))
    return sorted(peak, key=lambda key: peak[key], reverse=True)


def _worst_row(key: Key, curves: Sequence[Curve]) -> WorstRow:
    layer = next(one.layers[key] for one in curves if key in one.layers)
    cells = [_worst_cell(one, one.layers.get(key)) for one in curves]
    return WorstRow(shorten(named(layer.get("name")), 160), named(layer.get("op")), cells)


def _worst_cell(one: Curve, layer: Mapping[str, Any] | None) -> WorstCell:
    if layer is None:
        return WorstCell(UNKNOWN, "quiet")
    return WorstCell(one.shown(layer), "bad" if one.diverges(layer) else "")
