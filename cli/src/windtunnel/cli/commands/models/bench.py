"""`windtunnel bench`: latency, start-up time and memory of a model, on this machine or on a device of a farm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from windtunnel.accelerators import BUILTIN, XNNPACK, spelled_in_cells
from windtunnel.cli.commands.completion import complete_devices
from windtunnel.cli.commands.models.bench_device import DeviceOptions, measure_on_device
from windtunnel.cli.commands.options import PHONE_ACCELERATORS, AcceleratorType, farms_option, threads_option
from windtunnel.cli.commands.shape_option import Shapes, given_shapes, shape_option, shapes_of
from windtunnel.cli.io.console import json_option, print_json, run_async, say
from windtunnel.cli.io.files import read_pipeline, require_file, write_whole
from windtunnel.cli.io.output_guard import force_option, require_outputs
from windtunnel.cli.local.child_pools import TIMEOUT_S, memory_mb

if TYPE_CHECKING:
    from windtunnel.isolation import Progress

_FILE: Final = click.Path(path_type=Path)
# A person waits for the answer of `bench`, and can run it again.
_QUIET_S: Final = 5.0


@click.command()
@click.argument("model", type=_FILE)
@click.option(
    "--device",
    metavar="FARM/DEVICE[@OS]",
    help="Measure on this device of a farm instead; `windtunnel devices` lists them.",
    shell_complete=complete_devices,
)
@click.option(
    "--accelerator",
    type=AcceleratorType((XNNPACK, BUILTIN, *PHONE_ACCELERATORS), spelled_in_cells),
    help="What runs the ops: the XNNPACK delegate (default on this machine), the runtime's builtin kernels (also: cpu, "
    "none), or a delegate of the device. [the farm's default]",
)
@threads_option
@click.option(
    "--run-as", type=click.Choice(["executable", "app"]), help="How it runs on the device. [the farm's default]"
)
@farms_option
@click.option("--catalog", type=_FILE, help="Catalog of benchmark binaries and base apps. [WINDTUNNEL_CATALOG_FILE]")
@click.option("--resume", metavar="KEY", help="Collect a farm run that an earlier command left, with its arguments.")
@shape_option
@click.option("--samples", type=_FILE, help="Take the shapes of the inputs from the first of these samples.")
@click.option("--pipeline", type=_FILE, help="Preprocessing from the samples to the model's input (JSON).")
@click.option("--log", type=_FILE, help="Save the benchmark log to this file.")
@force_option
@json_option
def bench(
    model: Path,
    device: str | None,
    accelerator: str | None,
    threads: int,
    run_as: Literal["executable", "app"] | None,
    farms: Path | None,
    catalog: Path | None,
    resume: str | None,
    shapes: tuple[tuple[str, tuple[int, ...]], ...],
    samples: Path | None,
    pipeline: Path | None,
    log: Path | None,
    force: bool,
    as_json: bool,
) -> int:
    """Measures latency, start-up time and memory of a .tflite model, on this machine or on a device of a farm.

    Inputs are seeded random numbers. A dynamic dimension of an input is 1, unless --shape or --samples gives
    its size. If other processes disturb the measurement, it is repeated at most twice. If it is still unstable, a
    warning is printed.

    With --device the command opens the farm of farms.yaml itself: no server is needed. It prints what the farm says
    meanwhile, and what the run costs. A run that is expected to cost more than the farm's budget_usd.run is refused.
    Ctrl-C cancels it on the farm. If the command is killed, --resume collects what it started.

    \b
    windtunnel bench model.tflite
    windtunnel bench model.tflite --shape 1,224,224,3
    windtunnel bench model.tflite --shape image=1,224,224,3 --shape mask=1,224,224,1
    windtunnel bench model.tflite --samples test.npz
    windtunnel bench model.tflite --accelerator builtin --threads 4 --json | jq .latency_ms.p95

    On a device of a farm:

    \b
    windtunnel bench model.tflite --device "aws/Google Pixel 8@14" --accelerator gpu --farms farms.yaml
    windtunnel bench model.tflite --device bench/SM-S911B --run-as app --log phone.log
    """
    from windtunnel.cli.report.text.measurement_text import render_bench

    if device is None:
        _require_local(accelerator, run_as=run_as, farms=farms, catalog=catalog, resume=resume)
    require_outputs((log,), inputs=(model, samples, pipeline), force=force)
    path, steps = require_file(model, "model"), read_pipeline(pipeline)
    given = None if samples is None else require_file(samples, "samples")
    chosen = shapes_of(path, given_shapes(shapes), given, steps)
    if device is not None:
        document = measure_on_device(
            DeviceOptions(path, device, accelerator, threads, run_as, chosen, resume, farms, catalog, log, force)
        )
    else:
        document = _measure_here(path, accelerator or XNNPACK, threads, chosen, log, force=force)
    if as_json:
        print_json(document)
    else:
        from rich.console import Console

        render_bench(document, Console())
    return 0


def _require_local(accelerator: str | None, **only_devices: object) -> None:
    """Checks that no option is given that means nothing on this machine.

    Raises:
        UsageError: an option needs --device.
        BadParameter: this machine does not have the accelerator.
    """
    for name, value in only_devices.items():
        if value is not None:
            raise click.UsageError(f"--{name.replace('_', '-')} needs --device")
    if accelerator in PHONE_ACCELERATORS:
        raise click.BadParameter(
            f"{accelerator} is not on this machine: use {XNNPACK} or {BUILTIN}, or choose a phone with --device.",
            param_hint="--accelerator",
        )


def _measure_here(
    model: Path, accelerator: str, threads: int, shapes: Shapes, log: Path | None, *, force: bool
) -> dict[str, Any]:
    from windtunnel.cli.local.documents import bench_document

    run = run_async(_measure(model, accelerator, threads, shapes))
    if log is not None:
        write_whole(log, run.log.encode(), force=force)
        say(f"wrote {log}")
    return bench_document(run, model.name, accelerator, threads)


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
