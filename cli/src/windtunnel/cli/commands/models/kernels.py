"""`windtunnel kernels`: one model with several accelerators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from windtunnel.accelerators import spelled_in_comparisons
from windtunnel.cli.commands.options import threads_option
from windtunnel.cli.io.console import json_option, print_json, run_async, say
from windtunnel.cli.io.files import read_pipeline, require_file
from windtunnel.cli.io.progress import progress_bar
from windtunnel.cli.local.child_pools import new_pool
from windtunnel.errors import InvalidInput

if TYPE_CHECKING:
    from windtunnel.diagnosis.kernels import Kernel, KernelReport

_FILE: Final = click.Path(path_type=Path)
_TIMEOUT_S: Final = 3600.0
_EXIT_COULD_NOT_RUN: Final = 2


@click.command("kernels")
@click.argument("model", type=_FILE)
@click.option("--samples", type=_FILE, help="Arrays x (.npz), or a folder of images; default: seeded random inputs.")
@click.option("--pipeline", type=_FILE, help="Preprocessing from the samples to the model's input (JSON).")
@click.option(
    "--accelerator",
    "--kernel",
    "names",
    multiple=True,
    metavar="NAME",
    help="builtin (also: none, cpu), reference, xnnpack, arm:CPU, arm:CPU:builtin or arm:CPU:reference with CPU "
    "cortex-a53 or cortex-a76; may be repeated. Default: all of this machine.",
)
@click.option("--max-samples", type=click.IntRange(1), default=8, show_default=True)
@threads_option
@json_option
def kernels(
    model: Path,
    samples: Path | None,
    pipeline: Path | None,
    names: tuple[str, ...],
    max_samples: int,
    threads: int,
    as_json: bool,
) -> int:
    """Runs a .tflite model with several accelerators, and distinguishes a faulty kernel from rounding.

    Each op gets the same inputs with every accelerator, so that errors of earlier ops do not add up.
    Exit code 0: the accelerators agree; 1: one diverges or crashes; 2: one that you named could not run.

    \b
    windtunnel kernels model.tflite --samples test.npz
    windtunnel kernels model.tflite --samples test.npz --accelerator xnnpack --accelerator arm:cortex-a53
    """
    from windtunnel.diagnosis.kernels import parse_kernels

    asked = tuple(map(spelled_in_comparisons, names))
    try:
        chosen = parse_kernels(asked)
    except InvalidInput as error:
        raise click.BadParameter(f"{error.message}: {error.hint}", param_hint="--accelerator") from error
    path, steps = require_file(model, "model"), read_pipeline(pipeline)
    if samples is None and pipeline is not None:
        raise InvalidInput("a pipeline is given without samples", hint="give --samples, or leave it out")
    if samples is None:
        say("no samples given: seeded random inputs are used")
    source = None if samples is None else require_file(samples, "samples")
    report = run_async(_compare(path, source, steps, chosen, max_samples, threads))
    if as_json:
        print_json(report.to_json())
    else:
        from rich.console import Console

        from windtunnel.cli.report.text.kernels_text import render_kernels

        render_kernels(report, Console())
    return exit_code(report, asked)


def exit_code(report: KernelReport, asked: tuple[str, ...]) -> int:
    """The exit code of a comparison of accelerators.

    Args:
        report: the comparison.
        asked: accelerators that the user named.

    Returns:
        0, 1, or 2 if no fault was found but an accelerator that the user named did not run.
    """
    if not report.causes and not report.coverage.compared:
        return _EXIT_COULD_NOT_RUN
    if report.verdict != "healthy":
        return 1
    ran = {run.name for run in report.runs if run.status == "ran"}
    return 0 if ran.issuperset(asked) else _EXIT_COULD_NOT_RUN


async def _compare(
    model: Path, samples: Path | None, pipeline: Any, chosen: tuple[Kernel, ...], max_samples: int, threads: int
) -> KernelReport:
    from windtunnel.diagnosis.kernels import compare_kernels

    preload = ("windtunnel.diagnosis.kernels.kernel_jobs", "ai_edge_litert.interpreter")
    with progress_bar("running kernels") as show:
        async with new_pool(*preload, timeout_s=_TIMEOUT_S) as pool:
            return await compare_kernels(
                model,
                samples,
                pipeline,
                chosen,
                pool,
                max_samples=max_samples,
                threads=threads,
                on_progress=show,
            )
