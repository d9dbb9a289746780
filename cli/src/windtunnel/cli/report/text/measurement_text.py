"""The texts of `bench` and `convert`: one measurement, one conversion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from windtunnel.cli.report.formatting import (
    NOT_COMPARED,
    clean,
    conditions_words,
    engine_of,
    entries,
    input_words,
    measure,
    megabytes,
    named,
    nrmse_text,
    part,
    share,
    was_compared,
)
from windtunnel.cli.report.task_words import task_words

if TYPE_CHECKING:
    pass


def render_bench(document: Mapping[str, Any], console: Console) -> None:
    """Prints a measurement.

    Args:
        document: a `windtunnel.bench/1`.
        console: where it is printed.
    """
    latency, device = part(document, "latency_ms"), part(document, "device")
    where = [
        f"{clean(document['model'])} on {engine_of(document)}",
        input_words(part(document, "input_shapes"), known=document["shapes_known"]),
    ]
    console.print(Text(", ".join(text for text in where if text)), style="bold")
    figures = {name: f"{name} {measure(latency.get(name))}" for name in ("p50", "p95", "mean", "std", "min", "max")}
    lines = [
        f"latency ms  {figures['p50']}  {figures['p95']}  {figures['min']}  {figures['max']}",
        f"            {figures['mean']}  {figures['std']}  of {named(latency.get('samples'))} inferences",
        f"init ms     {measure(document['init_ms'])}",
        f"memory MB   {measure(document['memory_mb'])}",
        f"delegated   {named(document['nodes_delegated'])} of {named(document['nodes_total'])} nodes",
        f"meanwhile   {conditions_words(part(document, 'conditions'))}",
        f"device      {named(device.get('cpu'))}, {named(device.get('cores'))} cores, {named(device.get('runtime'))}",
    ]
    if "farm_run" in document:
        lines += _farm_lines(document)
    for line in lines:
        console.print(Text(f"  {line}"))
    for warning in entries(document, "warnings"):
        console.print(Text(f"  warning: {clean(warning)}"), style="yellow")


def _farm_lines(document: Mapping[str, Any]) -> list[str]:
    """Where a measurement on a farm ran, and what it cost."""
    name, system = clean(document["device_name"]), f"{document['platform']} {clean(document['os_version'])}"
    url = f", {clean(document['url'])}" if document["url"] else ""
    cost = "nothing" if document["cost_usd"] is None else f"${document['cost_usd']:.2f}"
    return [
        f"farm        {clean(document['farm'])}: {name}, {system}",
        f"farm run    {clean(document['farm_run'])}{url}",
        f"cost        {cost}",
    ]


def conversion_words(document: Mapping[str, Any]) -> str:
    """A conversion as text.

    Args:
        document: a `windtunnel.conversion/1`.

    Returns:
        The lines as one text.
    """
    check = document["check"]
    what = "seeded random inputs" if check["synthetic"] else "samples"
    lines = [
        f"{megabytes(document['size_bytes'])} MB, {len(document['ops'])} ops, {document['seconds']:.1f} s",
        f"check {'passed' if check['passed'] else 'failed'} on {check['samples']} {what}: "
        f"output nRMSE {nrmse_text(check['output_nrmse'])}, agreement {share(check['agreement'])}"
        if was_compared(check)
        else NOT_COMPARED,
    ]
    before, after = check["original"], check["converted"]
    if before is not None and after is not None:
        lines.append(f"top-1 {share(before.get('top1'))} → {share(after.get('top1'))}")
    elements = check["element_accuracy"]
    if elements["converted"] is not None:
        lines.append(f"element accuracy {share(elements['original'])} → {share(elements['converted'])}")
    if (task := part(check, "task")).get("metric") not in (None, "top1"):
        lines += task_words(task, ("original", "converted"))
    if check["message"]:
        lines.append(clean(check["message"]))
    return "\n".join(lines)
