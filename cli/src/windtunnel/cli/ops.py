"""`windtunnel ops`: where the time of a model goes, op by op."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from windtunnel.cli.context import json_option, print_json, run_async, say
from windtunnel.cli.figures import UNKNOWN, clean, entries, is_number, measure, named, part, shorten
from windtunnel.cli.outputs import progress_bar, read_json, require_file
from windtunnel.errors import InvalidInput, JobFailed

if TYPE_CHECKING:
    from windtunnel.layer_diff.latency import LatencyDiagnosis

_FILE: Final = click.Path(path_type=Path)
_TIMEOUT_S: Final = 3600.0
_MEMORY_MB: Final = 16_000
_SHOWN: Final = 25
# What the table takes beside the names of layers, and the least of a name that tells anything.
_OTHER_COLUMNS: Final = 84
_LEAST_NAME: Final = 12
_METHODS: Final = {
    "profiler": "the runtime's profiler",
    "cutting": "each op alone, as a model of its own",
    "log": "the log's table of ops",
}


@click.command()
@click.argument("model", type=_FILE)
@click.option("--log", type=_FILE, help="Take the times from this benchmark log, instead of measuring here.")
@click.option(
    "--accelerator",
    type=click.Choice(["xnnpack", "cpu"]),
    default="xnnpack",
    show_default=True,
    help="cpu: no delegate.",
)
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--samples", type=_FILE, help="Feed the first of these samples; default: a seeded random input.")
@click.option("--pipeline", type=_FILE, help="Preprocessing from the samples to the model's input (JSON).")
@json_option
def ops(
    model: Path,
    log: Path | None,
    accelerator: str,
    threads: int,
    samples: Path | None,
    pipeline: Path | None,
    as_json: bool,
) -> int:
    """Times every op of a .tflite model and names those slower than the rest of the model lets expect.

    A log needs the benchmark tool's table of ops (--enable_op_profiling=true).
    Exit code 0: nothing is slow without need; 1: a straggler, or ops that did not run on the accelerator.

    \b
    windtunnel ops model.tflite
    windtunnel ops model.tflite --accelerator cpu --threads 4 --json | jq .causes
    windtunnel ops model.tflite --log benchmark.txt
    """
    path = require_file(model, "model")
    steps = read_json(pipeline, "pipeline")
    if log is not None:
        found = _of_log(path, require_file(log, "log"))
    else:
        given = None if samples is None else require_file(samples, "samples")
        found = run_async(_measure(path, accelerator, threads, given, steps))
    document = found.to_json()
    if as_json:
        print_json(document)
    else:
        render_ops(document, Console())
    return 0 if document["verdict"] == "healthy" else 1


def _of_log(model: Path, log: Path) -> LatencyDiagnosis:
    from windtunnel.layer_diff.latency import diagnose_latency, profile_of_log
    from windtunnel.log_parser import parse_log
    from windtunnel.tflite import read_model

    runs = parse_log(log.read_bytes()).to_json()["runs"]
    chosen = next((run for run in runs if run["ops"]), runs[0] if runs else None)
    if chosen is None:
        raise InvalidInput(f"{log.name} holds no benchmark run")
    facts = read_model(model)
    return diagnose_latency(facts, profile_of_log(facts, chosen), chosen["delegate"])


async def _measure(
    model: Path, accelerator: str, threads: int, samples: Path | None, pipeline: Any
) -> LatencyDiagnosis:
    from windtunnel.isolation import ChildPool
    from windtunnel.layer_diff.latency.measure import measure_latency

    preload = ("windtunnel.layer_diff.latency.measure", "ai_edge_litert.interpreter")
    how = {"accelerator": accelerator, "threads": threads, "samples": samples, "pipeline": pipeline}
    with progress_bar("timing") as show:
        async with ChildPool(preload=preload, size=1, timeout_s=_TIMEOUT_S, memory_mb=_MEMORY_MB) as pool:
            try:
                return await pool.run(measure_latency, model, on_progress=show, **how)
            except JobFailed as error:
                if error.how != "signal":
                    raise
                # The profiler is reached through a C interface that other versions of the runtime may lay out anew.
                say("the runtime's profiler crashed: each op is timed alone instead")
            return await pool.run(measure_latency, model, method="cutting", on_progress=show, **how)


def render_ops(document: Mapping[str, Any], console: Console) -> None:
    """Prints the table of ops, slowest first, and what was found."""
    latency = part(document, "latency")
    threads = latency["threads"]
    total, explained = latency["total_ms"], latency["ops_ms"]
    console.print(Text(f"{document['verdict']}: {measure(total)} ms per inference"), style="bold")
    how = f"{latency['accelerator']}, {threads} thread{'s' if threads > 1 else ''}, {latency['runs']} runs"
    console.print(Text(f"  {how}; by {_METHODS[latency['method']]}, which explains {measure(explained)} ms"))
    rows = sorted(entries(document, "ops"), key=lambda row: -(row["ms"] or 0.0))
    console.print(_table(rows[:_SHOWN], console.width - _OTHER_COLUMNS))
    if len(rows) > _SHOWN:
        rest = sum(row["ms"] or 0.0 for row in rows[_SHOWN:])
        console.print(Text(f"  and {len(rows) - _SHOWN} ops with {measure(rest)} ms together"), style="dim")
    for cause in entries(document, "causes"):
        _cause(cause, console)
    for one in entries(document, "excluded"):
        console.print(Text(f"  not {one['code']}: {clean(one['why'])}"), style="dim")


def _table(rows: list[Any], room: int) -> Table:
    """The rows, with the layers' names where there is `room` for them."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="dim", show_edge=False)
    table.add_column("op", no_wrap=True)
    for name in ("ms", "share", "MMAC", "kB", "expected"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    if room >= _LEAST_NAME:
        table.add_column("layer", no_wrap=True)
    for row in rows:
        cells = [
            f"{row['op_index']} {clean(row['op'])}",
            measure(row["ms"]),
            f"{row['share']:.1%}" if is_number(row["share"]) else UNKNOWN,
            measure(row["macs"] / 1e6),
            measure(row["bytes"] / 1e3),
            measure(row["expected_ms"]),
            row["verdict"],
        ]
        table.add_row(*cells, *([shorten(clean(row["layer"]), room)] if room >= _LEAST_NAME else []))
    return table


def _cause(cause: Mapping[str, Any], console: Console) -> None:
    evidence, fix, place = part(cause, "evidence"), part(cause, "fix"), part(cause, "place")
    where = f"op {named(place['op_index'])} ({named(place['layer'])})"
    spent = f"{measure(evidence['measured_ms'])} ms"
    if is_number(evidence["share"]):
        spent += f", {evidence['share']:.0%} of the inference"
    if is_number(evidence["expected_ms"]):
        spent += f"; its peers let expect {measure(evidence['expected_ms'])} ms"
    console.print(Text(f"{cause['code']} at {where}: {spent}"), style="bold")
    reasons = [evidence["reason"]] if evidence.get("reason") else evidence.get("reasons") or []
    for reason in reasons:
        console.print(Text(f"  why: {clean(reason)}"))
    if evidence.get("kinds"):
        console.print(Text(f"  ops: {clean(', '.join(evidence['kinds']))}"))
    tried = f" (tried: {measure(fix['measured_ms'])} ms)" if cause["verified"] else ""
    console.print(Text(f"  fix: {clean(fix['action'])}{tried}"))
