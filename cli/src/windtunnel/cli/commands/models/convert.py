"""`windtunnel convert`: a trained model as float32 .tflite."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from windtunnel.cli.io.console import json_option, print_json, run_async, say
from windtunnel.cli.io.files import read_pipeline, require_file, write_whole
from windtunnel.cli.io.output_guard import force_option, require_outputs
from windtunnel.cli.local.child_pools import require_installed
from windtunnel.cli.local.conversion import convert_model, model_source
from windtunnel.formats import FORMATS
from windtunnel.task_names import TASK_NAMES, TaskName, TaskSpec

if TYPE_CHECKING:
    pass

_FILE: Final = click.Path(path_type=Path)


@click.command()
@click.argument("model", type=_FILE)
@click.option("-o", "--out", type=_FILE, help="The .tflite to write; default: MODEL's name in the current folder.")
@click.option(
    "--samples", type=_FILE, help="Samples on which the conversion is checked; default: seeded random inputs."
)
@click.option("--pipeline", type=_FILE, help="Preprocessing from the samples to the model's input (JSON).")
@click.option(
    "--task",
    type=click.Choice(TASK_NAMES),
    help="What the model is for: figures on the samples are those of this task. Default: the samples' arrays say.",
)
@click.option("--input", "inputs", multiple=True, metavar="NAME", help="Input tensor, if the file does not name it.")
@click.option("--output", "outputs", multiple=True, metavar="NAME", help="Output tensor, if the file does not name it.")
@click.option("--format", "declared", type=click.Choice(FORMATS), help="Format of MODEL; default: from its content.")
@click.option("--allow-code", is_flag=True, help="Load models that carry Python code (Lambda layers).")
@click.option(
    "--select-tf-ops",
    is_flag=True,
    help="Convert ops that TensorFlow Lite does not have to Select TF ops, which need the Flex library on the phone.",
)
@force_option
@json_option
def convert(
    model: Path,
    out: Path | None,
    samples: Path | None,
    pipeline: Path | None,
    task: TaskName | None,
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
    Exit code 0: converted; 1: converted, but the result does not compute what the original computes; 2: MODEL could not
    be converted.

    \b
    windtunnel convert model.keras
    windtunnel convert saved_model/ -o model.tflite --samples test.npz
    windtunnel convert frozen.pb --format frozen_graph --input image --output logits
    """
    require_installed("convert", "windtunnel.converter", "tensorflow")
    from windtunnel.cli.local.documents import conversion_document
    from windtunnel.cli.report.text.measurement_text import conversion_words

    out = out or Path(f"{model.name if model.is_dir() else model.stem}.tflite")
    require_outputs((out,), inputs=(model, samples, pipeline), force=force)
    steps = read_pipeline(pipeline)
    sample_path = None if samples is None else require_file(samples, "samples")
    options = {"samples": sample_path, "pipeline": steps, "inputs": inputs, "outputs": outputs}
    options |= {"task": None if task is None else TaskSpec(task)}
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

        from windtunnel.cli.report.text.findings_text import findings_text

        click.echo(conversion_words(document))
        findings_text(document["check"]["findings"], Console())
    return 0 if done.check.passed else 1
