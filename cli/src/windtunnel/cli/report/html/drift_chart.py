"""The drift chart as inline SVG: nRMSE of every layer in execution order, a curve per variant, culprits marked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from windtunnel.cli.report.evidence import culprit_codes
from windtunnel.cli.report.formatting import clean, drift, is_number, is_over, named, shorten
from windtunnel.cli.report.html import chart_scale
from windtunnel.cli.report.html.chart_scale import Scale
from windtunnel.cli.report.html.markup import NOTHING, Html, joined, tag
from windtunnel.cli.report.layer_names import layer_title

_WIDTH, _HEIGHT = 1060, 360
# Above the drawing: the axis' title, the name of the first layer over, and the numbers of culprits, a line each.
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 960, 64, 314
# More layers than this are drawn as a line alone, and drawn through: dashes would not be told from the curve.
_MOST_DOTS = 90
_COLOURS = 8
_DASHES = ("", "7 3", "2 3", "9 3 2 3")
# Numbers of culprits that would stand closer than this are left out: the list below the chart has them.
_NUMBER_ROOM = 12
# A curve's figures this far below its largest are held at the floor: a reshape's last digits are no reason for decades.
_NEGLIGIBLE = 1e-4
ACCUMULATED, OWN = "nrmse", "local_nrmse"

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Curve:
    """One variant's layers. `layers` maps the layer's place in the reference to its entry in the diagnosis.

    `figure` is what is drawn: ACCUMULATED or OWN. Own errors have no threshold. `culprits` are codes of causes.
    """

    name: str
    index: int
    layers: Mapping[Key, Mapping[str, Any]]
    threshold: float
    figure: str = ACCUMULATED
    culprits: Mapping[Key, Sequence[str]] = field(default_factory=dict)

    @property
    def style(self) -> str:
        """The class that gives its colour."""
        return f"v{self.index % _COLOURS}"

    @property
    def dashes(self) -> str | None:
        """Tells curves apart where colour does not; None: drawn through."""
        return _DASHES[(self.index + self.index // _COLOURS) % len(_DASHES)] or None

    @property
    def first_over(self) -> Key | None:
        """The first layer over the threshold or without a figure."""
        return next((key for key, layer in self.layers.items() if self.is_over(layer)), None)

    @property
    def largest(self) -> float | None:
        """The largest figure."""
        return max(self.values, default=None)

    @property
    def values(self) -> list[float]:
        """All figures that are known."""
        return [value for layer in self.layers.values() if is_number(value := layer.get(self.figure))]

    def is_over(self, layer: Mapping[str, Any]) -> bool:
        """Whether a layer is over the threshold, or has no figure for a named reason."""
        return self.figure == ACCUMULATED and is_over(layer, self.threshold)

    def said(self, layer: Mapping[str, Any]) -> str:
        """A layer's figure, or why there is none."""
        problem = layer.get("problem")
        return drift(layer.get(self.figure)) if problem is None else clean(problem).replace("_", " ")


def curve(name: str, index: int, diagnosis: Mapping[str, Any], threshold: float, figure: str = ACCUMULATED) -> Curve:
    """The curve of a diagnosis."""
    seen: dict[str, int] = {}
    layers, culprits = {}, {}
    codes = culprit_codes(diagnosis)
    for number, layer in enumerate(diagnosis.get("layers") or []):
        anchor = str(layer.get("reference") or layer.get("name"))
        seen[anchor] = seen.get(anchor, 0) + 1
        key = (anchor, seen[anchor])
        layers[key] = layer
        if number in codes:
            culprits[key] = codes[number]
    return Curve(name, index, layers, diagnosis.get("threshold") or threshold, figure, culprits)


def drift_chart(curves: Sequence[Curve]) -> Html:
    """The chart with its legend; nothing where no layer was compared."""
    axis = common_order([list(one.layers) for one in curves])
    if not axis:
        return NOTHING
    across = _Across(axis)
    judged = [one for one in curves if one.figure == ACCUMULATED]
    threshold = max((one.threshold for one in judged), default=None)
    values = [value for one in curves for value in one.values]
    fitted = [value for one in curves for value in one.values if value > _NEGLIGIBLE * (one.largest or 0.0)]
    up = chart_scale.fit([*fitted, *([] if threshold is None else [threshold * 1.2])], _BOTTOM, _TOP)
    marks = [mark for one in curves for mark in _curve(one, across, up)]
    chart = tag(
        "svg",
        _grid(up, across, _op_numbers(curves), held=any(value < up.low for value in values)),
        NOTHING if threshold is None else _threshold(up, threshold),
        _culprit_lines(curves, across),
        *marks,
        _first_over(judged, across, up),
        *(_diamonds(one, across, up) for one in curves),
        *_strips(curves, across),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        class_="chart",
        aria_label="nRMSE per layer in execution order",
    )
    parts = [_legend(curves, crowded=across.crowded), tag("div", chart, class_="scroll", tabindex="0")]
    return joined([*parts, _culprit_list(curves, across)])


def common_order(sequences: Sequence[Sequence[Key]]) -> list[Key]:
    """All keys in one order: the longest sequence's, others' own ones behind what they follow there."""
    ordered = sorted(sequences, key=len, reverse=True)
    if not ordered:
        return []
    followers: dict[Key | None, list[Key]] = {None: []}
    known = set(ordered[0])
    for sequence in ordered[1:]:
        before: Key | None = None
        for key in sequence:
            if key not in known:
                known.add(key)
                followers.setdefault(before, []).append(key)
            before = key
    return list(_woven(list(ordered[0]), followers))


def _woven(base: Sequence[Key], followers: Mapping[Key | None, Sequence[Key]]) -> Iterator[Key]:
    waiting = [*reversed(base), *reversed(followers[None])]
    while waiting:
        key = waiting.pop()
        yield key
        waiting.extend(reversed(followers.get(key, ())))


class _Across:
    """Places of layers along the chart."""

    def __init__(self, axis: Sequence[Key]) -> None:
        self.count = len(axis)
        self._number = {key: number for number, key in enumerate(axis)}
        self.axis = axis
        self.step = (_RIGHT - _LEFT) / self.count
        self.crowded = self.count > _MOST_DOTS

    def at(self, key: Key) -> float:
        return round(_LEFT + (self._number[key] + 0.5) * self.step, 2)


def _grid(up: Scale, across: _Across, ops: Mapping[Key, str], *, held: bool) -> Html:
    lines = []
    for value in up.ticks():
        at = up.at(value)
        below = "≤ " if held and value == up.low else ""
        lines.append(tag("line", x1=_LEFT, x2=_RIGHT, y1=at, y2=at, class_="grid"))
        lines.append(tag("text", below + chart_scale.label(value), x=_LEFT - 8, y=at + 4, class_="tick end"))
    for key in across.axis[:: _tick_step(across.count)]:
        if key in ops:
            lines.append(tag("text", ops[key], x=across.at(key), y=_BOTTOM + 18, class_="tick middle"))
    lines.append(
        tag("text", "op of the layer, in execution order", x=(_LEFT + _RIGHT) / 2, y=_HEIGHT - 8, class_="tick middle")
    )
    kind = "nRMSE, logarithmic" if up.log else "nRMSE"
    lines.append(tag("text", kind, x=_LEFT - 44, y=14, class_="tick"))
    return tag("g", *lines)


def _op_numbers(curves: Sequence[Curve]) -> dict[Key, str]:
    """Ops of layers, as tables and texts number them: those of the variant with the most layers."""
    longest = max(curves, key=lambda one: len(one.layers))
    numbers = {key: layer.get("op_index") for key, layer in longest.layers.items()}
    return {key: str(number) for key, number in numbers.items() if is_number(number)}


def _tick_step(count: int) -> int:
    """From one labelled layer to the next: at most 22 have room."""
    return next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, count) if count / step <= 22)


def _threshold(up: Scale, value: float) -> Html:
    at = up.at(value)
    return tag(
        "g",
        tag("line", x1=_LEFT, x2=_RIGHT, y1=at, y2=at, class_="limit"),
        tag("text", f"threshold {value:g}", x=_RIGHT + 8, y=at + 4, class_="tick limit-text"),
    )


def _curve(one: Curve, across: _Across, up: Scale) -> Iterator[Html]:
    """The variant's line, broken where a layer has no figure, and its points."""
    pieces: list[list[tuple[float, float]]] = [[]]
    marks = []
    for key, layer in sorted(one.layers.items(), key=lambda item: across.at(item[0])):
        value = layer.get(one.figure)
        if is_number(value):
            pieces[-1].append((across.at(key), up.at(value)))
            continue
        pieces.append([])
        if one.is_over(layer):
            marks.append(_cross(across.at(key)))
    for points in pieces:
        if len(points) > 1:
            line = "M" + "L".join(f"{x} {y}" for x, y in points)
            yield tag(
                "path", d=line, class_=f"curve {one.style}", stroke_dasharray=None if across.crowded else one.dashes
            )
        if len(points) == 1 or not across.crowded:
            marks += [tag("circle", cx=x, cy=y, r=2.2, class_="dot") for x, y in points]
    if marks:
        yield tag("g", *marks, class_=one.style)


def _cross(x: float) -> Html:
    return tag("path", d=f"M{x - 4} {_TOP - 4}l8 8m0 -8l-8 8", class_="cross")


def _first_over(curves: Sequence[Curve], across: _Across, up: Scale) -> Html:
    """Rings around each variant's first layer over the threshold; the earliest is named."""
    found = [(across.at(key), key, one) for one in curves if (key := one.first_over) is not None]
    if not found:
        return NOTHING
    rings = []
    for x, key, one in found:
        value = one.layers[key].get("nrmse")
        rings.append(
            tag("circle", cx=x, cy=up.at(value) if is_number(value) else _TOP, r=6, class_=f"ring {one.style}")
        )
    x, key, one = min(found, key=lambda item: item[0])
    words = f"first over: {layer_title(one.layers[key].get('name'), 40)} ({shorten(clean(one.name), 16)})"
    side = "end" if x > (_LEFT + _RIGHT) / 2 else "start"
    rings.append(tag("line", x1=x, x2=x, y1=_TOP - 12, y2=_BOTTOM, class_="pointer"))
    rings.append(tag("text", words, x=x + (-6 if side == "end" else 6), y=_TOP - 31, class_=f"note {side}"))
    return tag("g", *rings)


def _culprits(curves: Sequence[Curve], across: _Across) -> list[Key]:
    """Layers where a cause has its place, in execution order: their numbers in the chart count from 1."""
    return sorted({key for one in curves for key in one.culprits}, key=across.at)


def _culprit_lines(curves: Sequence[Curve], across: _Across) -> Html:
    """An upright line through each culprit, with its number above where there is room."""
    lines, free = [], float("-inf")
    for number, key in enumerate(_culprits(curves, across), start=1):
        x = across.at(key)
        lines.append(tag("line", x1=x, x2=x, y1=_TOP - 8, y2=_BOTTOM, class_="culprit-line"))
        if x - free >= _NUMBER_ROOM:
            lines.append(tag("text", str(number), x=x, y=_TOP - 14, class_="culprit-number middle"))
            free = x
    return tag("g", *lines) if lines else NOTHING


def _diamonds(one: Curve, across: _Across, up: Scale) -> Html:
    marks = []
    for key in one.culprits:
        value = one.layers[key].get(one.figure)
        if is_number(value):
            x, y = across.at(key), up.at(value)
            marks.append(tag("path", d=f"M{x} {y - 7}l7 7l-7 7l-7 -7z", class_="diamond"))
    return tag("g", *marks, class_=one.style) if marks else NOTHING


def _culprit_list(curves: Sequence[Curve], across: _Across) -> Html:
    """What the numbers in the chart stand for."""
    items = []
    for number, key in enumerate(_culprits(curves, across), start=1):
        found: dict[str, list[str]] = {}
        for one in curves:
            for code in one.culprits.get(key, ()):
                found.setdefault(code, []).append(one.name)
        layer = next(one.layers[key] for one in curves if key in one.culprits)
        several = len({one.name for one in curves if one.figure == curves[0].figure}) > 1
        for code, names in found.items():
            who = f"{', '.join(shorten(clean(name), 24) for name in names)}: " if several else ""
            where = f" at {layer_title(layer.get('name'), 80)} ({named(layer.get('op'))})"
            items.append(tag("li", tag("b", str(number), class_="rank"), who, tag("code", clean(code)), where))
    return tag("ul", *items, class_="culprits") if items else NOTHING


def _strips(curves: Sequence[Curve], across: _Across) -> Iterator[Html]:
    """One strip for each layer that shows all variants' figures when pointed at."""
    for key in across.axis:
        layers = [(one, one.layers[key]) for one in curves if key in one.layers]
        layer = layers[0][1]
        where = f"{named(layer.get('op'))}, op {named(layer.get('op_index'))}"
        lines = [f"{shorten(clean(layer.get('name')), 160)} ({where})"]
        lines += [f"{shorten(clean(one.name), 40)}: {one.said(entry)}" for one, entry in layers]
        codes = dict.fromkeys(code for one, _ in layers for code in one.culprits.get(key, ()))
        lines += [f"culprit: {clean(code)}" for code in codes]
        # The line breaks of a tooltip are wanted: each line is clean by itself.
        words = Html("\n".join(joined([line]) for line in lines))
        x = round(across.at(key) - across.step / 2, 2)
        yield tag(
            "rect",
            tag("title", words),
            x=x,
            y=_TOP - 12,
            width=math.ceil(across.step * 100) / 100,
            height=_BOTTOM - _TOP + 12,
            class_="strip",
        )


def _legend(curves: Sequence[Curve], *, crowded: bool) -> Html:
    entries = (_legend_entry(one, None if crowded else one.dashes) for one in curves)
    return tag("ul", *entries, class_="legend")


def _legend_entry(one: Curve, dashes: str | None) -> Html:
    line = tag("line", x1=0, x2=26, y1=6, y2=6, class_=f"curve {one.style}", stroke_dasharray=dashes)
    key = one.first_over
    if not one.layers:
        words = "not compared"
    elif one.figure != ACCUMULATED:
        words = f"max {drift(one.largest)}"
    elif key is None:
        words = f"max {drift(one.largest)}, none over"
    else:
        layer = one.layers[key]
        words = f"max {drift(one.largest)}, first over {layer_title(layer.get('name'), 48)}"
    return tag(
        "li",
        tag("svg", line, viewBox="0 0 26 12", class_="swatch", aria_hidden="true"),
        tag("b", shorten(clean(one.name), 40)),
        tag("span", words, class_="quiet"),
    )
