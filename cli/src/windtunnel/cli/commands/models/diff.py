"""`windtunnel diff`: compares two models layer by layer and names the faulty layer and the cause."""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from windtunnel.cache_folders import cache_folder
from windtunnel.cli.commands.options import compared_accelerator_option, threshold_option
from windtunnel.cli.io.console import json_option, print_json, run_async, say
from windtunnel.cli.io.files import read_json, require_file, write_whole
from windtunnel.cli.io.output_guard import force_option, require_outputs
from windtunnel.cli.io.progress import progress_bar
from windtunnel.cli.local.child_pools import new_pool
from windtunnel.cli.local.conversion import as_tflite, model_source
from windtunnel.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from windtunnel.converter.domain.conversion import Converted
    from windtunnel.diagnosis import Comparison
    from windtunnel.diagnosis.execution.checkpoint import Checkpoint
    from windtunnel.isolation import ChildPool, Progress
    from windtunnel.tflite import Accelerator

_FILE: Final = click.Path(path_type=Path)


@dataclass(frozen=True, slots=True)
class _Given:
    """What is compared, and how. `models`: reference and candidate, as the user gave them."""

    models: tuple[Path, Path]
    samples: Path | None
    pipeline: Any
    threshold: float
    accelerator: Accelerator
    max_samples: int | None
    case: Path | None
    force: bool


@dataclass(frozen=True, slots=True)
class _Done:
    """A comparison, the .tflite files that were compared, and the conversions of those that were not .tflite."""

    comparison: Comparison
    models: tuple[Path, Path]
    converted: dict[str, Converted]


@click.command()
@click.argument("reference", type=_FILE)
@click.argument("candidate", type=_FILE)
@click.option("--samples", type=_FILE, help="Arrays x and optionally y (.npz), or a folder of images per class.")
@click.option("--pipeline", type=_FILE, help="Preprocessing from the samples to the models' input (JSON).")
@threshold_option
@compared_accelerator_option
@click.option("--max-samples", type=click.IntRange(1), help="Compare only the first N samples; default: all.")
@click.option("--html", type=_FILE, help="Write the diagnosis as a self-contained page to this file.")
@click.option(
    "--node-data",
    type=_FILE,
    help="Write nRMSE per node to this .json, which Model Explorer shows on CANDIDATE's graph. Isolated errors and "
    "causes go to NAME.own.json and NAME.cause.json next to it.",
)
@click.option("--case", type=_FILE, help="Write the smallest part of the model that shows the first cause (.zip).")
@force_option
@json_option
def diff(
    reference: Path,
    candidate: Path,
    samples: Path | None,
    pipeline: Path | None,
    threshold: float,
    accelerator: Accelerator,
    max_samples: int | None,
    html: Path | None,
    node_data: Path | None,
    case: Path | None,
    force: bool,
    as_json: bool,
) -> int:
    """Compares two models layer by layer over the same samples, and names the cause and place of a fault.

    Models are .tflite files. Other formats that `convert` reads (SavedModel, .keras, .h5, frozen graph, an archive of
    one) are converted to float32 first. An interrupted comparison continues if you run the same command again.
    Without --samples, seeded random inputs are used: they show errors of layers, but no accuracy.
    Exit code 0: healthy; 1: degraded or broken, or a converted model does not compute what the original computes; 2:
    the models could not be compared; 64: wrong usage.

    \b
    windtunnel diff float32.tflite int8.tflite --samples test.npz
    windtunnel diff model.keras int8.tflite --samples test.npz
    windtunnel diff a.tflite b.tflite --samples photos/ --pipeline pipeline.json --html diff.html
    windtunnel diff a.tflite b.tflite --samples test.npz --max-samples 50

    For scripts and bug reports:

    \b
    windtunnel diff a.tflite b.tflite --samples test.npz --json | jq .causes
    windtunnel diff a.tflite b.tflite --samples test.npz --case bug.zip

    Model Explorer shows the figures on the graph:

    \b
    windtunnel diff a.tflite b.tflite --samples test.npz --node-data nodes.json
    model-explorer b.tflite --node_data_paths nodes.json,nodes.own.json,nodes.cause.json
    """
    from windtunnel.cli.report.model_explorer import node_data_paths

    written = (html, case, *(() if node_data is None else node_data_paths(node_data)))
    require_outputs(written, inputs=(reference, candidate, samples, pipeline), force=force)
    steps = read_json(pipeline, "pipeline")
    source = None if samples is None else require_file(samples, "samples")
    if samples is None:
        if pipeline is not None:
            raise InvalidInput("a pipeline is given without samples", hint="give --samples, or leave it out")
        say("no samples given: seeded random inputs are used; they show errors of layers, but no accuracy")
    given = _Given((reference, candidate), source, steps, threshold, accelerator, max_samples, case, force)
    with tempfile.TemporaryDirectory(prefix="windtunnel-") as folder:
        done = run_async(_run(given, Path(folder)))
        document = done.comparison.to_json() | {"synthetic_samples": samples is None}
        if node_data is not None:
            _write_node_data(node_data, document, done.models[1], force=force)
    if done.converted:
        from windtunnel.cli.local.documents import check_document
        from windtunnel.datacheck.findings import distinct

        told = [one for conversion in done.converted.values() for one in conversion.check.findings]
        document["findings"] = [one.to_json() for one in distinct((*told, *done.comparison.findings))]
        document["converted"] = {side: {"check": check_document(one)} for side, one in done.converted.items()}
    if html is not None:
        from windtunnel.cli.report.html.diagnosis_page import diagnosis_html

        page = diagnosis_html(document, reference=reference.name, candidate=candidate.name)
        write_whole(html, page.encode(), force=force)
        say(f"wrote {html}")
    if as_json:
        print_json(document)
    else:
        from rich.console import Console

        from windtunnel.cli.report.text.diagnosis_text import render_diagnosis

        render_diagnosis(document, Console())
    sound = all(one.check.passed for one in done.converted.values())
    return 0 if sound and document["verdict"] == "healthy" else 1


def _write_node_data(path: Path, document: dict[str, Any], candidate: Path, *, force: bool) -> None:
    from windtunnel.cli.report.model_explorer import node_data_files
    from windtunnel.tflite import read_model

    for name, content in node_data_files(path, document, read_model(candidate)).items():
        write_whole(name, content, force=force)
        say(f"wrote {name}")


async def _run(given: _Given, folder: Path) -> _Done:
    """Converts models that are not .tflite below `folder`, then compares both."""
    sides = ("reference", "candidate")
    # Both files must exist before one is converted.
    sources = [
        model_source(model, folder / side / "checkpoint") for side, model in zip(sides, given.models, strict=True)
    ]
    models, converted = [], {}
    for side, source in zip(sides, sources, strict=True):
        model, conversion = await as_tflite("diff", source, folder / side, given.samples, given.pipeline)
        models.append(model)
        if conversion is not None:
            converted[side] = conversion
    pair = models[0], models[1]
    # The conversion of the reference has already checked the samples.
    look = given.samples is not None and "reference" not in converted
    return _Done(await _compare(given, pair, look=look), pair, converted)


async def _compare(given: _Given, models: tuple[Path, Path], *, look: bool) -> Comparison:
    samples, pipeline = given.samples, given.pipeline
    async with new_pool("windtunnel.diagnosis.comparison.compare_models", "ai_edge_litert.interpreter") as pool:
        options = {
            "threshold": given.threshold,
            "accelerator": given.accelerator,
            "max_samples": given.max_samples,
            "look": look,
        }
        checkpoint = _checkpoint((*models, samples), (pipeline, options))
        with progress_bar("comparing") as show:
            found = await _compare_in(pool, show, (*models, samples, pipeline), {**options, "checkpoint": checkpoint})
        if checkpoint is not None:
            checkpoint.discard()
        if given.case is not None:
            await _write_case(given.case, given, models, found, pool)
        return found


async def _compare_in(
    pool: ChildPool,
    show: Callable[[Progress], None] | None,
    given: tuple[Path, Path, Path | None, Any],
    options: dict[str, Any],
) -> Comparison:
    """Runs the comparison. If native code ends the child process, the error names the op."""
    from windtunnel.diagnosis.comparison.survive_crashes import compare_safely

    checkpoint = options["checkpoint"]
    if checkpoint is not None and (found := checkpoint.load()) is not None:
        say(f"continuing an interrupted comparison after {found[0]} samples")
    try:
        return await compare_safely(pool, given, on_progress=show, **options)
    except asyncio.CancelledError:
        if checkpoint is not None and checkpoint.path.exists():
            say("what was compared is kept: run the same command again to continue")
        raise


def _checkpoint(files: tuple[Path | None, ...], settings: Any) -> Checkpoint | None:
    """The checkpoint of an interrupted comparison of these files; None if the samples are a folder, without a hash."""
    from windtunnel.diagnosis.execution.checkpoint import Checkpoint

    present = [path for path in files if path is not None]
    if not all(path.is_file() for path in present):
        return None
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for path in present:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    cache = cache_folder("diff")
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return Checkpoint(cache / f"{digest.hexdigest()[:32]}.npz", digest.hexdigest())


async def _write_case(case: Path, given: _Given, models: tuple[Path, Path], found: Comparison, pool: ChildPool) -> None:
    from windtunnel.cli.local.failing_case import write_case

    options = {"samples": given.samples, "pipeline": given.pipeline, "force": given.force}
    try:
        await write_case(case, *models, found.causes, pool, **options)
    except NotFound as error:
        say(f"no case was written: {error.message}")
