"""Reports of runs, and benchmark logs, for the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from windtunnel.cli.report.farm_runs import dollars, job_words, status_words, web_link
from windtunnel.cli.report.formatting import (
    NOT_COMPARED,
    UNKNOWN,
    Gate,
    clean,
    elapsed,
    engine_of,
    entries,
    figure,
    first_over,
    gates_of,
    input_words,
    is_number,
    measure,
    megabytes,
    moment,
    named,
    nodes_of,
    nrmse_text,
    part,
    place_of,
    share,
    shorten,
    was_compared,
    worst,
)
from windtunnel.cli.report.signatures import signatures
from windtunnel.cli.report.task_words import accuracy_words, metric_words
from windtunnel.cli.report.text.diagnosis_text import diagnosis_body
from windtunnel.cli.report.text.findings_text import findings_text
from windtunnel.cli.report.text.layout import bullets, heading, line, new_table, verdict_words
from windtunnel.cli.report.text.recorded_apps_text import recorded_apps_text

_OPS_SHOWN = 10
_GATE_TITLES = {
    "accuracy": "accuracy",
    "drop": "accuracy drop",
    "p50": "p50 ms",
    "p95": "p95 ms",
    "size": "size MB",
    "memory": "memory MB",
    "nrmse": "layer nRMSE",
}


def render_report(report: dict[str, Any], console: Console) -> None:
    """Prints a report: verdict and reasons, then the figures of every variant.

    Args:
        report: a `windtunnel.report/1`.
        console: where it is printed.
    """
    _report_head(report, console)
    variants = entries(report, "variants")
    findings_text(entries(report, "findings"), console)
    if not variants:
        line(console, "No variant was made.", style="dim")
        return
    heading(console, "Variants")
    console.print(_variants(variants, console.width))
    _remarks(variants, console)
    _devices(variants, console)
    recorded_apps_text(variants, console)
    _gates(variants, console)
    _tensors(variants, console)
    _conversion(part(report, "conversion"), console)
    for variant in variants:
        diagnosis = variant.get("diagnosis")
        if diagnosis is not None and (diagnosis.get("verdict") != "healthy" or entries(diagnosis, "causes")):
            heading(console, f"Diagnosis of {clean(variant.get('name'))}")
            diagnosis_body(diagnosis, console)


def render_log(log: dict[str, Any], console: Console) -> None:
    """Prints a log of benchmarks, run by run.

    Args:
        log: a `windtunnel.log/1`.
        console: where it is printed.
    """
    runs = entries(log, "runs")
    if not runs:
        line(console, "No benchmark run was found.")
    for number, run in enumerate(runs, start=1):
        _run(run, f"Run {number} of {len(runs)}", console)
        if _is_unmeasured(run):
            line(console, "the log stops before any inference: it has no timings", style="yellow", indent=2)
    _unrecognized(log, console)


def _unrecognized(log: Mapping[str, Any], console: Console) -> None:
    """How many lines no rule recognized, and those that the document lists, with their numbers."""
    count, listed = log.get("unrecognized_lines"), entries(log, "unrecognized")
    if not count:
        return
    more = "; --unrecognized lists all" if 0 < len(listed) < count else ""
    line(console, f"{count} lines were not recognized{more}.", style="dim")
    for one in listed:
        where = f"{one['file']}:{one['line']}" if one.get("file") else f"line {one['line']}"
        line(console, shorten(clean(f"{where}: {one['text']}"), max(40, console.width - 4)), style="dim", indent=2)


def _is_unmeasured(run: Mapping[str, Any]) -> bool:
    """Whether a run of a log has no timings and no known error: its log stops early."""
    figures = [*part(run, "inference").values(), *part(run, "warmup").values()]
    return not run.get("error") and not entries(run, "ops") and all(value is None for value in figures)


def _report_head(report: Mapping[str, Any], console: Console) -> None:
    model = part(report, "model")
    title = verdict_words(report.get("verdict"))
    title.append(f"  {named(model.get('name'))} {named(model.get('version'))}", style="bold not green not red")
    console.print(title)
    bullets(entries(report, "reasons"), console)
    facts = [f"run {named(report.get('run_id'))}", f"started {moment(report.get('started_at'))}"]
    if report.get("ended_at"):
        facts.append(f"took {elapsed(report.get('started_at'), report.get('ended_at'))}")
    if cost := dollars(report.get("cost_usd")):
        facts.append(f"cost {cost}")
    line(console, ", ".join(facts), style="dim")
    line(console, f"sha256 {named(model.get('sha256'))}", style="dim")
    labels = [f"{name}={value}" for name, value in part(report, "labels").items()]
    if labels:
        line(console, f"labels {clean(', '.join(labels))}", style="dim")
    if report.get("trace_id"):
        line(console, f"trace {named(report['trace_id'])}", style="dim")


def _variants(variants: list[Any], width: int) -> Table:
    words = ("Variant", "First diverging", "Gates")
    table = new_table("Variant", "MB", "Accuracy", "Drop", "Loss", "nRMSE", "First diverging", "Gates", words=words)
    room = min(60, max(10, width - 66))
    for variant in variants:
        layers, gates = part(variant, "layers"), gates_of(variant)
        table.add_row(
            Text(shorten(named(variant.get("name")), 16)),
            megabytes(variant.get("size_bytes")),
            share(variant.get("accuracy")),
            share(variant.get("accuracy_drop")),
            figure(variant.get("loss"), ".4f"),
            nrmse_text(layers.get("max_nrmse")),
            Text(shorten(first_over(layers) or UNKNOWN, room)),
            _tally(gates),
        )
    return table


def _remarks(variants: list[Any], console: Console) -> None:
    """Remarks that qualify a variant's figures."""
    for variant in variants:
        name = shorten(named(variant.get("name")), 24)
        if variant.get("synthetic_samples"):
            line(console, f"{name}: compared on seeded random inputs, the plan has no samples", indent=2)
        if variant.get("calibration_from_samples"):
            line(console, f"{name}: calibrated with samples, the plan has no calibration set", indent=2)
        if variant.get("accuracy") is None and variant.get("accuracy_reason"):
            line(console, f"{name}: no accuracy: {clean(variant['accuracy_reason'])}", indent=2)
        elif (words := accuracy_words(variant)) is not None:
            line(console, f"{name}: {words}", indent=2)
        if variant.get("diagnosis_problem"):
            line(console, f"{name}: {clean(variant['diagnosis_problem'])}", indent=2)


def _tally(gates: list[Gate]) -> Text:
    if not gates:
        return Text(UNKNOWN)
    passed = sum(gate.passed is True for gate in gates)
    failed = any(gate.passed is False for gate in gates)
    mark = "✗" if failed else "✓" if passed == len(gates) else "?"
    return Text(f"{mark} {passed}/{len(gates)}", style=_gate_style(False if failed else passed == len(gates) or None))


def _gate_style(passed: bool | None) -> str:
    return "yellow" if passed is None else "green" if passed else "red"


def _devices(variants: list[Any], console: Console) -> None:
    places: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for variant in variants:
        for cell in entries(variant, "cells"):
            place = f"{place_of(cell)}, {engine_of(cell)}"
            places.setdefault(place, []).append((shorten(named(variant.get("name")), 24), cell))
    for place, cells in places.items():
        heading(console, f"On {place}")
        inputs = list(dict.fromkeys(text for _, cell in cells if (text := _input_of(cell))))
        if len(inputs) == 1:
            line(console, inputs[0], style="dim", indent=2)
        table = new_table("Variant", "p50 ms", "p95 ms", "max ms", "init ms", "MB", "Nodes", "", words=("Variant", ""))
        for name, cell in cells:
            table.add_row(Text(name), *_cell_figures(cell), nodes_of(cell), _status(cell))
        console.print(table)
        for name, cell in cells:
            _cell_remarks(name, cell, console)
            if len(inputs) > 1 and (text := _input_of(cell)):
                line(console, f"{name}: {text}", style="dim", indent=2)
        _warnings(cells, console)


def _input_of(cell: Mapping[str, Any]) -> str:
    return clean(input_words(part(cell, "input_shapes"), known=cell.get("shapes_known")))


def _cell_remarks(name: str, cell: Mapping[str, Any], console: Console) -> None:
    """The reasons for a cell's status, and what carried it at which cost."""
    if cell.get("reason"):
        line(console, f"{name}: {clean(cell['reason'])}", indent=2)
    cost = dollars(cell.get("cost_usd"))
    words = (job_words(cell), f"cost {cost}" if cost else "", web_link(cell.get("url")))
    if said := ", ".join(text for text in words if text):
        line(console, f"{name}: {said}", style="dim", indent=2)


def _warnings(cells: Sequence[tuple[str, Mapping[str, Any]]], console: Console) -> None:
    """Warnings about the figures of cells. One that several cells share except for its numbers is printed once."""
    shared: dict[str, list[tuple[str, str]]] = {}
    for name, cell in cells:
        for warning in entries(cell, "warnings"):
            shared.setdefault(re.sub(r"[0-9.]+", "0", str(warning)), []).append((name, clean(warning)))
    for said in shared.values():
        names = ", ".join(name for name, _ in said)
        example = f" ({said[0][0]})" if len({text for _, text in said}) > 1 else ""
        line(console, f"warning: {names}: {said[0][1]}{example}", style="yellow", indent=2)


def _cell_figures(cell: Mapping[str, Any]) -> list[str]:
    latency = part(cell, "latency_ms")
    figures = [latency.get("p50"), latency.get("p95"), latency.get("max"), cell.get("init_ms"), cell.get("memory_mb")]
    return [measure(value) for value in figures]


def _status(cell: Mapping[str, Any]) -> Text:
    status = cell.get("status")
    if status == "measured":
        said = [text for key, text in (("fell_back", "fell back"), ("unstable", "unstable")) if cell.get(key)]
        return Text(", ".join(said), style="yellow")
    return Text(status_words(cell) or UNKNOWN, style="red" if status == "failed" else "yellow")


def _gates(variants: list[Any], console: Console) -> None:
    """One column for each gate. A limit that is the same for all variants is in its heading."""
    judged = [(variant, _worst_by_name(gates_of(variant))) for variant in variants]
    names = list(dict.fromkeys(name for _, gates in judged for name in gates))
    if not names:
        return
    heading(console, "Gates")
    limits = {name: {gates[name].limit for _, gates in judged if name in gates} for name in names}
    common = {name: next(iter(found)) for name, found in limits.items() if len(found) == 1}
    titles = {
        name: _GATE_TITLES.get(gate.column or "", shorten(name, 20))
        for _, found in judged
        for name, gate in found.items()
    }
    signs = {name: gate.sign for _, found in judged for name, gate in found.items()}
    heads = [f"{titles[name]}\n{signs[name]} {common[name]}" if name in common else titles[name] for name in names]
    table = new_table("Variant", *heads, words=("Variant",))
    for variant, gates in judged:
        cells = [_gate_cell(gates.get(name), with_limit=name not in common) for name in names]
        table.add_row(Text(shorten(named(variant.get("name")), 16)), *cells)
    console.print(table)
    for variant, gates in judged:
        _compared_gates(named(variant.get("name")), gates.values(), console)


def _compared_gates(variant: str, gates: Iterable[Gate], console: Console) -> None:
    """What gates that compare with an earlier run found."""
    for gate in gates:
        if gate.name == "latency_vs" and (said := "; ".join(text for text in (gate.compared, gate.why) if text)):
            line(console, f"{gate.name}: {shorten(variant, 24)}: {said}", style="dim", indent=2)


def _worst_by_name(gates: list[Gate]) -> dict[str, Gate]:
    """A latency gate applies to every cell: the result that matters most is shown for all."""
    found: dict[str, list[Gate]] = {}
    for gate in gates:
        found.setdefault(gate.name, []).append(gate)
    return {name: chosen for name, members in found.items() if (chosen := worst(members)) is not None}


def _gate_cell(gate: Gate | None, *, with_limit: bool) -> Text:
    if gate is None:
        return Text("")
    limit = f" {gate.sign} {gate.limit}" if with_limit else ""
    return Text(f"{gate.measured}{limit} {gate.mark}", style=_gate_style(gate.passed))


def _tensors(variants: list[Any], console: Console) -> None:
    """The inputs and outputs of each variant."""
    found = signatures(variants)
    if found:
        heading(console, "Inputs and outputs")
    for one in found:
        line(console, shorten(", ".join(one.variants), 100), indent=2)
        for arrow, texts in (("in ", one.inputs), ("out", one.outputs)):
            for text in texts:
                line(console, f"{arrow}  {text}", indent=4)


def _conversion(check: Mapping[str, Any], console: Console) -> None:
    passed = check.get("passed")
    if passed is None and not check.get("message"):
        return
    heading(console, "Conversion check")
    if not was_compared(check):
        line(console, NOT_COMPARED, indent=2)
        if check.get("message"):
            line(console, clean(check["message"]), indent=2)
        return
    facts = [UNKNOWN if passed is None else "passed" if passed else "failed"]
    for key, label in (("top1", "top-1"), ("element_accuracy", "element accuracy")):
        before, after = part(check, "original").get(key), part(check, "converted").get(key)
        if before is not None or after is not None:
            facts.append(f"{label} {share(before)} → {share(after)}")
    before, after = (part(check, side) for side in ("original", "converted"))
    metric = after.get("metric")
    if metric not in (None, "top1", "pixel_accuracy"):
        figures = (part(side, "figures").get(metric) for side in (before, after))
        facts.append(f"{metric_words(metric)} {' → '.join(map(share, figures))}")
    facts.append(f"agreement {share(check.get('agreement'))}")
    facts.append(f"output nRMSE {nrmse_text(check.get('output_nrmse'))}")
    if check.get("synthetic_samples"):
        facts.append("on seeded random inputs")
    line(console, ", ".join(facts), style="red" if passed is False else "", indent=2)
    if check.get("message"):
        line(console, clean(check["message"]), indent=2)


def _run(run: Mapping[str, Any], title: str, console: Console) -> None:
    heading(console, f"{title}: {named(run.get('model'))}")
    asked = run.get("accelerator_requested")
    facts = [
        named(run.get("tool")),
        f"requested accelerator {named(asked)}",
        f"threads {named(run.get('threads'))}",
        f"model {measure(run.get('model_size_mb'))} MB",
    ]
    line(console, ", ".join(facts), indent=2)
    for delegate in [run.get("delegate"), *entries(run, "other_delegates")]:
        if delegate is not None:
            line(console, _delegate(delegate), indent=2)
    console.print(_times(run))
    line(console, _memory(part(run, "memory")), indent=2)
    _ops(entries(run, "ops") or entries(run, "top_ops"), console)
    if run.get("error") is not None:
        line(console, f"error: {named(run['error'].get('kind'))}: {named(run['error'].get('message'))}", style="red")
    for warning in entries(run, "warnings"):
        line(console, f"warning: {clean(warning)}", style="yellow", indent=2)
    if run.get("truncated"):
        line(console, "the log stops in the middle of this run", style="yellow", indent=2)


def _memory(memory: Mapping[str, Any]) -> str:
    """The sizes that the log has."""
    sizes = [
        f"{what} {measure(mb)} MB" for what in ("init", "overall", "peak") if is_number(mb := memory.get(f"{what}_mb"))
    ]
    return f"memory ({named(memory.get('kind'))}): {', '.join(sizes)}" if sizes else "memory: not in the log"


def _delegate(delegate: Mapping[str, Any]) -> str:
    nodes = ""
    if delegate.get("nodes_delegated") is not None:
        nodes = f", {delegate['nodes_delegated']} of {named(delegate.get('nodes_total'))} nodes"
    how = " (applied by the runtime itself)" if delegate.get("implicit") else ""
    return f"delegate {named(delegate.get('name'))}{how}: {named(delegate.get('outcome'))}{nodes}"


def _times(run: Mapping[str, Any]) -> Table:
    table = new_table("ms", "count", "first", "avg", "min", "p50", "p95", "max", "std", words=("ms",))
    init, first = run.get("init_us"), run.get("first_inference_us")
    table.add_row("init", "", "", _ms(init), *[""] * 5)
    table.add_row("first inference", "", "", _ms(first), *[""] * 5)
    for name in ("warmup", "inference"):
        stats = part(run, name)
        keys = ("first_us", "avg_us", "min_us", "median_us", "p95_us", "max_us", "std_us")
        table.add_row(name, figure(stats.get("count"), "g"), *(_ms(stats.get(key)) for key in keys))
    return table


def _ms(us: Any) -> str:
    return measure(us / 1000) if is_number(us) else UNKNOWN


def _ops(ops: list[Any], console: Console) -> None:
    if not ops:
        return
    table = new_table("Op", "Name", "avg ms", "%", words=("Op", "Name"))
    for op in sorted(ops, key=lambda one: one.get("avg_ms") or 0.0, reverse=True)[:_OPS_SHOWN]:
        name = shorten(named(op.get("name")), max(20, console.width - 46))
        table.add_row(
            Text(shorten(named(op.get("type")), 24)), Text(name), measure(op.get("avg_ms")), measure(op.get("percent"))
        )
    line(console, f"slowest of {len(ops)} ops", style="dim", indent=2)
    console.print(table)
