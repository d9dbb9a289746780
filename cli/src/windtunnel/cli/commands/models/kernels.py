"""`windtunnel kernels`: one model with several accelerators; `windtunnel arm`: the emulated ARM64 system."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from windtunnel.accelerators import shown_accelerator, spelled_in_comparisons
from windtunnel.cli.commands.options import threads_option
from windtunnel.cli.io.console import json_option, print_json, run_async, say
from windtunnel.cli.io.files import read_json, require_file
from windtunnel.cli.io.progress import progress_bar
from windtunnel.cli.local.child_pools import new_pool
from windtunnel.errors import InvalidInput

if TYPE_CHECKING:
    from rich.console import Console

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
    help="builtin (also: none, cpu), reference, xnnpack, arm:CPU or arm:CPU:builtin with CPU cortex-a53 or cortex-a76; "
    "may be repeated. Default: all of this machine.",
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
    path, steps = require_file(model, "model"), read_json(pipeline, "pipeline")
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

        _render(report, Console())
    return exit_code(report, asked)


def exit_code(report: KernelReport, asked: tuple[str, ...]) -> int:
    """0, 1, or 2 if no fault was found but an accelerator that the user named did not run."""
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


def _render(report: KernelReport, console: Console) -> None:
    from rich.table import Table

    coverage = report.coverage
    console.print(
        f"[bold]{report.verdict}[/]: {coverage.compared} of {coverage.total} layers, {report.samples} samples, "
        f"each op fed with the values of "
        f"{shown_accelerator(report.base) if report.base else 'no accelerator: all crash'}"
    )
    table = Table("accelerator", "state", "worst op on the same inputs", "layers that differ", "output nRMSE", box=None)
    for run in report.runs:
        output = run.output.nrmse if run.output is not None else None
        table.add_row(
            shown_accelerator(run.name),
            run.status.replace("_", " "),
            # If only some ops ran, the figures of their layers are in the JSON.
            _local(run.local_steps, run.local_of_range) if run.status == "ran" else "",
            "" if run.differing_layers is None else str(run.differing_layers),
            "" if output is None else f"{output:.2g}",
        )
    console.print(table)
    if not report.causes:
        # The lines below explain causes, and accelerators that did not run.
        for reason in report.reasons:
            if " did not run: " not in reason:
                console.print(reason, markup=False)
    for run in report.runs:
        if run.status != "ran" or run.reason:
            console.print(f"{shown_accelerator(run.name)} {run.status.replace('_', ' ')}: {run.reason}", markup=False)
            if run.todo:
                console.print(f"  do: {run.todo}", markup=False)
    for cause in report.causes:
        place = f"op {cause.op_index} ({cause.evidence.get('op')}, {cause.layer})" if cause.layer else "no single op"
        sure = "confirmed in isolation" if cause.verified else "not confirmed"
        who = ", ".join(map(shown_accelerator, cause.evidence["departs"]))
        console.print(f"cause {cause.code}: {who} at {place}, confidence {cause.confidence:.2f}, {sure}", markup=False)
        console.print(f"  {_evidence(cause.evidence)}", markup=False)
    for one in report.excluded:
        console.print(f"not {one.code}: {one.why}", markup=False)


def _local(steps: float | None, of_range: float | None) -> str:
    """Integer steps and a share of the float range. Floats of an integer model that agree are left out."""
    parts = [f"{steps:g} steps"] if steps is not None else []
    if of_range is not None and (of_range > 0.0 or steps is None):
        parts.append(f"{of_range:.1e} of range")
    return ", ".join(parts)


def _evidence(evidence: Any) -> str:
    if "crash" in evidence:
        return f"{evidence['said']}; found in {evidence['tries']} tries"
    if evidence.get("non_finite"):
        return f"{evidence['non_finite']} values are NaN or infinite; {_agreeing(evidence)} have none there"
    if "limit" not in evidence:
        return "the outputs change if the layers between are kept: the fault is in how ops are fused"
    limit = evidence["limit"]
    found = evidence["max_abs"] if limit["unit"] == "steps" else evidence["of_range"]
    unit = "steps" if limit["unit"] == "steps" else "of the range"
    return (
        f"{found:.3g} {unit} from {_agreeing(evidence)}; rounding explains {limit['value']:.3g} "
        f"({limit['why']}); {evidence['share']:.0%} of the values differ"
    )


def _agreeing(evidence: Any) -> str:
    return ", ".join(map(shown_accelerator, evidence["agree"]))


@click.group("arm")
def arm() -> None:
    """The emulated ARM64 system in which the accelerators `arm:CPU` run."""


@arm.command()
@json_option
def setup(as_json: bool) -> int:
    """Builds the ARM64 system once. It downloads 40 MB, takes 150 MB on disk and needs no root rights.

    \b
    windtunnel arm setup
    """
    import asyncio

    from windtunnel.arm_emulator import build, missing

    async def make() -> Any:
        return await asyncio.to_thread(build, None, lambda share, text: say(f"{share:4.0%} {text}"))

    home = run_async(make())
    left = missing(home)
    if as_json:
        print_json({"root": str(home.root), "missing": [{"what": one.what, "todo": one.todo} for one in left]})
    else:
        click.echo(str(home.root))
    for one in left:
        say(f"still missing: {one.what}; run: {one.todo}")
    return _EXIT_COULD_NOT_RUN if left else 0


@arm.command()
@json_option
def doctor(as_json: bool) -> int:
    """Lists what the ARM64 system needs and this machine does not have. Exit code 0: nothing; 2: something.

    \b
    windtunnel arm doctor
    """
    from windtunnel.arm_emulator import CPUS, LITERT, default_home, missing

    home = default_home()
    left = missing(home)
    document = {
        "root": str(home.root),
        "litert": LITERT,
        "cpus": list(CPUS),
        "machine": platform.machine(),
        "missing": [{"what": one.what, "todo": one.todo} for one in left],
    }
    if as_json:
        print_json(document)
    elif not left:
        click.echo(f"ready: LiteRT {LITERT} for {', '.join(CPUS)} in {home.root}")
    else:
        for one in left:
            click.echo(f"missing: {one.what}\n  run: {one.todo}")
    return _EXIT_COULD_NOT_RUN if left else 0


commands = [kernels, arm]
