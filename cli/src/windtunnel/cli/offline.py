"""Commands that need no server: `parse-log`, `bench`, `convert` and `quantize`.

What they need beside click is imported when they run: the others answer at once.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from windtunnel.cli.completion import complete_variants
from windtunnel.cli.context import json_option, print_json, run_async, say
from windtunnel.cli.conversion import convert_model, model_source
from windtunnel.cli.native import TIMEOUT_S, memory_mb, new_pool, require_installed
from windtunnel.cli.options import host_accelerator_option, threads_option
from windtunnel.cli.outputs import (
    MAX_LOG_BYTES,
    force_option,
    progress_bar,
    read_bytes,
    read_json,
    require_file,
    require_outputs,
    write_whole,
)
from windtunnel.cli.shapes import Shapes, given_shapes, shape_option, shapes_of
from windtunnel.errors import InvalidInput
from windtunnel.formats import FORMATS

if TYPE_CHECKING:
    from windtunnel.isolation import Progress
    from windtunnel.quantizer.domain import Quantized

_FILE: Final = click.Path(path_type=Path)
_LEFT_SHOWN: Final = 8
# Somebody waits for the answer of `bench`, and can ask again.
_QUIET_S: Final = 5.0


@click.command("parse-log")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@json_option
def parse_log(file: Path, as_json: bool) -> int:
    """Reads a log of the TFLite or LiteRT benchmark tool. FILE "-" is standard input.

    Prefixes of adb logcat, journald, CI systems, containers and loggers are taken off. Exit code 0: at least one run
    was read; 2: the file has none.

    \b
    windtunnel parse-log benchmark.txt
    adb logcat -d | windtunnel parse-log - --json
    """
    from windtunnel.log_parser import parse_log as parse

    document = parse(_log_of(file)).to_json()
    if as_json:
        print_json(document)
        _require_run(document, file)
        return 0
    _require_run(document, file)
    from rich.console import Console

    from windtunnel.cli.report_text import render_log

    render_log(document, Console())
    return 0


def _require_run(document: dict[str, Any], file: Path) -> None:
    """Raises InvalidInput where the log has no run; what ended a process says nothing of a benchmark by itself."""
    ends = ("crash", "out_of_memory")
    bare = [run for run in document["runs"] if run["error"] and run["error"]["kind"] in ends and not _says_more(run)]
    if len(bare) < len(document["runs"]):
        return
    where = "standard input" if str(file) == "-" else str(file)
    said = f"; it says {bare[0]['error']['message']!r:.200}" if bare else ""
    raise InvalidInput(
        f"no benchmark run was found in {where}: {document['unrecognized_lines']} lines were not recognized{said}",
        hint="give what benchmark_model, litert-benchmark or the benchmark app printed, or the logcat that holds it",
    )


def _says_more(run: dict[str, Any]) -> bool:
    """Whether a run says anything beside its error."""
    figures = [*run["inference"].values(), *run["warmup"].values(), *run["memory"].values()]
    facts = [run[name] for name in ("model", "model_size_mb", "threads", "init_us", "delegate", "runtime_version")]
    lists = [run[name] for name in ("ops", "top_ops", "other_delegates")]
    return any(value is not None for value in (*figures, *facts)) or any(lists)


def _log_of(file: Path) -> bytes:
    if str(file) != "-":
        return read_bytes(file, "benchmark log", most=MAX_LOG_BYTES)
    content = sys.stdin.buffer.read(MAX_LOG_BYTES + 1)
    if len(content) > MAX_LOG_BYTES:
        raise InvalidInput(f"{file} is larger than {MAX_LOG_BYTES} bytes", hint="is it a benchmark log?")
    return content


@click.command()
@click.argument("model", type=_FILE)
@host_accelerator_option
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

    Inputs are seeded random numbers. A dimension that the model leaves open is 1, unless --shape or --samples gives
    its size. If other processes disturb the measurement, it is repeated twice at most; a warning says so if it stays
    unstable.

    \b
    windtunnel bench model.tflite
    windtunnel bench model.tflite --shape 1,224,224,3
    windtunnel bench model.tflite --shape image=1,224,224,3 --shape mask=1,224,224,1
    windtunnel bench model.tflite --samples test.npz
    windtunnel bench model.tflite --accelerator cpu --threads 4 --json | jq .latency_ms.p95
    """
    from windtunnel.cli.measured import bench_document, render_bench

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
    from windtunnel.settings import load

    settings = load(FarmDispatcherSettings)
    told: list[str] = []

    def tell(now: Progress) -> None:
        # Once, and without a bar: what draws on the screen takes time from what is measured.
        if not told:
            told.append(now.text)
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
            on_progress=tell,
        )


@click.command()
@click.argument("model", type=_FILE)
@click.option("-o", "--out", type=_FILE, help="The .tflite to write; default: MODEL's name in the current folder.")
@click.option(
    "--samples", type=_FILE, help="Samples on which the conversion is checked; default: seeded random inputs."
)
@click.option("--pipeline", type=_FILE, help="Preprocessing from the samples to the model's input (JSON).")
@click.option("--input", "inputs", multiple=True, metavar="NAME", help="Input tensor, where the file does not say.")
@click.option("--output", "outputs", multiple=True, metavar="NAME", help="Output tensor, where the file does not say.")
@click.option("--format", "declared", type=click.Choice(FORMATS), help="Format of MODEL; default: from its content.")
@click.option("--allow-code", is_flag=True, help="Load models that carry Python code (Lambda layers).")
@click.option(
    "--select-tf-ops",
    is_flag=True,
    help="Convert ops that TensorFlow Lite lacks to Select TF ops, which need the Flex library on the phone.",
)
@force_option
@json_option
def convert(
    model: Path,
    out: Path | None,
    samples: Path | None,
    pipeline: Path | None,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    declared: str | None,
    allow_code: bool,
    select_tf_ops: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Converts a trained model to float32 TensorFlow Lite and checks the result against the original.

    MODEL is a SavedModel folder, a .keras, .h5 or frozen .pb file, a TF1 checkpoint, or an archive of one.
    Exit code 0: converted; 1: converted, but it computes something else than the original.

    \b
    windtunnel convert model.keras
    windtunnel convert saved_model/ -o model.tflite --samples test.npz
    windtunnel convert frozen.pb --format frozen_graph --input image --output logits
    """
    require_installed("convert", "windtunnel.converter", "tensorflow")
    from windtunnel.cli.measured import conversion_document, conversion_words

    out = out or Path(f"{model.name if model.is_dir() else model.stem}.tflite")
    require_outputs((out,), inputs=(model, samples, pipeline), force=force)
    steps = read_json(pipeline, "pipeline")
    sample_path = None if samples is None else require_file(samples, "samples")
    options = {"samples": sample_path, "pipeline": steps, "inputs": inputs, "outputs": outputs}
    options |= {"allow_code": allow_code, "select_tf_ops": select_tf_ops}
    with tempfile.TemporaryDirectory(prefix="windtunnel-") as folder:
        source = model_source(model, Path(folder, "checkpoint"))
        done = run_async(convert_model(source, Path(folder), declared, **options))
        write_whole(out, done.model.read_bytes(), force=force)
    document = conversion_document(done, out)
    say(f"wrote {out}")
    if as_json:
        print_json(document)
    else:
        from rich.console import Console

        from windtunnel.cli.findings_text import findings_text

        click.echo(conversion_words(document))
        findings_text(document["check"]["findings"], Console())
    return 0 if done.check.passed else 1


@click.command()
@click.argument("model", type=_FILE)
@click.option(
    "--variant",
    help="float16, dynamic_range, int8 or int16x8; with --recipe: a name of your own.",
    shell_complete=complete_variants,
)
@click.option("--recipe", type=_FILE, help="A litert-quantizer recipe (JSON list of rules).")
@click.option("--calibration", type=_FILE, help="About 100 typical inputs (.npz); int8 and int16x8 need them.")
@click.option("--pipeline", type=_FILE, help="Preprocessing from the calibration set to the model's input (JSON).")
@click.option("-o", "--out", type=_FILE, help="The .tflite to write; default: MODEL.VARIANT.tflite here.")
@force_option
@json_option
def quantize(
    model: Path,
    variant: str | None,
    recipe: Path | None,
    calibration: Path | None,
    pipeline: Path | None,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> int:
    """Makes one variant of a float32 .tflite model.

    \b
    windtunnel quantize model.tflite --variant dynamic_range
    windtunnel quantize model.tflite --variant int8 --calibration calib.npz -o model.int8.tflite
    windtunnel quantize model.tflite --variant mixed --recipe recipe.json --calibration calib.npz
    """
    require_installed("quantize", "windtunnel.quantizer", "litert_quantizer")
    from windtunnel.cli.measured import quantized_document

    name = _variant_name(variant, recipe)
    out = out or Path(f"{model.stem}.{name}.tflite")
    require_outputs((out,), inputs=(model, recipe, calibration, pipeline), force=force)
    source = require_file(model, "model")
    inputs = None if calibration is None else require_file(calibration, "calibration set")
    rules, steps = _rules(recipe), read_json(pipeline, "pipeline")
    _require_calibration(name, rules, inputs)
    with tempfile.TemporaryDirectory(prefix="windtunnel-") as folder:
        done = run_async(_quantize(source, Path(folder), name, rules, inputs, steps))
        write_whole(out, done.model.read_bytes(), force=force)
    say(f"wrote {out}")
    document = quantized_document(done, name, out)
    for one in done.left_float[:_LEFT_SHOWN]:
        say(f"rule {one.rule} leaves {one.op} {one.layer} (op {one.op_index}) in float")
    if len(done.left_float) > _LEFT_SHOWN:
        say(f"and {len(done.left_float) - _LEFT_SHOWN} ops more, which --json names")
    if as_json:
        print_json(document)
    else:
        before, after = source.stat().st_size, document["size_bytes"]
        click.echo(f"{name}: {after / 1e6:.3g} MB, {before / after:.2f} times smaller, {done.seconds:.1f} s")
    return 0


def _variant_name(variant: str | None, recipe: Path | None) -> str:
    from windtunnel.plan import BUILTIN_VARIANTS

    if variant is None and recipe is None:
        raise click.UsageError("give --variant or --recipe")
    name = variant or (recipe.stem if recipe is not None else "")
    if recipe is None and name not in BUILTIN_VARIANTS:
        raise click.BadParameter(f"{name!r} is none of {', '.join(BUILTIN_VARIANTS)}", param_hint="--variant")
    if "/" in name or name.startswith("."):
        raise click.BadParameter(f"{name!r} is no name for a file", param_hint="--variant")
    return name


def _rules(recipe: Path | None) -> tuple[Any, ...] | None:
    found = read_json(recipe, "recipe")
    if found is None:
        return None
    from windtunnel.plan.parse import require_recipe_rules

    return require_recipe_rules(found, str(recipe))


def _require_calibration(name: str, rules: tuple[Any, ...] | None, calibration: Path | None) -> None:
    from windtunnel.plan import VariantSpec
    from windtunnel.quantizer.domain import needs_calibration

    if calibration is None and needs_calibration(VariantSpec(name, rules)):
        raise InvalidInput(
            f"variant {name!r} needs a calibration set", hint="give --calibration with about 100 typical inputs"
        )


async def _quantize(
    model: Path, workdir: Path, name: str, rules: tuple[Any, ...] | None, calibration: Path | None, pipeline: Any
) -> Quantized:
    from windtunnel.plan import VariantSpec
    from windtunnel.quantizer.domain import Calibration
    from windtunnel.quantizer.quantize import quantize as run

    chosen = None if calibration is None else Calibration(calibration)
    with progress_bar("quantizing") as show:
        async with new_pool("windtunnel.quantizer.adapters.litert") as pool:
            spec = VariantSpec(name, rules)
            return await run(model, spec, workdir, pool, calibration=chosen, pipeline=pipeline, on_progress=show)


commands = [parse_log, bench, convert, quantize]
