"""`windtunnel ops`: the time of a model, op by op."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from windtunnel.cli.commands.options import measured_accelerator_option, threads_option
from windtunnel.cli.commands.shape_option import given_shapes, shape_option
from windtunnel.cli.io.console import json_option, print_json, run_async, say
from windtunnel.cli.io.files import MAX_LOG_BYTES, read_bytes, read_pipeline, require_file
from windtunnel.cli.io.progress import progress_bar
from windtunnel.cli.local.child_pools import new_pool
from windtunnel.errors import InvalidInput, JobFailed

if TYPE_CHECKING:
    from windtunnel.diagnosis.latency import LatencyDiagnosis

_FILE: Final = click.Path(path_type=Path)
_TIMEOUT_S: Final = 3600.0
_MEMORY_MB: Final = 16_000


@dataclass(frozen=True, slots=True)
class _How:
    """How the ops are timed: arguments of `measure_latency`."""

    accelerator: str
    threads: int
    samples: Path | None
    pipeline: Mapping[str, Any] | None
    shapes: Mapping[str, tuple[int, ...]]


@click.command()
@click.argument("model", type=_FILE)
@click.option("--log", type=_FILE, help="Read the times from this benchmark log instead of measuring here.")
@measured_accelerator_option
@threads_option
@shape_option
@click.option("--samples", type=_FILE, help="Feed the first of these samples; default: a seeded random input.")
@click.option("--pipeline", type=_FILE, help="Preprocessing from the samples to the model's input (JSON).")
@json_option
def ops(
    model: Path,
    log: Path | None,
    accelerator: str,
    threads: int,
    shapes: tuple[tuple[str, tuple[int, ...]], ...],
    samples: Path | None,
    pipeline: Path | None,
    as_json: bool,
) -> int:
    """Times every op of a .tflite model, and names ops that are slower than the rest of the model suggests.

    Work (MMAC) and times are those of the input that is fed: if the model has dynamic dimensions, give --samples or
    --shape. A log needs the benchmark tool's table of ops (--enable_op_profiling=true).
    Exit code 0: no op is slower than it should be; 1: an op is slower, or ops did not run on the accelerator.

    \b
    windtunnel ops model.tflite
    windtunnel ops model.tflite --samples test.npz
    windtunnel ops model.tflite --accelerator builtin --threads 4 --json | jq .causes
    windtunnel ops model.tflite --log benchmark.txt
    """
    path = require_file(model, "model")
    steps = read_pipeline(pipeline)
    if log is not None:
        found = _of_log(path, log)
    else:
        given = None if samples is None else require_file(samples, "samples")
        if given is not None and shapes:
            raise click.UsageError("the shapes come from --samples: leave --shape out")
        found = run_async(_measure(path, _How(accelerator, threads, given, steps, given_shapes(shapes))))
    document = found.to_json()
    if as_json:
        print_json(document)
    else:
        from rich.console import Console

        from windtunnel.cli.report.text.op_times_text import render_ops

        render_ops(document, Console())
    return 0 if document["verdict"] == "healthy" else 1


def _of_log(model: Path, log: Path) -> LatencyDiagnosis:
    from windtunnel.diagnosis.latency import diagnose_latency, profile_of_log
    from windtunnel.log_parser import parse_log
    from windtunnel.tflite import read_model

    runs = parse_log(read_bytes(log, "benchmark log", most=MAX_LOG_BYTES)).to_json()["runs"]
    chosen = next((run for run in runs if run["ops"] or run["top_ops"]), runs[0] if runs else None)
    if chosen is None:
        raise InvalidInput(f"{log.name} has no benchmark run")
    facts = read_model(model)
    return diagnose_latency(facts, profile_of_log(facts, chosen), chosen["delegate"])


async def _measure(model: Path, how: _How) -> LatencyDiagnosis:
    from windtunnel.diagnosis.latency.time_ops import measure_latency

    given = {one.name: getattr(how, one.name) for one in fields(how)}
    preload = ("windtunnel.diagnosis.latency.time_ops", "ai_edge_litert.interpreter")
    with progress_bar("timing") as show:
        async with new_pool(*preload, timeout_s=_TIMEOUT_S, limit_mb=_MEMORY_MB) as pool:
            try:
                return await pool.run(measure_latency, model, on_progress=show, **given)
            except JobFailed as error:
                if error.how != "signal":
                    raise
                # The profiler is called through a C interface that another version of the runtime may change.
                say("the runtime's profiler crashed: each op is timed in isolation instead")
            return await pool.run(measure_latency, model, method="cutting", on_progress=show, **given)
