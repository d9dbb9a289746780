"""A remedy for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from windtunnel.cli.report.formatting import (
    UNKNOWN,
    clean,
    entries,
    figure,
    megabytes,
    named,
    nrmse_text,
    part,
    share,
    shorten,
)
from windtunnel.figures import compared_with

_HEADS: Final[Mapping[str, tuple[str, str, str]]] = {
    "proven": ("✓", "a remedy, proven", "bold green"),
    "uncertain": ("✓", "a remedy, within the gates on the held-back samples", "bold yellow"),
    "not_proven": ("!", "a remedy that is not proven", "bold yellow"),
    "none": ("✗", "no remedy found", "bold red"),
    "not_needed": ("✓", "no remedy needed", "bold green"),
}
_MEASURES: Final[Mapping[str, str]] = {
    "labels": "accuracy_drop is the float model's top-1 accuracy minus the model's",
    "agreement": "no labels: accuracy_drop is the share of samples on which the model and the float model disagree",
    "output_nrmse": "no labels, and outputs are not classes: accuracy_drop is the nRMSE of the outputs",
}
_WIDTH: Final = 60
_NARROW: Final = 44


def render_remedy(document: Mapping[str, Any], console: Console) -> None:
    """Prints the recipe that was found, why, what it costs, and the alternatives.

    Args:
        document: a `windtunnel.remedy/1`.
        console: where it is printed.
    """
    uncertain = document["verdict"] == "proven" and document["certain"] is False
    sign, head, style = _HEADS["uncertain" if uncertain else document["verdict"]]
    console.print(Text(f"{sign} {head}", style=style))
    _line(console, clean(document["reason"]))
    remedy = document["remedy"]
    if remedy is not None:
        _remedy(remedy, console)
    _gates(document, console)
    _sides(document, console)
    if remedy is not None:
        _costs(document, console)
    _front(document, console)
    _samples(document, console)
    _again(document, console)


def _line(console: Console, text: str) -> None:
    console.print(Text(f"  {text}"), soft_wrap=True)


def _remedy(remedy: Mapping[str, Any], console: Console) -> None:
    console.print()
    _line(console, clean(remedy["what"]))
    how = "float" if remedy["kept_as"] == "float" else "16 bit"
    for kept in entries(remedy, "kept"):
        why = []
        if kept["drop_without"] is not None:
            why.append(f"quantized again, the drop is {figure(kept['drop_without'])}")
        if kept["weight"]:
            why.append(f"it adds an nRMSE of {nrmse_text(kept['weight'])} in the variant")
        name = shorten(clean(kept["layer"]), _WIDTH)
        _line(console, f"{how}: {clean(kept['op'])} {name}" + (f": {'; '.join(why)}" if why else ""))


def _gates(document: Mapping[str, Any], console: Console) -> None:
    console.print()
    for gate in entries(document, "gates"):
        sign, word = ("✓", "within") if gate["passed"] else ("✗", "not within")
        measured = UNKNOWN if gate["measured"] is None else compared_with(gate["measured"], gate["limit"])
        _line(console, f"{sign} {clean(gate['gate'])} {measured} is {word} {gate['limit']:g}")
    proof = part(document, "proof")
    interval = (proof["remedy"] or proof["variant"])["accuracy_drop_ci"]
    if interval is not None:
        beyond = "" if document["certain"] else ", which includes the gate: more samples would decide"
        sign = "✓" if document["certain"] else "!"
        low, high = (figure(end) for end in interval)
        _line(console, f"{sign} 95 % interval of the drop: {low} to {high}{beyond}")


def _sides(document: Mapping[str, Any], console: Console) -> None:
    proof = part(document, "proof")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("held back", "top-1", "drop", "agreement", "nRMSE", "MB", "p50 ms", "p95 ms"):
        table.add_column(title, justify="left" if title == "held back" else "right", no_wrap=True)
    for name in ("float", "variant", "remedy"):
        side = proof[name]
        if side is not None:
            table.add_row(name, *_figures(side))
    console.print()
    console.print(table)


def _figures(side: Mapping[str, Any]) -> list[str]:
    latency = part(side, "latency_ms")
    return [
        share(side["accuracy"]),
        figure(side["accuracy_drop"]),
        share(side["agreement"]),
        nrmse_text(side["output_nrmse"]),
        megabytes(side["size_bytes"]),
        figure(latency.get("p50")),
        figure(latency.get("p95")),
    ]


def _costs(document: Mapping[str, Any], console: Console) -> None:
    ratios = part(part(document, "proof"), "ratios")
    words = [
        f"{figure(part(ratios, key).get('size'))} times the size and {figure(part(ratios, key).get('latency_p50'))} "
        f"times the latency (p50) of the {name}"
        for key, name in (("to_variant", "variant"), ("to_float", "float model"))
    ]
    _line(console, f"it costs {words[0]}, {words[1]}")


def _front(document: Mapping[str, Any], console: Console) -> None:
    tried = {trial["id"]: trial for trial in entries(document, "tried")}
    chosen = (document["remedy"] or {}).get("trial")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("", "recipes that no other one beats in both", "drop", "MB", "latency"):
        table.add_column(title, justify="left" if len(title) > 7 else "right", no_wrap=title != "")
    for name in entries(document, "front"):
        trial = tried[name]
        mark = "→" if name == chosen else ""
        ratio = trial["latency_ratio"]
        slower = UNKNOWN if ratio is None else f"x {ratio:.2f}"
        what = shorten(clean(trial["what"]), _NARROW)
        table.add_row(mark, what, figure(trial["accuracy_drop"]), megabytes(trial["size_bytes"]), slower)
    console.print()
    console.print(table)
    if document["remedy"] is not None and document["remedy"]["dominated_by"]:
        names = ", ".join(clean(tried[name]["what"]) for name in document["remedy"]["dominated_by"])
        _line(console, f"! as accurate, small and fast here, but of a different kind than the variant: {names}")
    device = part(document, "latency_device")
    role = "it may decide" if device.get("is_target") else "it did not decide between recipes"
    _line(console, f"latency: of {named(device.get('name'))}, one thread, XNNPACK; {role}")
    failed = sum(trial["error"] is not None for trial in tried.values())
    said = f"; {failed} could not be built" if failed else ""
    _line(console, f"of {len(tried) - 1} recipes, on the search samples{said}; {figure(document['seconds'])} s")
    if document["out_of_time"]:
        _line(console, "! the budget ended the search: a better recipe may exist")


def _samples(document: Mapping[str, Any], console: Console) -> None:
    drawn = part(document, "samples")
    how = "in equal shares of each class, " if drawn["stratified"] else ""
    _line(
        console,
        f"samples: {drawn['calibration']} to calibrate, {drawn['search']} to search, {drawn['held_back']} held back, "
        f"drawn {how}seed {drawn['seed']}",
    )
    if drawn["repeated"]:
        _line(console, f"! {drawn['repeated']} samples are repeated and were left out")
    _line(console, _MEASURES[drawn["measure"]])
    strange = part(document, "variant").get("strange")
    if strange:
        names = ", ".join(shorten(clean(name), _WIDTH) for name in strange[:3])
        _line(console, f"! weights of the variant that differ from the float model's: {names}; see `windtunnel diff`")


def _again(document: Mapping[str, Any], console: Console) -> None:
    written = part(document, "written")
    if written.get("recipe"):
        calibration = f" --calibration {clean(written['calibration'])}" if written.get("calibration") else ""
        model = named(part(document, "float").get("name"))
        _line(console, f"build it again: windtunnel quantize {model} --recipe {clean(written['recipe'])}{calibration}")
