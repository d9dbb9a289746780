"""`windtunnel layers`: keep what a model's layers held over samples, and compare two such logs."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from windtunnel.cli.commands.options import kernels_option, threshold_option
from windtunnel.cli.io.console import json_option, print_json, run_async, say
from windtunnel.cli.io.files import read_json, require_file
from windtunnel.cli.io.output_guard import force_option, require_free, require_outputs
from windtunnel.cli.io.progress import progress_bar
from windtunnel.cli.local.child_pools import new_pool
from windtunnel.errors import Conflict, InvalidInput
from windtunnel.output_files import locked_part, output_target, put_in_place

if TYPE_CHECKING:
    from windtunnel.diagnosis.layer_log.jobs import LogComparison, WrittenLog
    from windtunnel.tflite import Accelerator

_FILE: Final = click.Path(path_type=Path)
_PRELOAD: Final = ("windtunnel.diagnosis.layer_log.jobs", "ai_edge_litert.interpreter")


@click.group("layers")
def layers() -> None:
    """Keeps what a model's layers held, frame by frame, and compares two such logs.

    A device, a build or a runtime that cannot be at hand at the same time leaves a log, and the logs are compared.

    \b
    windtunnel layers log model.tflite --samples test.npz --out here.log
    windtunnel layers diff there.log here.log
    """


@layers.command("log")
@click.argument("model", type=_FILE)
@click.option("--samples", type=_FILE, required=True, help="Arrays x (.npz), or a folder of images per class.")
@click.option("--pipeline", type=_FILE, help="Preprocessing from the samples to the model's input (JSON).")
@click.option("-o", "--out", type=_FILE, required=True, help="The log to write.")
@click.option("--statistics", is_flag=True, help="56 bytes per layer and frame instead of every value.")
@kernels_option
@click.option("--max-samples", type=click.IntRange(1), help="Log only the first so many samples; default: all.")
@force_option
@json_option
def log(
    model: Path,
    samples: Path,
    pipeline: Path | None,
    out: Path,
    statistics: bool,
    accelerator: Accelerator,
    max_samples: int | None,
    force: bool,
    as_json: bool,
) -> int:
    """Runs a .tflite model over samples and writes every layer of each to a log.

    The log gives every value back, bit for bit; reading it takes the model (FILE.tflite beside it, or --models of
    `layers diff`). With --statistics it needs no model, and figures from it are estimates. An interrupted log keeps
    its whole frames in OUT.ID.part, and the same command goes on there.

    "Times smaller than text" holds the file against the same values written as text: of the first frame every real
    value as "%.9g", as numpy.savetxt writes it, and a space; of a layer of more than 10,000 values so many are written,
    and the rest is taken to be as long.

    \b
    windtunnel layers log model.tflite --samples test.npz --out model.log
    windtunnel layers log model.tflite --samples photos/ --pipeline pipeline.json --out model.log --max-samples 50
    windtunnel layers log model.tflite --samples test.npz --out model.log --statistics --accelerator none
    """
    require_outputs((out,), inputs=(model, samples, pipeline), force=force)
    path, source = require_file(model, "model"), require_file(samples, "samples")
    steps = read_json(pipeline, "pipeline")
    part = _part(output_target(out), path, source, [steps, statistics, accelerator])
    with _alone(part):
        # Another run may have written it while this one looked.
        require_free(out, force=force)
        written = run_async(_log(path, part, source, steps, statistics, accelerator, max_samples))
        try:
            put_in_place(part, out, force=force)
        except OSError as error:
            raise InvalidInput(f"{out} cannot be written: {error}", hint=f"the log is {part}") from error
    say(f"wrote {out}")
    from windtunnel.cli.report.text.layer_log_text import log_document, log_words

    document = log_document(written, model.name, out)
    if as_json:
        print_json(document)
    else:
        click.echo(log_words(document))
    return 0


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Holds the frames of a log for this run alone. Raises Conflict while another run writes them."""
    require_free(part, force=True)
    hint = "wait until it is done, or give another --out"
    with locked_part(part, Conflict(f"another run is writing {part.name} right now", hint=hint)):
        try:
            yield
        finally:
            with suppress(FileNotFoundError):
                if not part.stat().st_size:
                    part.unlink()


def _part(out: Path, model: Path, samples: Path, settings: Any) -> Path:
    """Where frames are kept until the log is whole: the same for the same command, else another file."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in (model, samples):
        for file in [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file()):
            if path.is_file():
                with file.open("rb") as content:
                    digest.update(hashlib.file_digest(content, "sha256").digest())
            else:
                # A folder of photos may be large.
                facts = file.stat()
                digest.update(f"{file.relative_to(path)}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return out.with_name(f"{out.name}.{digest.hexdigest()[:8]}.part")


async def _log(
    model: Path,
    part: Path,
    samples: Path,
    pipeline: Any,
    statistics: bool,
    accelerator: Accelerator,
    max_samples: int | None,
) -> WrittenLog:
    from windtunnel.diagnosis.layer_log.jobs import write_layer_log

    if part.stat().st_size:
        say(f"going on with {part.name}")
    try:
        with progress_bar("logging") as show:
            async with new_pool(*_PRELOAD) as pool:
                return await pool.run(
                    write_layer_log,
                    model,
                    part,
                    samples,
                    pipeline,
                    mode="statistics" if statistics else "lossless",
                    accelerator=accelerator,
                    max_samples=max_samples,
                    append=True,
                    on_progress=show,
                )
    except asyncio.CancelledError:
        if part.exists() and part.stat().st_size:
            say(f"what was logged is kept in {part.name}: the same command goes on from there")
        raise


@layers.command("diff")
@click.argument("first", type=_FILE)
@click.argument("second", type=_FILE)
@click.option(
    "--models",
    type=_FILE,
    nargs=2,
    metavar="A.tflite B.tflite",
    help="The models of both logs: layers are then paired by what they compute, not by name.",
)
@threshold_option
@json_option
def diff(first: Path, second: Path, models: tuple[Path, Path] | None, threshold: float, as_json: bool) -> int:
    """Compares two logs of the same samples, layer by layer.

    Two logs of all values give exact figures. Where one holds statistics they are estimates, and the table says how
    far off: one standard deviation, as a share of the figure.
    Exit code 0: no layer is over the threshold; 1: one is, or has no figure (NaN, another shape); 2: the logs could
    not be compared, or layers of them could not be read; 64: wrong usage.

    \b
    windtunnel layers diff phone.log desk.log
    windtunnel layers diff float.log int8.log --models float32.tflite int8.tflite
    windtunnel layers diff float.log int8.log --models float32.tflite int8.tflite --json | jq .layers
    """
    logs = require_file(first, "layer log"), require_file(second, "layer log")
    given = None if models is None else (require_file(models[0], "model"), require_file(models[1], "model"))
    found = run_async(_compare(logs, given))
    from windtunnel.cli.report.text.layer_log_text import diff_document, exit_code, render_diff

    document = diff_document(found, (first.name, second.name), threshold)
    for text in document["notes"]:
        say(text)
    if as_json:
        print_json(document)
    else:
        from rich.console import Console

        render_diff(document, Console())
    return exit_code(document)


async def _compare(logs: tuple[Path, Path], models: tuple[Path, Path] | None) -> LogComparison:
    from windtunnel.diagnosis.layer_log.jobs import compare_layer_logs

    async with new_pool(*_PRELOAD) as pool:
        return await pool.run(compare_layer_logs, *logs, models)
