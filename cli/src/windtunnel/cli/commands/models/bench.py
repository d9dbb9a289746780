"""`windtunnel bench`: latency, start-up time and memory of a model on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from windtunnel.cli.commands.options import measured_accelerator_option, threads_option
from windtunnel.cli.commands.shape_option import Shapes, given_shapes, shape_option, shapes_of
from windtunnel.cli.io.console import json_option, print_json, run_async, say
from windtunnel.cli.io.files import read_json, require_file, write_whole
from windtunnel.cli.io.output_guard import force_option, require_outputs
from windtunnel.cli.local.child_pools import TIMEOUT_S, memory_mb

if TYPE_CHECKING:
    from windtunnel.isolation import Progress

_FILE: Final = click.Path(path_type=Path)
# A person waits for the answer of `bench`, and can run it again.
_QUIET_S: Final = 5.0


@click.command()
@click.argument("model", type=_FILE)
@measured_accelerator_option
@threads_option
@shape_option
@click.option("--samples", type=_FILE, help="Take the shapes of the inputs from the first of these samples.")
@click.option("--pipeline", type=_FILE, help="Preprocessing from the samples to the model's input (JSON).")
@click.option("--log", type=_FILE, help="Save the benchmark log to this file.")
@force_option
@json_option
def bench(
    model: Path,
    accelerator: str,
    threads: int,
    shapes: tuple[tuple[str, tuple[int, ...]], ...],
    samples: Path | None,
    pipeline: Path | None,
    log: Path | None,
    force: bool,
    as_json: bool,
) -> int:
    """Measures latency, start-up time and memory of a .tflite model on this machine.

    Inputs are seeded random numbers. A dynamic dimension of an input is 1, unless --shape or --samples gives
    its size. If other processes disturb the measurement, it is repeated at most twice. If it is still unstable, a
    warning is printed.

    \b
    windtunnel bench model.tflite
    windtunnel bench model.tflite --shape 1,224,224,3
    windtunnel bench model.tflite --shape image=1,224,224,3 --shape mask=1,224,224,1
    windtunnel bench model.tflite --samples test.npz
    windtunnel bench model.tflite --accelerator builtin --threads 4 --json | jq .latency_ms.p95
    """
    from windtunnel.cli.local.documents import bench_document
    from windtunnel.cli.report.text.measurement_text import render_bench

    require_outputs((log,), inputs=(model, samples, pipeline), force=force)
    path, steps = require_file(model, "model"), read_json(pipeline, "pipeline")
    given = None if samples is None else require_file(samples, "samples")
    chosen = shapes_of(path, given_shapes(shapes), given, steps)
    run = run_async(_measure(path, accelerator, threads, chosen))
    if log is not None:
        write_whole(log, run.log.encode(), force=force)
        say(f"wrote {log}")
    document = bench_document(run, model.name, accelerator, threads)
    if as_json:
        print_json(document)
    else:
        from rich.console import Console

        render_bench(document, Console())
    return 0


async def _measure(model: Path, accelerator: str, threads: int, shapes: Shapes) -> Any:
    from windtunnel.farm_dispatcher.bench import Patience
    from windtunnel.farm_dispatcher.bench import bench as measure
    from windtunnel.farm_dispatcher.bench import new_pool as pool_of_bench
    from windtunnel.farm_dispatcher.settings import FarmDispatcherSettings
    from windtunnel.service.settings import load

    settings = load(FarmDispatcherSettings)
    reported: list[str] = []

    def report(now: Progress) -> None:
        # Once, and without a progress bar: drawing takes time from what is measured.
        if not reported:
            reported.append(now.text)
            say(now.text)

    async with pool_of_bench(TIMEOUT_S, memory_mb()) as pool:
        return await measure(
            model,
            accelerator,
            threads,
            pool,
            lock=settings.local_lock,
            shapes=shapes,
            patience=Patience(own_s=_QUIET_S, others_s=_QUIET_S),
            on_progress=report,
        )
