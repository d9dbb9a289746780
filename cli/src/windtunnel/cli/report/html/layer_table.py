"""Every compared layer of a diagnosis with its figures, as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from windtunnel.cli.report.evidence import culprit_codes, notes_of
from windtunnel.cli.report.formatting import (
    UNKNOWN,
    clean,
    drift,
    entries,
    figure,
    is_number,
    is_over,
    named,
    part,
    shorten,
)
from windtunnel.cli.report.html.markup import NOTHING, Html, joined, tag
from windtunnel.cli.report.layer_names import layer_title
from windtunnel.thresholds import DEFAULT_THRESHOLD

Layer = Mapping[str, Any]

# More layers than this scroll below the table's head.
_SHOWN_WHOLE: Final = 16


def layer_table(diagnosis: Mapping[str, Any]) -> Html:
    """The culprits, then the layers with the largest own error, or drift where own errors are unknown.

    Columns whose figure no layer has are left out; nothing where no layer was compared.
    """
    layers = entries(diagnosis, "layers")
    if not layers:
        return NOTHING
    columns = [column for column in _COLUMNS if any(column[1](layer) != UNKNOWN for layer in layers)]
    heads = [tag("th", "#", class_="number"), tag("th", "Layer")]
    heads += [tag("th", title, class_="number", title=meaning) for title, _, meaning in columns]
    threshold = diagnosis.get("threshold") or DEFAULT_THRESHOLD
    worst = max((_own(layer) for layer in layers), default=0.0)
    codes = culprit_codes(diagnosis)
    order = sorted(range(len(layers)), key=lambda number: (number not in codes, -_badness(layers[number], worst)))
    rows = [_row(layers[number], codes.get(number, ()), columns, threshold=threshold, worst=worst) for number in order]
    table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_="layers")
    tall = " tall" if len(layers) > _SHOWN_WHOLE else ""
    shown = tag("div", table, class_=f"scroll{tall}", tabindex="0")
    meanings = "; ".join(f"{title}: {meaning}" for title, _, meaning in columns)
    key = tag("p", f"{meanings}.", class_="key")
    return joined([shown, key])


def _row(layer: Layer, codes: Sequence[str], columns: Sequence[Any], *, threshold: float, worst: float) -> Html:
    share = round(_own(layer) / worst, 3) if worst > 0 else 0.0
    cells = []
    for title, show, _ in columns:
        value = show(layer)
        over = title == _DRIFT and is_over(layer, threshold)
        below = _interval(layer) if title == _DRIFT else ""
        bar = f"--share:{share}" if title == _OWN and share else None
        style = f"number{' bad' if over else ''}{' share' if bar else ''}"
        note = tag("span", below, class_="sub") if below else None
        cells.append(tag("td", value, note, class_=style, style=bar))
    return tag(
        "tr",
        tag("td", named(layer.get("op_index")), class_="number quiet"),
        tag("td", *_name(layer, codes), class_="wide"),
        *cells,
        class_="culprit" if codes else None,
    )


def _name(layer: Layer, codes: Sequence[str]) -> list[Html]:
    """Name, op, codes of causes and why the layer drifts."""
    name, reference = named(layer.get("name")), named(layer.get("reference"))
    below = named(layer.get("op"))
    if reference not in (name, UNKNOWN):
        below += f", in the reference {layer_title(reference, 60)}"
    marks = [tag("span", clean(code), class_="badge bad small") for code in codes]
    notes = [tag("span", note, class_="sub") for note in notes_of(layer)]
    title = tag("span", layer_title(name, 70), title=shorten(name, 400), class_="layer-name")
    return [title, *marks, tag("span", below, class_="sub"), *notes]


def _own(layer: Layer) -> float:
    value = layer.get("local_nrmse")
    return float(value) if is_number(value) else 0.0


def _badness(layer: Layer, worst: float) -> float:
    """What layers are sorted by: one without a figure comes first."""
    if layer.get("problem") is not None:
        return float("inf")
    return _own(layer) if worst > 0 else float(layer.get("nrmse") or 0.0)


def _drift(layer: Layer) -> str:
    problem = layer.get("problem")
    return drift(layer.get("nrmse")) if problem is None else clean(problem).replace("_", " ")


def _interval(layer: Layer) -> str:
    """The 95 % interval of the drift, or nothing."""
    ends = layer.get("nrmse_ci")
    return f"{drift(ends[0])} to {drift(ends[1])}" if isinstance(ends, list) and len(ends) == 2 else ""


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
    return f"{drift(found.get('max'))} (no. {named(found.get('worst'))})" if found else UNKNOWN


_DRIFT: Final = "nRMSE"
_OWN: Final = "own nRMSE"
_COLUMNS: Final[tuple[tuple[str, Callable[[Layer], str], str], ...]] = (
    (_OWN, lambda layer: drift(layer.get("local_nrmse")), "error on the reference's own inputs"),
    (_DRIFT, _drift, "error accumulated up to this layer, with its 95 % interval"),
    ("worst channel", _channel, "largest nRMSE of a single channel"),
    ("SNR dB", lambda layer: figure(layer.get("snr_db"), ".1f"), "power of the reference over that of the error"),
    ("cosine", lambda layer: figure(layer.get("cosine"), ".4f"), "similarity of both models' values"),
    ("bias", lambda layer: figure(layer.get("bias"), ".2g"), "mean of candidate less reference, in real units"),
    ("max abs", lambda layer: figure(layer.get("max_abs")), "largest difference of a value, in real units"),
    ("at the ends", _saturated, "share of stored values at an end of the integer type"),
    ("dead channels", _dead, "channels that never change, candidate / reference"),
)
