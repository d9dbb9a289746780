"""A layer's values in both models as a histogram, inline SVG: the reference filled, the candidate as a line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from windtunnel.cli.report.formatting import clean, figure, is_number
from windtunnel.cli.report.html import chart_scale
from windtunnel.cli.report.html.chart_scale import Scale
from windtunnel.cli.report.html.markup import NOTHING, Html, joined, tag

_WIDTH, _HEIGHT = 520, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 506, 30, 206
# Where a single value, as the zero behind a ReLU, has most of the counts, all others would lie flat on a linear axis.
_LOG_FROM_RATIO = 20.0
# A limit this close to an end of the chart, as a share of its width, is the end.
_EDGE = 0.01


def histogram_chart(data: Mapping[str, Any], limits: Sequence[float] = ()) -> Html:
    """The chart of `{edges, reference, candidate}`; nothing where it does not fit together.

    Args:
        data: `edges` are n + 1 rising numbers in the layer's real units, the others n counts each.
        limits: ends of the range that the candidate's tensor can hold, in the same units; drawn where they lie inside.
    """
    edges, reference, candidate = (list(data.get(key) or []) for key in ("edges", "reference", "candidate"))
    if not reference or len(reference) != len(candidate) or len(edges) != len(reference) + 1:
        return NOTHING
    if not all(is_number(value) and math.isfinite(value) for value in (*edges, *reference, *candidate)):
        return NOTHING
    if not all(low < high for low, high in pairwise(edges)):
        return NOTHING
    across = Scale(edges[0], edges[-1], _LEFT, _RIGHT)
    up = _heights([*reference, *candidate])
    chart = tag(
        "svg",
        _grid(across, up),
        tag("path", d=f"{_steps(edges, reference, across, up)}V{_BOTTOM}H{_LEFT}Z", class_="area"),
        tag("path", d=_steps(edges, candidate, across, up), class_="curve v1"),
        _limits(limits, across),
        *_strips(edges, reference, candidate, across),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        class_="chart half",
        aria_label="Histogram of values in reference and candidate",
    )
    return joined([_legend(), chart])


def _heights(counts: Sequence[float]) -> Scale:
    """From counts to pixels; logarithmic from half a count upwards where one bin stands far above the middle one."""
    filled = sorted(count for count in counts if count > 0)
    if not filled:
        return Scale(0.0, 1.0, _BOTTOM, _TOP)
    if filled[-1] > _LOG_FROM_RATIO * filled[len(filled) // 2]:
        return Scale(0.5, 10.0 ** math.ceil(math.log10(filled[-1])), _BOTTOM, _TOP, log=True)
    return Scale(0.0, filled[-1] * 1.05, _BOTTOM, _TOP)


def _steps(edges: Sequence[float], counts: Sequence[float], across: Scale, up: Scale) -> str:
    """The outline of the bins, from the baseline at the left to the one at the right."""
    outline = [f"M{_LEFT} {_BOTTOM}"]
    outline += [f"V{up.at(count)}H{across.at(end)}" for end, count in zip(edges[1:], counts, strict=True)]
    return "".join((*outline, f"V{_BOTTOM}"))


def _grid(across: Scale, up: Scale) -> Html:
    marks = []
    for value in up.ticks():
        at = up.at(value)
        marks.append(tag("line", x1=_LEFT, x2=_RIGHT, y1=at, y2=at, class_="grid"))
        marks.append(tag("text", chart_scale.label(value), x=_LEFT - 8, y=at + 4, class_="tick end"))
    for value in across.ticks():
        marks.append(tag("text", chart_scale.label(value), x=across.at(value), y=_BOTTOM + 18, class_="tick middle"))
    kind = "values per bin, logarithmic" if up.log else "values per bin"
    marks.append(tag("text", kind, x=_LEFT - 44, y=14, class_="tick"))
    marks.append(tag("text", "value, real units", x=(_LEFT + _RIGHT) / 2, y=_HEIGHT - 8, class_="tick middle"))
    return tag("g", *marks)


def _limits(limits: Sequence[float], across: Scale) -> Html:
    margin = _EDGE * (across.high - across.low)
    inside = [value for value in limits if is_number(value) and across.low + margin < value < across.high - margin]
    marks = []
    for value in inside:
        x = across.at(value)
        words = f"the tensor ends at {figure(value)}"
        side = "end" if x > (_LEFT + _RIGHT) / 2 else "start"
        marks.append(tag("line", x1=x, x2=x, y1=_TOP - 8, y2=_BOTTOM, class_="limit"))
        marks.append(tag("text", words, x=x + (-6 if side == "end" else 6), y=_TOP, class_=f"tick limit-text {side}"))
    return tag("g", *marks) if marks else NOTHING


def _strips(
    edges: Sequence[float], reference: Sequence[float], candidate: Sequence[float], across: Scale
) -> list[Html]:
    """One strip for each bin that shows its counts when pointed at."""
    strips = []
    for number, (before, after) in enumerate(zip(reference, candidate, strict=True)):
        left, right = across.at(edges[number]), across.at(edges[number + 1])
        words = f"{figure(edges[number])} to {figure(edges[number + 1])}: reference {before}, candidate {after}"
        strips.append(
            tag(
                "rect",
                tag("title", clean(words)),
                x=left,
                y=_TOP,
                width=round(right - left, 2),
                height=_BOTTOM - _TOP,
                class_="strip",
            )
        )
    return strips


def _legend() -> Html:
    area = tag("svg", tag("rect", x=0, y=1, width=26, height=11, class_="area"), viewBox="0 0 26 12", class_="swatch")
    line = tag("svg", tag("line", x1=0, x2=26, y1=6, y2=6, class_="curve v1"), viewBox="0 0 26 12", class_="swatch")
    return tag("ul", tag("li", area, "reference"), tag("li", line, "candidate"), class_="legend")
