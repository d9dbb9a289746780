"""`windtunnel remedy`: searches a quantization recipe that fixes a variant's loss of accuracy, and proves it."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from windtunnel.cli.commands.options import Finite
from windtunnel.cli.io.console import json_option, print_json, run_async, say
from windtunnel.cli.io.files import read_json, require_file, write_whole
from windtunnel.cli.io.output_guard import force_option, require_outputs
from windtunnel.cli.io.progress import progress_bar
from windtunnel.cli.local.child_pools import new_pool, require_installed
from windtunnel.errors import InvalidInput, UserError

if TYPE_CHECKING:
    from windtunnel.diagnosis.remedy import Remedy, Trial
    from windtunnel.plan import Gates

_FILE: Final = click.Path(path_type=Path)
_GATES: Final[Mapping[str, str]] = {
    "accuracy_drop": "accuracy_drop",
    "latency_ms.p50": "latency_ms_p50",
    "latency_ms.p95": "latency_ms_p95",
    "size_mb": "size_mb",
}
_DEFAULT_DROP: Final = 0.01
# The comparison only ranks layers: more samples would not change their order much.
_RANKED_ON: Final = 50


@click.command()
@click.argument("reference", type=_FILE)
@click.argument("variant", type=_FILE)
@click.option("--samples", type=_FILE, required=True, help="Arrays x and y (.npz), or a folder of images per class.")
@click.option("--pipeline", type=_FILE, help="Preprocessing from the samples to the models' input (JSON).")
@click.option(
    "--gate",
    "gates",
    multiple=True,
    metavar="NAME=LIMIT",
    help=f"upper limits on {', '.join(_GATES)}; default: accuracy_drop={_DEFAULT_DROP}.",
)
@click.option("--budget", type=Finite(min=1.0), default=900.0, show_default=True, help="Time to search, in seconds.")
@click.option(
    "--for-this-machine",
    is_flag=True,
    help="The model will run on this machine: prefer a smaller and clearly faster model.",
)
@click.option("-o", "--out", type=_FILE, help="Write the fixed model to this .tflite.")
@click.option("--recipe-out", type=_FILE, help="Write the recipe to this file (JSON).")
@click.option(
    "--calibration-out", type=_FILE, help="Write its calibration set here (.npz); default: next to the recipe."
)
@force_option
@json_option
def remedy(
    reference: Path,
    variant: Path,
    samples: Path,
    pipeline: Path | None,
    gates: tuple[str, ...],
    budget: float,
    for_this_machine: bool,
    out: Path | None,
    recipe_out: Path | None,
    calibration_out: Path | None,
    force: bool,
    as_json: bool,
) -> int:
    """Searches a way to quantize REFERENCE, the float model, without VARIANT's loss of accuracy.

    It builds and runs recipes: other calibration, scales per channel, other algorithms, the smallest set of layers
    kept in float or 16 bits, other precisions. The result is proven on samples that the search did not use.
    Accuracy and size decide between recipes. Latency on this machine is shown; it decides only with
    --for-this-machine. Exit code 0: proven, or not needed; 1: nothing found, or not proven; 2: could not run.

    \b
    windtunnel remedy float32.tflite int8.tflite --samples test.npz
    windtunnel remedy float32.tflite int8.tflite --samples test.npz --gate accuracy_drop=0.005 --gate size_mb=4 \\
        -o fixed.tflite --recipe-out recipe.json
    windtunnel quantize float32.tflite --recipe recipe.json --calibration recipe.calibration.npz    # builds it again
    """
    require_installed("remedy", "windtunnel.quantizer", "litert_quantizer")
    limits = _gates(gates)
    if recipe_out is not None and calibration_out is None:
        calibration_out = recipe_out.with_name(f"{recipe_out.stem}.calibration.npz")
    targets = {"model": out, "recipe": recipe_out, "calibration": calibration_out}
    require_outputs(list(targets.values()), inputs=(reference, variant, samples, pipeline), force=force)
    steps = read_json(pipeline, "pipeline")
    models = require_file(reference, "model"), require_file(variant, "model")
    given = require_file(samples, "samples")
    with tempfile.TemporaryDirectory(prefix="windtunnel-") as folder:
        found = run_async(_search(*models, given, Path(folder), limits, steps, budget, for_this_machine))
        document = found.to_json()
        document["written"], failed = _write(found, targets, force=force)
    if as_json:
        print_json(document)
    else:
        from rich.console import Console

        from windtunnel.cli.report.text.remedy_text import render_remedy

        render_remedy(document, Console())
        if failed:
            print_json(found.recipe)
    if failed:
        raise InvalidInput("; ".join(failed), hint="use the recipe above to build the model again")
    return 0 if document["verdict"] in ("proven", "not_needed") else 1


def _gates(texts: Sequence[str]) -> Gates:
    from windtunnel.plan import Gates

    found: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if name not in _GATES or not equals:
            raise click.BadParameter(f"{text!r} is not NAME=LIMIT; NAME: {', '.join(_GATES)}", param_hint="--gate")
        if _GATES[name] in found:
            raise click.BadParameter(f"{name} is given twice", param_hint="--gate")
        try:
            # The drop is negative if the model must be more accurate than the float model.
            limit = Finite(min=-1.0 if name == "accuracy_drop" else None).convert(value, None, None)
        except click.BadParameter as error:
            raise click.BadParameter(
                f"{value!r} is not a limit for {name}: {error.message}", param_hint="--gate"
            ) from None
        found[_GATES[name]] = limit
    return Gates(**{"accuracy_drop": _DEFAULT_DROP, **found})


async def _search(
    reference: Path,
    variant: Path,
    samples: Path,
    folder: Path,
    gates: Gates,
    pipeline: Any,
    budget: float,
    is_target: bool,
) -> Remedy:
    from windtunnel.diagnosis.remedy import ThisMachine, find_remedy

    preload = ("windtunnel.diagnosis.quantize.litert_quantizer", "windtunnel.diagnosis.remedy.measure_models")
    best: Trial | None = None
    with progress_bar("searching") as show:
        printer = _TrialPrinter(quiet=show is not None)

        def on_trial(trial: Trial, now: Trial | None) -> None:
            nonlocal best
            best = now
            printer.on_trial(trial, now)

        async with new_pool(*preload) as pool:

            async def rank(calibration: Path) -> list[tuple[str, float]]:
                try:
                    return await _ranking(reference, variant, calibration, pool)
                except UserError as error:
                    say(f"the layers could not be compared ({error.message}): they are tried one by one")
                    return []

            try:
                return await find_remedy(
                    reference,
                    variant,
                    samples,
                    folder,
                    pool,
                    gates=gates,
                    rank=rank,
                    pipeline=pipeline,
                    budget_s=budget,
                    stopwatch=ThisMachine(pool, is_target=is_target),
                    on_trial=on_trial,
                    on_progress=show,
                )
            except asyncio.CancelledError:
                say("best so far: " + ("nothing that meets every gate" if best is None else _words(best)))
                raise


class _TrialPrinter:
    """Prints trials: all of them, or only improvements if a progress bar is on the terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._best = ""

    def on_trial(self, trial: Trial, best: Trial | None) -> None:
        new = best is not None and best.id == trial.id
        if new or not self._quiet:
            say(f"{'found' if new else 'tried'} {_words(trial)}")


def _words(trial: Trial) -> str:
    if trial.figures is None or trial.size_bytes is None:
        return f"{trial.id}: {trial.candidate.what}: {trial.error}"
    drop = "unknown" if trial.figures.drop is None else f"{trial.figures.drop:.4f}"
    return f"{trial.id}: {trial.candidate.what}: drop {drop}, {trial.size_bytes / 1e6:.3g} MB"


async def _ranking(reference: Path, variant: Path, calibration: Path, pool: Any) -> list[tuple[str, float]]:
    """Ranks the layers of the float model by the error that each of them adds on the calibration samples."""
    from windtunnel.diagnosis import compare_models
    from windtunnel.diagnosis.remedy.recipes import units_of
    from windtunnel.tflite import read_model

    found = await pool.run(compare_models, reference, variant, calibration, None, max_samples=_RANKED_ON)
    units = units_of(await asyncio.to_thread(read_model, reference))
    return rank_layers(found.to_json()["layers"], {unit.name: unit.reads for unit in units})


def rank_layers(layers: Sequence[Mapping[str, Any]], reads: Mapping[str, Sequence[str]]) -> list[tuple[str, float]]:
    """(layer of the float model, weight), the heaviest first.

    Args:
        layers: `layers` of a diagnosis.
        reads: for each layer of the float model those that it reads.

    The weight is the larger of the layer's local error and of how far its error is above that of what it reads (both
    nRMSE); 1 for a layer without a figure.
    """
    errors = {layer["reference"]: 1.0 if layer["nrmse"] is None else float(layer["nrmse"]) for layer in layers}
    local = {layer["reference"]: layer.get("local_nrmse") or 0.0 for layer in layers}
    weights = {}
    for name, error in errors.items():
        before = max((errors.get(source, 0.0) for source in reads.get(name, ())), default=0.0)
        weights[name] = max(float(local[name]), error - before, 0.0)
    return sorted(weights.items(), key=lambda one: -one[1])


def _write(
    found: Remedy, targets: Mapping[str, Path | None], *, force: bool
) -> tuple[dict[str, str | None], list[str]]:
    """Writes the requested files of a remedy. Returns the paths that it wrote, and messages about those it could not.

    The result of a search must not be lost: files that cannot be written are kept in a temporary folder.
    """
    written: dict[str, str | None] = dict.fromkeys(targets)
    failed: list[str] = []
    if found.model is None:
        return written, failed
    contents = {"model": found.model.read_bytes(), "recipe": _recipe(found)}
    if found.calibration is not None:
        contents["calibration"] = found.calibration.read_bytes()
    for what, content in contents.items():
        path = targets[what]
        if path is None:
            continue
        try:
            write_whole(path, content, force=force)
        except UserError as error:
            failed.append(error.message)
        else:
            say(f"wrote {path}")
            written[what] = str(path)
    if failed:
        _keep(contents)
    return written, failed


def _keep(contents: Mapping[str, bytes]) -> None:
    """Keeps the files of a remedy in a temporary folder, if there is room for them."""
    names = {"model": "remedy.tflite", "recipe": "remedy.json", "calibration": "remedy.calibration.npz"}
    with suppress(OSError):
        folder = Path(tempfile.mkdtemp(prefix="windtunnel-remedy-"))
        try:
            for what, content in contents.items():
                (folder / names[what]).write_bytes(content)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        say(f"the result is kept in {folder}")


def _recipe(found: Remedy) -> bytes:
    return (json.dumps(found.recipe, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
