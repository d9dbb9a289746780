"""A layer's values in both models as a histogram, inline SVG: the reference filled, the candidate as a line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from windtunnel.cli.report.formatting import figure, is_number
from windtunnel.cli.report.html import chart_scale
from windtunnel.cli.report.html.chart_scale import Frame, Scale, Tick
from windtunnel.cli.report.html.rendering import render

_WIDTH, _HEIGHT = 520, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 506, 30, 206
# If one value, such as the zero after a ReLU, has most of the counts, a linear axis would show the others as flat.
_LOG_FROM_RATIO = 20.0
# A limit this close to an end of the chart, as a share of its width, is not drawn.
_EDGE = 0.01


@dataclass(frozen=True, slots=True)
class Limit:
    """An end of the range that the candidate's tensor can represent; `side`: where its words are anchored."""

    x: float
    words: str
    side: str


@dataclass(frozen=True, slots=True)
class Bin:
    """A strip that shows the counts of its bin when pointed at."""

    x: float
    width: float
    words: str


def histogram_chart(data: Mapping[str, Any], limits: Sequence[float] = ()) -> Markup:
    """The chart of `{edges, reference, candidate}`.

    Args:
        data: `edges` are n + 1 rising numbers in the layer's real units, the others n counts each.
        limits: ends of the quantization range of the candidate's tensor, in the same units; drawn if inside the chart.

    Returns:
        Inline SVG; empty if the lengths of the lists do not match.
    """
    edges, reference, candidate = (list(data.get(key) or []) for key in ("edges", "reference", "candidate"))
    if not reference or len(reference) != len(candidate) or len(edges) != len(reference) + 1:
        return Markup()
    if not all(is_number(value) and math.isfinite(value) for value in (*edges, *reference, *candidate)):
        return Markup()
    if not all(low < high for low, high in pairwise(edges)):
        return Markup()
    across = Scale(edges[0], edges[-1], _LEFT, _RIGHT)
    up = _heights([*reference, *candidate])
    return render(
        "histogram_chart.svg.j2",
        frame=Frame(_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM),
        up=[Tick(up.at(value), chart_scale.label(value)) for value in up.ticks()],
        across=[Tick(across.at(value), chart_scale.label(value)) for value in across.ticks()],
        unit="values per bin, logarithmic" if up.log else "values per bin",
        reference=_steps(edges, reference, across, up),
        candidate=_steps(edges, candidate, across, up),
        limits=_limits(limits, across),
        bins=_bins(edges, reference, candidate, across),
    )


def _heights(counts: Sequence[float]) -> Scale:
    """From counts to pixels; logarithmic, from half a count, if the largest bin is far above the median one."""
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


def _limits(limits: Sequence[float], across: Scale) -> list[Limit]:
    margin = _EDGE * (across.high - across.low)
    inside = [value for value in limits if is_number(value) and across.low + margin < value < across.high - margin]
    return [
        Limit(x, f"the tensor ends at {figure(value)}", "end" if x > (_LEFT + _RIGHT) / 2 else "start")
        for value in inside
        for x in (across.at(value),)
    ]


def _bins(edges: Sequence[float], reference: Sequence[float], candidate: Sequence[float], across: Scale) -> list[Bin]:
    bins = []
    for (low, high), before, after in zip(pairwise(edges), reference, candidate, strict=True):
        left, right = across.at(low), across.at(high)
        words = f"{figure(low)} to {figure(high)}: reference {before}, candidate {after}"
        bins.append(Bin(left, round(right - left, 2), words))
    return bins
