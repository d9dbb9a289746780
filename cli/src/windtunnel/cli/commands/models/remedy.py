"""`windtunnel remedy`: searches a quantization recipe that fixes a variant's loss of accuracy, and proves it."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from windtunnel.cli.commands.options import Finite
from windtunnel.cli.io.console import json_option, print_json, run_async
from windtunnel.cli.io.files import read_pipeline, require_file
from windtunnel.cli.io.output_guard import force_option, require_outputs
from windtunnel.cli.local.child_pools import require_installed
from windtunnel.cli.local.remedy_files import write_remedy
from windtunnel.cli.local.remedy_search import search_remedy
from windtunnel.errors import InvalidInput

if TYPE_CHECKING:
    from windtunnel.plan import Gates

_FILE: Final = click.Path(path_type=Path)
_GATES: Final[Mapping[str, str]] = {
    "accuracy_drop": "accuracy_drop",
    "latency_ms.p50": "latency_ms_p50",
    "latency_ms.p95": "latency_ms_p95",
    "size_mb": "size_mb",
}
_DEFAULT_DROP: Final = 0.01


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
    help=f"Upper limits on {', '.join(_GATES)}; default: accuracy_drop={_DEFAULT_DROP}.",
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
    """Searches for a way to quantize REFERENCE, the float model, without VARIANT's loss of accuracy.

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
    steps = read_pipeline(pipeline)
    models = require_file(reference, "model"), require_file(variant, "model")
    given = require_file(samples, "samples")
    with tempfile.TemporaryDirectory(prefix="windtunnel-") as folder:
        found = run_async(search_remedy(*models, given, Path(folder), limits, steps, budget, for_this_machine))
        document = found.to_json()
        document["written"], failed = write_remedy(found, targets, force=force)
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

    found: dict[str, Any] = {}
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
    return dataclasses.replace(Gates(accuracy_drop=_DEFAULT_DROP), **found)
