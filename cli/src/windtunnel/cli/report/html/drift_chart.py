"""The drift chart as inline SVG: nRMSE of every layer in execution order, a curve per variant, culprits marked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from windtunnel.cli.report.formatting import clean, is_number, named, nrmse_text, shorten
from windtunnel.cli.report.html import chart_scale
from windtunnel.cli.report.html.chart_scale import Frame, Scale, Tick
from windtunnel.cli.report.html.drift_curves import ACCUMULATED, Curve, Key, common_order
from windtunnel.cli.report.html.rendering import render
from windtunnel.cli.report.layer_names import layer_title
from windtunnel.diagnosis.findings.divergence import NRMSE

_WIDTH, _HEIGHT = 1060, 360
# Above the drawing: the axis' title, the name of the first diverging layer, and the numbers of culprits, a line each.
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 960, 64, 314
# With more layers than this, curves have no dots and no dashes: they could not be distinguished.
_MOST_DOTS = 90
# Numbers of culprits that would be closer than this are left out: the list below the chart has them.
_NUMBER_ROOM = 12
# Figures below this share of a curve's largest are drawn at the bottom: rounding of a reshape must not add decades.
_NEGLIGIBLE = 1e-4

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class DrawnCurve:
    """A curve: its line in pieces, broken if a layer has no figure, its points, and crosses for missing figures."""

    style: str
    dashes: str | None
    lines: Sequence[str]
    crosses: Sequence[float]
    dots: Sequence[Point]
    diamonds: Sequence[Point]
    ring: Point | None


@dataclass(frozen=True, slots=True)
class Pointer:
    """The name of the first diverging layer; `side`: where the text is anchored."""

    x: float
    words: str
    side: str


@dataclass(frozen=True, slots=True)
class Culprit:
    """A line of the list below the chart: a cause and where it is."""

    number: int
    variants: str
    code: str
    layer: str


@dataclass(frozen=True, slots=True)
class Strip:
    """A layer's tooltip, line by line."""

    x: float
    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """A curve's name and a summary."""

    style: str
    dashes: str | None
    name: str
    words: str


def drift_chart(curves: Sequence[Curve]) -> Markup:
    """The chart with its legend.

    Args:
        curves: one per variant or kind of error.

    Returns:
        Inline SVG; empty if no layer was compared.
    """
    axis = common_order([list(one.layers) for one in curves])
    if not axis:
        return Markup()
    across = _Across(axis)
    judged = [one for one in curves if one.figure == ACCUMULATED]
    threshold = max((one.limit.threshold for one in judged if one.limit.metric == NRMSE), default=None)
    values = [value for one in curves for value in one.values]
    fitted = [value for one in curves for value in one.values if value > _NEGLIGIBLE * (one.largest or 0.0)]
    up = chart_scale.fit([*fitted, *([] if threshold is None else [threshold * 1.2])], _BOTTOM, _TOP)
    return render(
        "drift_chart.svg.j2",
        frame=Frame(_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM),
        legend=[_legend_entry(one, across) for one in curves],
        up=_up_ticks(up, has_lower=any(value < up.low for value in values)),
        across=_across_ticks(curves, across),
        unit="nRMSE, logarithmic" if up.log else "nRMSE",
        threshold=None if threshold is None else Tick(up.at(threshold), f"threshold {threshold:g}"),
        culprit_lines=_culprit_lines(curves, across),
        curves=[_draw(one, across, up) for one in curves],
        pointer=_pointer(judged, across),
        strips=[_strip(key, curves, across) for key in across.axis],
        strip_width=math.ceil(across.step * 100) / 100,
        culprits=_culprit_list(curves, across),
    )


class _Across:
    """Places of layers along the chart.

    Args:
        axis: all layers, in the order in which they are drawn.
    """

    def __init__(self, axis: Sequence[Key]) -> None:
        self.count = len(axis)
        self._number = {key: number for number, key in enumerate(axis)}
        self.axis = axis
        self.step = (_RIGHT - _LEFT) / self.count
        self.crowded = self.count > _MOST_DOTS

    def at(self, key: Key) -> float:
        return round(_LEFT + (self._number[key] + 0.5) * self.step, 2)

    def dashes(self, one: Curve) -> str | None:
        return None if self.crowded else one.dashes


def _up_ticks(up: Scale, *, has_lower: bool) -> list[Tick]:
    """Ticks of the axis of errors. `has_lower`: figures below the lowest tick are drawn on it."""
    return [
        Tick(up.at(value), ("≤ " if has_lower and value == up.low else "") + chart_scale.label(value))
        for value in up.ticks()
    ]


def _across_ticks(curves: Sequence[Curve], across: _Across) -> list[Tick]:
    """Op indices, as in tables and texts: those of the variant with the most layers."""
    longest = max(curves, key=lambda one: len(one.layers))
    numbers = {key: layer.get("op_index") for key, layer in longest.layers.items()}
    # At most 22 labels have room.
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, across.count) if across.count / step <= 22)
    labelled = ((key, numbers.get(key)) for key in across.axis[::step])
    return [Tick(across.at(key), str(number)) for key, number in labelled if is_number(number)]


def _draw(one: Curve, across: _Across, up: Scale) -> DrawnCurve:
    pieces: list[list[Point]] = [[]]
    crosses = []
    for key, layer in sorted(one.layers.items(), key=lambda item: across.at(item[0])):
        point = _point(one, key, across, up)
        if point is not None:
            pieces[-1].append(point)
            continue
        pieces.append([])
        if one.diverges(layer):
            crosses.append(across.at(key))
    return DrawnCurve(
        style=one.style,
        dashes=across.dashes(one),
        lines=["M" + "L".join(f"{x} {y}" for x, y in points) for points in pieces if len(points) > 1],
        crosses=crosses,
        dots=[point for points in pieces if len(points) == 1 or not across.crowded for point in points],
        diamonds=[point for key in one.culprits if (point := _point(one, key, across, up)) is not None],
        ring=_ring(one, across, up),
    )


def _point(one: Curve, key: Key, across: _Across, up: Scale) -> Point | None:
    value = one.layers[key].get(one.figure)
    return (across.at(key), up.at(value)) if is_number(value) else None


def _ring(one: Curve, across: _Across, up: Scale) -> Point | None:
    """The first diverging layer; above the drawing if it has no figure."""
    key = one.first_over
    return None if key is None else _point(one, key, across, up) or (across.at(key), _TOP)


def _pointer(curves: Sequence[Curve], across: _Across) -> Pointer | None:
    """The earliest of the variants' first diverging layers."""
    found = [(across.at(key), key, one) for one in curves if (key := one.first_over) is not None]
    if not found:
        return None
    x, key, one = min(found, key=lambda item: item[0])
    words = f"first diverges: {layer_title(one.layers[key].get('name'), 40)} ({shorten(clean(one.name), 16)})"
    return Pointer(x, words, "end" if x > (_LEFT + _RIGHT) / 2 else "start")


def _culprits(curves: Sequence[Curve], across: _Across) -> list[Key]:
    """Layers of causes, in execution order. Their numbers in the chart count from 1."""
    return sorted({key for one in curves for key in one.culprits}, key=across.at)


def _culprit_lines(curves: Sequence[Curve], across: _Across) -> list[Tick]:
    """An upright line through each culprit, with its number above if there is room."""
    lines, free = [], float("-inf")
    for number, key in enumerate(_culprits(curves, across), start=1):
        x = across.at(key)
        has_room = x - free >= _NUMBER_ROOM
        lines.append(Tick(x, str(number) if has_room else ""))
        free = x if has_room else free
    return lines


def _culprit_list(curves: Sequence[Curve], across: _Across) -> list[Culprit]:
    """The explanation of the numbers in the chart."""
    several = len({one.name for one in curves if one.figure == curves[0].figure}) > 1
    found = []
    for number, key in enumerate(_culprits(curves, across), start=1):
        variants: dict[str, list[str]] = {}
        for one in curves:
            for code in one.culprits.get(key, ()):
                variants.setdefault(code, []).append(shorten(clean(one.name), 24))
        layer = next(one.layers[key] for one in curves if key in one.culprits)
        where = f"{layer_title(layer.get('name'), 80)} ({named(layer.get('op'))})"
        found += [Culprit(number, ", ".join(names) if several else "", code, where) for code, names in variants.items()]
    return found


def _strip(key: Key, curves: Sequence[Curve], across: _Across) -> Strip:
    layers = [(one, one.layers[key]) for one in curves if key in one.layers]
    layer: Mapping[str, object] = layers[0][1]
    where = f"{named(layer.get('op'))}, op {named(layer.get('op_index'))}"
    lines = [f"{shorten(clean(layer.get('name')), 160)} ({where})"]
    lines += [f"{shorten(clean(one.name), 40)}: {one.shown(entry)}" for one, entry in layers]
    codes = dict.fromkeys(code for one, _ in layers for code in one.culprits.get(key, ()))
    lines += [f"cause: {code}" for code in codes]
    return Strip(round(across.at(key) - across.step / 2, 2), lines)


def _legend_entry(one: Curve, across: _Across) -> LegendEntry:
    key = one.first_over
    if not one.layers:
        words = "not compared"
    elif one.figure != ACCUMULATED:
        words = f"max {nrmse_text(one.largest)}"
    elif key is None:
        words = f"max {nrmse_text(one.largest)}, none diverges"
    else:
        words = f"max {nrmse_text(one.largest)}, first diverges at {layer_title(one.layers[key].get('name'), 48)}"
    return LegendEntry(one.style, across.dashes(one), shorten(clean(one.name), 40), words)
