"""`windtunnel quantize`: makes one variant of a float32 .tflite model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from windtunnel.cli.commands.completion import complete_variants
from windtunnel.cli.io.console import json_option, print_json, run_async, say
from windtunnel.cli.io.files import read_json, read_pipeline, require_file, write_whole
from windtunnel.cli.io.output_guard import force_option, require_outputs
from windtunnel.cli.io.progress import progress_bar
from windtunnel.cli.local.child_pools import new_pool, require_installed
from windtunnel.errors import InvalidInput

if TYPE_CHECKING:
    from windtunnel.diagnosis.quantize.variants import Quantized

_FILE: Final = click.Path(path_type=Path)
_LEFT_SHOWN: Final = 8


@click.command()
@click.argument("model", type=_FILE)
@click.option(
    "--variant",
    help="float16, dynamic_range, int8 or int16x8; with --recipe: any name.",
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
    from windtunnel.cli.local.documents import quantized_document

    name = _variant_name(variant, recipe)
    out = out or Path(f"{model.stem}.{name}.tflite")
    require_outputs((out,), inputs=(model, recipe, calibration, pipeline), force=force)
    source = require_file(model, "model")
    inputs = None if calibration is None else require_file(calibration, "calibration set")
    rules, steps = _rules(recipe), read_pipeline(pipeline)
    _require_calibration(name, rules, inputs)
    with tempfile.TemporaryDirectory(prefix="windtunnel-") as folder:
        done = run_async(_quantize(source, Path(folder), name, rules, inputs, steps))
        write_whole(out, done.model.read_bytes(), force=force)
    say(f"wrote {out}")
    document = quantized_document(done, name, out)
    for one in done.left_float[:_LEFT_SHOWN]:
        say(f"rule {one.rule} leaves {one.op} {one.layer} (op {one.op_index}) in float")
    if len(done.left_float) > _LEFT_SHOWN:
        say(f"and {len(done.left_float) - _LEFT_SHOWN} more ops, which --json lists")
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
        raise click.BadParameter(f"{name!r} is not one of {', '.join(BUILTIN_VARIANTS)}", param_hint="--variant")
    if "/" in name or name.startswith("."):
        raise click.BadParameter(f"{name!r} cannot be a file name", param_hint="--variant")
    return name


def _rules(recipe: Path | None) -> tuple[Any, ...] | None:
    found = read_json(recipe, "recipe")
    if found is None:
        return None
    from windtunnel.plan.read_plan import require_recipe_rules

    return require_recipe_rules(found, str(recipe))


def _require_calibration(name: str, rules: tuple[Any, ...] | None, calibration: Path | None) -> None:
    from windtunnel.diagnosis.quantize.variants import needs_calibration
    from windtunnel.plan import VariantSpec

    if calibration is None and needs_calibration(VariantSpec(name, rules)):
        raise InvalidInput(
            f"variant {name!r} needs a calibration set", hint="give --calibration with about 100 typical inputs"
        )


async def _quantize(
    model: Path, workdir: Path, name: str, rules: tuple[Any, ...] | None, calibration: Path | None, pipeline: Any
) -> Quantized:
    from windtunnel.diagnosis.quantize.make_variant import quantize as run
    from windtunnel.diagnosis.quantize.variants import Calibration
    from windtunnel.plan import VariantSpec

    chosen = None if calibration is None else Calibration(calibration)
    with progress_bar("quantizing") as show:
        async with new_pool("windtunnel.diagnosis.quantize.litert_quantizer") as pool:
            spec = VariantSpec(name, rules)
            return await run(model, spec, workdir, pool, calibration=chosen, pipeline=pipeline, on_progress=show)
