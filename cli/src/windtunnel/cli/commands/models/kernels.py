"""`windtunnel kernels`: one model under several kernel sets; `windtunnel arm`: the emulated ARM64 system."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

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
    "--kernel",
    "names",
    multiple=True,
    metavar="KERNEL",
    help="none (optimised), reference, xnnpack, arm:cortex-a53, arm:cortex-a76; default: all of this machine.",
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
    """Runs a .tflite model under several kernel sets and feeds each op alike, to tell a kernel's fault from rounding.

    Exit code 0: the kernels agree; 1: one departs or crashes; 2: one that was asked for could not run.

    \b
    windtunnel kernels model.tflite --samples test.npz
    windtunnel kernels model.tflite --samples test.npz --kernel xnnpack --kernel arm:cortex-a53
    """
    from windtunnel.diagnosis.kernels import parse_kernels

    try:
        chosen = parse_kernels(names)
    except InvalidInput as error:
        raise click.BadParameter(f"{error.message}: {error.hint}", param_hint="--kernel") from error
    path, steps = require_file(model, "model"), read_json(pipeline, "pipeline")
    if samples is None and pipeline is not None:
        raise InvalidInput("a pipeline is given without samples", hint="give --samples, or leave it out")
    if samples is None:
        say("no samples given: seeded random inputs stand in")
    source = None if samples is None else require_file(samples, "samples")
    report = run_async(_compare(path, source, steps, chosen, max_samples, threads))
    if as_json:
        print_json(report.to_json())
    else:
        from rich.console import Console

        _render(report, Console())
    return exit_code(report, names)


def exit_code(report: KernelReport, asked: tuple[str, ...]) -> int:
    """0, 1, or 2 where no fault was found but a kernel set that was asked for by name did not run."""
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
        f"fed with the values of {report.base or 'no kernel set: all crash'}"
    )
    table = Table("kernel set", "state", "worst op, fed alike", "layers that differ", "output nRMSE", box=None)
    for run in report.runs:
        output = run.output.nrmse if run.output is not None else None
        table.add_row(
            run.name,
            run.status.replace("_", " "),
            # Of a set that ran but for some ops alone, the figures are those of its layers in the JSON.
            _local(run.local_steps, run.local_of_range) if run.status == "ran" else "",
            "" if run.differing_layers is None else str(run.differing_layers),
            "" if output is None else f"{output:.2g}",
        )
    console.print(table)
    if not report.causes:
        # Of a cause the lines below say more, and of a set that did not run its own.
        for reason in report.reasons:
            if " did not run: " not in reason:
                console.print(reason, markup=False)
    for run in report.runs:
        if run.status != "ran" or run.reason:
            console.print(f"{run.name} {run.status.replace('_', ' ')}: {run.reason}", markup=False)
            if run.todo:
                console.print(f"  do: {run.todo}", markup=False)
    for cause in report.causes:
        place = f"op {cause.op_index} ({cause.evidence.get('op')}, {cause.layer})" if cause.layer else "no single op"
        sure = "confirmed alone" if cause.verified else "not confirmed"
        who = ", ".join(cause.evidence["departs"])
        console.print(f"cause {cause.code}: {who} at {place}, confidence {cause.confidence:.2f}, {sure}", markup=False)
        console.print(f"  {_evidence(cause.evidence)}", markup=False)
    for one in report.excluded:
        console.print(f"not {one.code}: {one.why}", markup=False)


def _local(steps: float | None, of_range: float | None) -> str:
    """Integer steps and shares of a float range; nothing is said of the few floats of an integer model that agree."""
    parts = [f"{steps:g} steps"] if steps is not None else []
    if of_range is not None and (of_range > 0.0 or steps is None):
        parts.append(f"{of_range:.1e} of range")
    return ", ".join(parts)


def _evidence(evidence: Any) -> str:
    if "crash" in evidence:
        return f"{evidence['said']}; found in {evidence['tries']} tries"
    if evidence.get("non_finite"):
        return f"{evidence['non_finite']} values are NaN or infinite; {', '.join(evidence['agree'])} have none there"
    if "limit" not in evidence:
        return "its outputs change when layers are kept: the fault is in how ops are fused"
    limit = evidence["limit"]
    found = evidence["max_abs"] if limit["unit"] == "steps" else evidence["of_range"]
    unit = "steps" if limit["unit"] == "steps" else "of the range"
    return (
        f"{found:.3g} {unit} from {', '.join(evidence['agree'])}; rounding explains {limit['value']:.3g} "
        f"({limit['why']}); {evidence['share']:.0%} of the values differ"
    )


@click.group("arm")
def arm() -> None:
    """The emulated ARM64 system that `arm:` kernel sets run in."""


@arm.command()
@json_option
def setup(as_json: bool) -> int:
    """Builds the ARM64 system once: 40 MB of downloads, 150 MB on disk, no root rights needed.

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
    """Says what the ARM64 kernels need and this machine lacks. Exit code 0: nothing; 2: something.

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
