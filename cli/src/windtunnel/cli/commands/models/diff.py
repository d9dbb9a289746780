"""`windtunnel diff`: compares two models layer by layer and names the faulty layer and the cause."""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from windtunnel.cache_folders import cache_folder
from windtunnel.cli.commands.options import compared_accelerator_option, threshold_option
from windtunnel.cli.io.console import json_option, print_json, run_async, say
from windtunnel.cli.io.files import read_pipeline, require_file, write_whole
from windtunnel.cli.io.output_guard import force_option, require_outputs
from windtunnel.cli.io.progress import progress_bar
from windtunnel.cli.local.child_pools import new_pool
from windtunnel.cli.local.conversion import as_tflite, model_source
from windtunnel.diagnosis.findings.divergence import NRMSE
from windtunnel.errors import InvalidInput, NotFound
from windtunnel.task_names import TASK_NAMES, TaskName, TaskSpec
from windtunnel.thresholds import DEFAULT_THRESHOLD

if TYPE_CHECKING:
    from windtunnel.cli.local.stored_runs import CommandFacts, GivenCriteria
    from windtunnel.converter.domain.conversion import Converted
    from windtunnel.diagnosis import Comparison
    from windtunnel.diagnosis.execution.checkpoint import Checkpoint
    from windtunnel.isolation import ChildPool, Progress
    from windtunnel.tflite import ModelFacts

_FILE: Final = click.Path(path_type=Path)
# What decides how models run: nothing to judge again.
_RUN_OPTIONS: Final = ("samples", "pipeline", "accelerator", "task", "max_samples", "case", "save")


@dataclass(frozen=True, slots=True)
class _Given:
    """What is compared, and how.

    `models`: reference and candidate, as the user gave them. `made`: where the run is written; None: it is not stored.
    """

    models: tuple[Path, Path]
    samples: Path | None
    pipeline: Any
    criteria: GivenCriteria
    accelerator: str
    task: TaskSpec | None
    max_samples: int | None
    case: Path | None
    force: bool
    made: Path | None = None


@dataclass(frozen=True, slots=True)
class _Done:
    """A comparison, the .tflite files that were compared, and the conversions of those that were not .tflite."""

    comparison: Comparison
    models: tuple[Path, Path]
    converted: dict[str, Converted]


@click.command()
@click.argument("reference", type=_FILE, required=False)
@click.argument("candidate", type=_FILE, required=False)
@click.option("--samples", type=_FILE, help="Arrays x and optionally y (.npz), or a folder of images per class.")
@click.option("--pipeline", type=_FILE, help="Preprocessing from the samples to the models' input (JSON).")
@threshold_option("The nRMSE, or value of --metric, beyond which a layer diverges.")
@click.option(
    "--metric",
    help="The metric that the threshold limits: nrmse (default), snr_db, cosine, bias, max_abs, rmse.",
)
@click.option(
    "--without-rule",
    "left_out",
    multiple=True,
    help="Judge without this rule (docs/thresholds.md lists them); repeat it for several.",
)
@compared_accelerator_option
@click.option(
    "--task",
    type=click.Choice(TASK_NAMES),
    help="What the models are for: figures are those of this task. Default: the samples' arrays say.",
)
@click.option("--max-samples", type=click.IntRange(1), help="Compare only the first N samples; default: all.")
@click.option("--html", type=_FILE, help="Write the diagnosis as a self-contained page to this file.")
@click.option(
    "--node-data",
    type=_FILE,
    help="Write nRMSE per node to this .json, which Model Explorer shows on CANDIDATE's graph. Isolated errors and "
    "causes go to NAME.own.json and NAME.cause.json next to it.",
)
@click.option("--case", type=_FILE, help="Write the smallest part of the model that shows the first cause (.zip).")
@click.option("--save", type=_FILE, help="Store what was run in this file (.wtr), to judge it again with --from.")
@click.option("--from", "stored", type=_FILE, help="Judge the run in this file (.wtr) again; no model runs.")
@force_option
@json_option
@click.pass_context
def diff(
    context: click.Context,
    reference: Path | None,
    candidate: Path | None,
    samples: Path | None,
    pipeline: Path | None,
    threshold: float,
    metric: str | None,
    left_out: tuple[str, ...],
    accelerator: str,
    task: TaskName | None,
    max_samples: int | None,
    html: Path | None,
    node_data: Path | None,
    case: Path | None,
    save: Path | None,
    stored: Path | None,
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

    Samples with boxes, masks, targets or keypoints name the task; for embeddings, give it:

    \b
    windtunnel diff a.tflite b.tflite --samples faces.npz --task embedding

    For scripts and bug reports:

    \b
    windtunnel diff a.tflite b.tflite --samples test.npz --json | jq .causes
    windtunnel diff a.tflite b.tflite --samples test.npz --case bug.zip

    Run once, judge again with another threshold, metric, or set of rules:

    \b
    windtunnel diff a.tflite b.tflite --samples test.npz --save run.wtr
    windtunnel diff --from run.wtr --threshold 0.05
    windtunnel diff --from run.wtr --metric cosine --threshold 0.99
    windtunnel diff --from run.wtr --without-rule range_harmless

    Model Explorer shows the figures on the graph:

    \b
    windtunnel diff a.tflite b.tflite --samples test.npz --node-data nodes.json
    model-explorer b.tflite --node_data_paths nodes.json,nodes.own.json,nodes.cause.json
    """
    from windtunnel.cli.local.stored_runs import GivenCriteria, diagnosis_document, store_run
    from windtunnel.cli.report.model_explorer import node_data_paths
    from windtunnel.tflite import read_model

    outputs = _Outputs(html, node_data, force, as_json)
    written = (html, case, save, *(() if node_data is None else node_data_paths(node_data)))
    require_outputs(written, inputs=(reference, candidate, samples, pipeline, stored), force=force)
    default = context.get_parameter_source("threshold") is ParameterSource.DEFAULT
    judging = GivenCriteria(None if default else threshold, metric, left_out or None)
    if stored is not None:
        return _judge_again(context, stored, reference, candidate, judging, outputs)
    if reference is None or candidate is None:
        raise click.UsageError(f"Missing argument '{'REFERENCE' if reference is None else 'CANDIDATE'}'.", context)
    judging.require_possible()
    source, steps = _samples(samples, pipeline)
    with tempfile.TemporaryDirectory(prefix="windtunnel-") as folder:
        made = None if save is None else Path(folder, "run.wtr")
        spec = None if task is None else TaskSpec(task)
        options = judging, accelerator, spec, max_samples, case, force, made
        done = run_async(_run(_Given((reference, candidate), source, steps, *options), Path(folder)))
        command = _command_facts((reference, candidate), done.converted)
        document = diagnosis_document(done.comparison, samples is None, command)
        if save is not None and made is not None:
            store_run(made, save, command, force=force)
        return _show(document, command, read_model(done.models[1]), outputs)


def _samples(samples: Path | None, pipeline: Path | None) -> tuple[Path | None, Any]:
    """The samples and the content of the pipeline.

    Raises:
        InvalidInput: a pipeline is given without samples, or cannot be read.
    """
    steps = read_pipeline(pipeline)
    if samples is not None:
        return require_file(samples, "samples"), steps
    if pipeline is not None:
        raise InvalidInput("a pipeline is given without samples", hint="give --samples, or leave it out")
    say("no samples given: seeded random inputs are used; they show errors of layers, but no accuracy")
    return None, steps


@dataclass(frozen=True, slots=True)
class _Outputs:
    """Where a diagnosis goes."""

    html: Path | None
    node_data: Path | None
    force: bool
    as_json: bool


def _judge_again(
    context: click.Context,
    stored: Path,
    reference: Path | None,
    candidate: Path | None,
    judging: GivenCriteria,
    outputs: _Outputs,
) -> int:
    """Judges a stored run by what is given, and by what it was judged when it ran for the rest.

    Raises:
        UsageError: an option is given that is only for running models, or only one of the two models.
    """
    from windtunnel.cli.local.stored_runs import judge_stored

    given = [name for name in _RUN_OPTIONS if context.get_parameter_source(name) is not ParameterSource.DEFAULT]
    if given:
        flag = f"--{given[0].replace('_', '-')}"
        why = f"{flag} runs models, and --from runs none: leave out {flag}, or give both models without --from."
        raise click.UsageError(why, context)
    if (reference is None) != (candidate is None):
        raise click.UsageError("With --from, give both REFERENCE and CANDIDATE, or neither.", context)
    models = None if reference is None or candidate is None else (reference, candidate)
    judged = judge_stored(stored, models, judging)
    return _show(judged.document, judged.command, judged.candidate, outputs)


def _command_facts(models: tuple[Path, Path], converted: dict[str, Converted]) -> CommandFacts:
    from windtunnel.cli.local.documents import check_document
    from windtunnel.cli.local.stored_runs import CommandFacts

    names = models[0].name, models[1].name
    if not converted:
        return CommandFacts(*names)
    return CommandFacts(
        *names,
        tuple(one for conversion in converted.values() for one in conversion.check.findings),
        {side: {"check": check_document(one)} for side, one in converted.items()},
        all(one.check.passed for one in converted.values()),
    )


def _show(document: dict[str, Any], command: CommandFacts, candidate: ModelFacts, outputs: _Outputs) -> int:
    """Writes a diagnosis to the files that the user asked for, then to the terminal; the exit code."""
    if outputs.node_data is not None:
        _write_node_data(outputs.node_data, document, candidate, force=outputs.force)
    if outputs.html is not None:
        from windtunnel.cli.report.html.diagnosis_page import diagnosis_html

        page = diagnosis_html(document, reference=command.reference, candidate=command.candidate)
        write_whole(outputs.html, page.encode(), force=outputs.force)
        say(f"wrote {outputs.html}")
    if outputs.as_json:
        print_json(document)
    else:
        from rich.console import Console

        from windtunnel.cli.report.text.diagnosis_text import render_diagnosis

        render_diagnosis(document, Console())
    return 0 if command.sound and document["verdict"] == "healthy" else 1


def _write_node_data(path: Path, document: dict[str, Any], candidate: ModelFacts, *, force: bool) -> None:
    from windtunnel.cli.report.model_explorer import node_data_files

    for name, content in node_data_files(path, document, candidate).items():
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
        model, conversion = await as_tflite("diff", source, folder / side, given.samples, given.pipeline, given.task)
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
            "threshold": given.criteria.threshold or DEFAULT_THRESHOLD,
            "metric": given.criteria.metric or NRMSE,
            "left_out": given.criteria.left_out or (),
            "accelerator": given.accelerator,
            "max_samples": given.max_samples,
            "look": look,
            "task": given.task,
        }
        checkpoint = _checkpoint((*models, samples, *_files_of(pipeline)), (pipeline, options))
        with progress_bar("comparing") as show:
            found = await _compare_in(
                pool, show, (*models, samples, pipeline), {**options, "checkpoint": checkpoint, "save": given.made}
            )
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
    """Runs the comparison. If native code ends the child process, the error names the op.

    Raises:
        CancelledError: a signal stopped the comparison.
    """
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


def _files_of(pipeline: Any) -> list[Path]:
    """The files that a pipeline names: another content is another comparison."""
    from windtunnel.pipeline.pipeline_files import named_files

    return [Path(named) for _, named in named_files(pipeline)] if isinstance(pipeline, Mapping) else []


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
