"""`windtunnel layers`: logs the values of a model's layers, and compares two such logs."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from windtunnel.cli.commands.options import compared_accelerator_option, threshold_option
from windtunnel.cli.io.console import json_option, print_json, run_async, say
from windtunnel.cli.io.files import read_pipeline, require_file
from windtunnel.cli.io.output_guard import force_option, require_free, require_outputs
from windtunnel.cli.io.progress import progress_bar
from windtunnel.cli.local.child_pools import new_pool
from windtunnel.errors import Conflict, InvalidInput
from windtunnel.output_files import locked_part, output_target, put_in_place

if TYPE_CHECKING:
    from windtunnel.diagnosis.layer_log.jobs import LogComparison, WrittenLog

_FILE: Final = click.Path(path_type=Path)
_PRELOAD: Final = ("windtunnel.diagnosis.layer_log.jobs", "ai_edge_litert.interpreter")


@click.group("layers")
def layers() -> None:
    """Logs the values of a model's layers, sample by sample, and compares two such logs.

    Use it if two devices, builds or runtimes are not available on the same machine at the same time.

    \b
    windtunnel layers log model.tflite --samples test.npz --out here.log
    windtunnel layers diff there.log here.log
    """


@layers.command("log")
@click.argument("model", type=_FILE)
@click.option("--samples", type=_FILE, required=True, help="Arrays x (.npz), or a folder of images per class.")
@click.option("--pipeline", type=_FILE, help="Preprocessing from the samples to the model's input (JSON).")
@click.option("-o", "--out", type=_FILE, required=True, help="The log to write.")
@click.option("--statistics", is_flag=True, help="Write 56 bytes per layer and sample instead of every value.")
@compared_accelerator_option
@click.option("--max-samples", type=click.IntRange(1), help="Log only the first N samples; default: all.")
@force_option
@json_option
def log(
    model: Path,
    samples: Path,
    pipeline: Path | None,
    out: Path,
    statistics: bool,
    accelerator: str,
    max_samples: int | None,
    force: bool,
    as_json: bool,
) -> int:
    """Runs a .tflite model over samples and writes the values of every layer to a log.

    The log keeps every value exactly. Reading it needs the model: the same file next to the log, or --models of
    `layers diff`. A log with --statistics needs no model, and figures from it are estimates. An interrupted log keeps
    its complete frames in OUT.ID.part; run the same command again to continue.

    "Times smaller than text" compares the file with the same values as text. Each real value of the first frame is
    written as "%.9g" and a space, as numpy.savetxt does. Of a layer with more than 10,000 values only that many are
    written; the rest is assumed to be as long.

    \b
    windtunnel layers log model.tflite --samples test.npz --out model.log
    windtunnel layers log model.tflite --samples photos/ --pipeline pipeline.json --out model.log --max-samples 50
    windtunnel layers log model.tflite --samples test.npz --out model.log --statistics --accelerator builtin
    """
    require_outputs((out,), inputs=(model, samples, pipeline), force=force)
    path, source = require_file(model, "model"), require_file(samples, "samples")
    steps = read_pipeline(pipeline)
    part = _part(output_target(out), path, source, [steps, statistics, accelerator])
    with _alone(part):
        # Another run may have written it in the meantime.
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
    """Locks the frames of a log for this run. Raises Conflict while another run writes them."""
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
    """Where frames are kept until the log is complete: one file for each command line."""
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
    accelerator: str,
    max_samples: int | None,
) -> WrittenLog:
    from windtunnel.diagnosis.layer_log.jobs import write_layer_log

    if part.stat().st_size:
        say(f"continuing with {part.name}")
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
            say(f"what was logged is kept in {part.name}: run the same command again to continue")
        raise


@layers.command("diff")
@click.argument("first", type=_FILE)
@click.argument("second", type=_FILE)
@click.option(
    "--models",
    type=_FILE,
    nargs=2,
    metavar="A.tflite B.tflite",
    help="The models of both logs. Layers are then paired by what they compute, not by name.",
)
@threshold_option()
@json_option
def diff(first: Path, second: Path, models: tuple[Path, Path] | None, threshold: float, as_json: bool) -> int:
    """Compares two logs of the same samples, layer by layer.

    Two logs of all values give exact figures. If one has only statistics, the figures are estimates. The table then
    shows one standard deviation of each, as a share of the figure.
    Exit code 0: no layer diverges; 1: a layer diverges, or has no figure (NaN, another shape); 2: the logs could not
    be compared, or layers of them could not be read; 64: wrong usage.

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
