"""Commands that need no server: `parse-log`, `diff`, `bench`, `convert` and `quantize`.

What they need beside click is imported when they run: the others answer at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from windtunnel.cli.context import json_option, print_json, run_async, say
from windtunnel.cli.model_explorer import node_data_paths
from windtunnel.cli.outputs import force_option, progress_bar, read_json, require_file, require_free, write_whole
from windtunnel.errors import InvalidInput, JobFailed, NotFound, Unsupported
from windtunnel.formats import FORMATS, Format
from windtunnel.thresholds import DEFAULT_THRESHOLD

if TYPE_CHECKING:
    from collections.abc import Callable

    from windtunnel.converter.domain import Converted
    from windtunnel.isolation import ChildPool, Progress
    from windtunnel.layer_diff import Comparison
    from windtunnel.layer_diff.checkpoint import Checkpoint
    from windtunnel.quantizer.domain import Quantized
    from windtunnel.tflite import Accelerator

_FILE: Final = click.Path(path_type=Path)
_TIMEOUT_S: Final = 6 * 3600.0
_MAX_LOG_BYTES: Final = 512 * 1024**2


def _memory_mb() -> int:
    """A child may use nine tenths of this machine's memory: the machine must survive it."""
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 0.9 / 1e6)


def _pool(*preload: str, env: dict[str, str] | None = None) -> ChildPool:
    from windtunnel.isolation import ChildPool

    return ChildPool(preload=preload, size=1, timeout_s=_TIMEOUT_S, memory_mb=_memory_mb(), env=env or {})


@click.command("parse-log")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@json_option
def parse_log(file: Path, as_json: bool) -> int:
    """Reads a log of the TFLite or LiteRT benchmark tool. FILE "-" is standard input.

    \b
    windtunnel parse-log benchmark.txt
    adb logcat -d | windtunnel parse-log - --json
    """
    from windtunnel.log_parser import parse_log as parse

    document = parse(_log_of(file)).to_json()
    if as_json:
        print_json(document)
    else:
        from rich.console import Console

        from windtunnel.cli.report_text import render_log

        render_log(document, Console())
    return 0


def _log_of(file: Path) -> bytes:
    if str(file) == "-":
        content = sys.stdin.buffer.read(_MAX_LOG_BYTES + 1)
    else:
        path = require_file(file, "log")
        try:
            with path.open("rb") as source:
                content = source.read(_MAX_LOG_BYTES + 1)
        except OSError as error:
            raise InvalidInput(f"{file} cannot be read: {error}") from error
    if len(content) > _MAX_LOG_BYTES:
        raise InvalidInput(f"{file} is larger than {_MAX_LOG_BYTES} bytes", hint="is it a benchmark log?")
    return content


@click.command()
@click.argument("reference", type=_FILE)
@click.argument("candidate", type=_FILE)
@click.option("--samples", type=_FILE, help="Arrays x and optionally y (.npz), or a folder of images per class.")
@click.option("--pipeline", type=_FILE, help="Preprocessing from the samples to the models' input (JSON).")
@click.option(
    "--threshold",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT_THRESHOLD,
    show_default=True,
    help="nRMSE above which a layer is over.",
)
@click.option(
    "--accelerator",
    type=click.Choice(["xnnpack", "none", "reference"]),
    default="xnnpack",
    show_default=True,
    help="Kernels of both models: XNNPACK's, the runtime's own, or the plain reference ones.",
)
@click.option("--html", type=_FILE, help="Write the diagnosis as a self-contained page to this file.")
@click.option(
    "--node-data",
    type=_FILE,
    help="Write nRMSE per node to this .json, which Model Explorer shows on CANDIDATE's graph; own errors and causes "
    "go to NAME.own.json and NAME.cause.json beside it.",
)
@click.option("--case", type=_FILE, help="Write the smallest submodel that shows the first cause to this .zip.")
@force_option
@json_option
def diff(
    reference: Path,
    candidate: Path,
    samples: Path | None,
    pipeline: Path | None,
    threshold: float,
    accelerator: Accelerator,
    html: Path | None,
    node_data: Path | None,
    case: Path | None,
    force: bool,
    as_json: bool,
) -> int:
    """Compares two .tflite models layer by layer over the same samples, and names cause and place of a fault.

    An interrupted comparison goes on where it stopped when it is started again with the same files and options.
    Without --samples seeded random inputs are taken: they show drift, but no accuracy.
    Exit code 0: healthy; 1: degraded or broken; 2: the models could not be compared.

    \b
    windtunnel diff float32.tflite int8.tflite --samples test.npz
    windtunnel diff a.tflite b.tflite --samples photos/ --pipeline pipeline.json --html diff.html
    windtunnel diff a.tflite b.tflite --samples test.npz --json | jq .causes
    windtunnel diff a.tflite b.tflite --samples test.npz --case bug.zip      to attach to a bug report
    windtunnel diff a.tflite b.tflite --samples test.npz --node-data nodes.json
    model-explorer b.tflite --node_data_paths nodes.json,nodes.own.json,nodes.cause.json
    """
    require_free(html, force=force)
    for name in () if node_data is None else node_data_paths(node_data):
        require_free(name, force=force)
    require_free(case, force=force)
    models = require_file(reference, "model"), require_file(candidate, "model")
    steps = read_json(pipeline, "pipeline")
    given = None if samples is None else require_file(samples, "samples")
    found = run_async(_compare(*models, given, steps, threshold, accelerator, case))
    document = found.to_json() | {"synthetic_samples": samples is None}
    if html is not None:
        from windtunnel.cli.report_html import diagnosis_html

        page = diagnosis_html(document, reference=reference.name, candidate=candidate.name)
        write_whole(html, page.encode())
        say(f"wrote {html}")
    if node_data is not None:
        _write_node_data(node_data, document, models[1])
    if as_json:
        print_json(document)
    else:
        from rich.console import Console

        from windtunnel.cli.diagnosis_text import render_diagnosis

        render_diagnosis(document, Console())
    return 0 if document["verdict"] == "healthy" else 1


def _write_node_data(path: Path, document: dict[str, Any], candidate: Path) -> None:
    from windtunnel.cli.model_explorer import node_data_files
    from windtunnel.tflite import read_model

    for name, content in node_data_files(path, document, read_model(candidate)).items():
        write_whole(name, content)
        say(f"wrote {name}")


async def _compare(
    reference: Path,
    candidate: Path,
    samples: Path | None,
    pipeline: Any,
    threshold: float,
    accelerator: Accelerator,
    case: Path | None,
) -> Comparison:

    if samples is None:
        if pipeline is not None:
            raise InvalidInput("a pipeline is given without samples", hint="give --samples, or leave it out")
        say("no samples given: seeded random inputs stand in; they show drift, but no accuracy")
    async with _pool("windtunnel.layer_diff.compare", "ai_edge_litert.interpreter") as pool:
        checkpoint = _checkpoint((reference, candidate, samples), (pipeline, threshold, accelerator))
        with progress_bar("comparing") as show:
            options = {"threshold": threshold, "accelerator": accelerator, "checkpoint": checkpoint}
            found = await _compare_in(pool, show, (reference, candidate, samples, pipeline), options)
        if checkpoint is not None:
            checkpoint.discard()
        if case is not None:
            await _write_case(case, reference, candidate, found, pool, samples, pipeline)
        return found


async def _compare_in(
    pool: ChildPool,
    show: Callable[[Progress], None] | None,
    given: tuple[Path, Path, Path | None, Any],
    options: dict[str, Any],
) -> Comparison:
    """Runs the comparison; where native code ends the child, the error names the op."""
    from windtunnel.layer_diff import compare_models
    from windtunnel.layer_diff.crash import explain_crash

    checkpoint = options["checkpoint"]
    if checkpoint is not None and (found := checkpoint.load()) is not None:
        say(f"going on with an interrupted comparison, after {found[0]} samples")
    try:
        return await pool.run(compare_models, *given, on_progress=show, **options)
    except asyncio.CancelledError:
        if checkpoint is not None and checkpoint.path.exists():
            say("what was compared is kept: the same command goes on from there")
        raise
    except JobFailed as error:
        if error.how != "signal":
            raise
        raise await explain_crash(pool, given, options["accelerator"], error) from error


def _checkpoint(files: tuple[Path | None, ...], settings: Any) -> Checkpoint | None:
    """Where an interrupted comparison of these files goes on; None for samples in a folder, which have no one hash."""
    from windtunnel.layer_diff.checkpoint import Checkpoint

    present = [path for path in files if path is not None]
    if not all(path.is_file() for path in present):
        return None
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for path in present:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "windtunnel" / "diff"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return Checkpoint(cache / f"{digest.hexdigest()[:32]}.npz", digest.hexdigest())


async def _write_case(
    case: Path,
    reference: Path,
    candidate: Path,
    found: Comparison,
    pool: ChildPool,
    samples: Path | None,
    pipeline: Any,
) -> None:
    from windtunnel.cli.case import write_case

    try:
        await write_case(case, reference, candidate, found.causes, pool, samples=samples, pipeline=pipeline)
    except NotFound as error:
        say(f"no case written: {error.message}")


@click.command()
@click.argument("model", type=_FILE)
@click.option(
    "--accelerator",
    type=click.Choice(["xnnpack", "cpu"]),
    default="xnnpack",
    show_default=True,
    help="cpu: no delegate.",
)
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--log", type=_FILE, help="Save the benchmark log to this file.")
@force_option
@json_option
def bench(model: Path, accelerator: str, threads: int, log: Path | None, force: bool, as_json: bool) -> int:
    """Measures latency, start-up time and memory of a .tflite model on this machine.

    \b
    windtunnel bench model.tflite
    windtunnel bench model.tflite --accelerator cpu --threads 4 --json | jq .latency_ms.p95
    """
    from windtunnel.cli.measured import bench_document, render_bench

    require_free(log, force=force)
    path = require_file(model, "model")
    run = run_async(_measure(path, accelerator, threads))
    if log is not None:
        write_whole(log, run.log.encode())
        say(f"wrote {log}")
    document = bench_document(run, model.name, accelerator, threads)
    if as_json:
        print_json(document)
    else:
        from rich.console import Console

        render_bench(document, Console())
    return 0


async def _measure(model: Path, accelerator: str, threads: int) -> Any:
    from windtunnel.farm_dispatcher.bench import bench as measure
    from windtunnel.farm_dispatcher.bench import new_pool
    from windtunnel.farm_dispatcher.settings import FarmDispatcherSettings
    from windtunnel.settings import load

    lock = load(FarmDispatcherSettings).local_lock
    async with new_pool(_TIMEOUT_S, _memory_mb()) as pool:
        return await measure(model, accelerator, threads, pool, lock=lock)


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
    _require_installed("convert", "windtunnel.converter", "tensorflow")
    from windtunnel.cli.measured import conversion_document, conversion_words

    out = out or Path(f"{model.name if model.is_dir() else model.stem}.tflite")
    require_free(out, force=force)
    steps = read_json(pipeline, "pipeline")
    sample_path = None if samples is None else require_file(samples, "samples")
    options = {"samples": sample_path, "pipeline": steps, "inputs": inputs, "outputs": outputs}
    with tempfile.TemporaryDirectory(prefix="windtunnel-") as folder:
        source = _model_source(model, Path(folder, "checkpoint"))
        done = run_async(_convert(source, Path(folder), declared, {**options, "allow_code": allow_code}))
        write_whole(out, done.model.read_bytes())
    document = conversion_document(done, out)
    say(f"wrote {out}")
    if as_json:
        print_json(document)
    else:
        click.echo(conversion_words(document))
    return 0 if done.check.passed else 1


def _model_source(model: Path, folder: Path) -> Path:
    """The model's path; the files of a checkpoint, which is named by its prefix, are copied to `folder`."""
    from windtunnel.client.uploads import checkpoint_folder

    return checkpoint_folder(model, folder) or require_file(model, "model")


async def _convert(model: Path, workdir: Path, declared: str | None, options: dict[str, Any]) -> Converted:
    from windtunnel.converter.convert import convert as run

    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "TF_ENABLE_ONEDNN_OPTS": "0"}
    with progress_bar("converting") as show:
        async with _pool("windtunnel.converter.check", env=quiet) as pool:
            kind = None if declared is None else Format(declared)
            return await run(model, workdir, pool, declared=kind, on_progress=show, **options)


@click.command()
@click.argument("model", type=_FILE)
@click.option("--variant", help="float16, dynamic_range, int8 or int16x8; with --recipe: a name of your own.")
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
    _require_installed("quantize", "windtunnel.quantizer", "litert_quantizer")
    from windtunnel.cli.measured import quantized_document

    name = _variant_name(variant, recipe)
    out = out or Path(f"{model.stem}.{name}.tflite")
    require_free(out, force=force)
    source = require_file(model, "model")
    inputs = None if calibration is None else require_file(calibration, "calibration set")
    rules, steps = _rules(recipe), read_json(pipeline, "pipeline")
    _require_calibration(name, rules, inputs)
    with tempfile.TemporaryDirectory(prefix="windtunnel-") as folder:
        done = run_async(_quantize(source, Path(folder), name, rules, inputs, steps))
        write_whole(out, done.model.read_bytes())
    say(f"wrote {out}")
    document = quantized_document(done, name, out)
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
        async with _pool("windtunnel.quantizer.adapters.litert") as pool:
            spec = VariantSpec(name, rules)
            return await run(model, spec, workdir, pool, calibration=chosen, pipeline=pipeline, on_progress=show)


def _require_installed(command: str, *modules: str) -> None:
    """Raises Unsupported where the command's optional part is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise Unsupported(
            f"`windtunnel {command}` needs {', '.join(missing)}, which is not installed",
            hint="pip install 'windtunnel-cli[up]'",
        )


commands = [parse_log, diff, bench, convert, quantize]
