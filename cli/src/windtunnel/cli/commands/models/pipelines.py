"""`windtunnel pipelines`: ready pipelines for the usual families of models, and the one that a model is made for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from windtunnel.cli.io.console import json_option, print_json, say
from windtunnel.cli.io.files import require_file, write_whole
from windtunnel.cli.io.output_guard import require_outputs

if TYPE_CHECKING:
    from windtunnel.datacheck.pipeline_guess import PipelineGuess

READY_SCHEMA: Final = "windtunnel.ready_pipeline/1"
GUESS_SCHEMA: Final = "windtunnel.pipeline_guess/1"
_FILE: Final = click.Path(path_type=Path)
_out_option = click.option("-o", "--out", type=_FILE, help="Write the pipeline to this file.")
_force_option = click.option("--force", is_flag=True, help="Replace files that exist.")


@click.group()
def pipelines() -> None:
    """Shows ready pipelines (pipeline.json), and guesses the one that a model is made for.

    \b
    windtunnel pipelines list
    windtunnel pipelines show mobilenet_v2 > pipeline.json
    windtunnel pipelines guess model.tflite -o pipeline.json
    """


@pipelines.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Lists the ready pipelines.

    \b
    windtunnel pipelines list
    """
    from windtunnel.pipeline import ready_names, ready_pipeline

    found = [ready_pipeline(name) for name in ready_names()]
    if as_json:
        print_json([{"name": one.name, "title": one.title, "task": one.pipeline.task} for one in found])
        return
    width = max(len(one.name) for one in found)
    for one in found:
        click.echo(f"{one.name:{width}}  {one.title}")


@pipelines.command()
@click.argument("name")
@_out_option
@_force_option
@json_option
def show(name: str, out: Path | None, force: bool, as_json: bool) -> None:
    """Prints the ready pipeline NAME as a pipeline.json; the source of each number goes to standard error.

    \b
    windtunnel pipelines show mobilenet_v2 > pipeline.json
    """
    from windtunnel.pipeline import ready_pipeline

    require_outputs((out,), inputs=(), force=force)
    found = ready_pipeline(name)
    if as_json:
        sources = [{"number": one.number, "source": one.source} for one in found.sources]
        head = {"schema": READY_SCHEMA, "name": found.name, "title": found.title}
        if out is not None:
            _give(found.pipeline.to_json(), out, force)
        print_json({**head, "pipeline": found.pipeline.to_json(), "sources": sources, "assumed": list(found.assumed)})
        return
    _say_all("source", (f"{one.number} ({one.source})" for one in found.sources))
    _say_all("assumed", found.assumed)
    _give(found.pipeline.to_json(), out, force)


@pipelines.command()
@click.argument("model", type=_FILE)
@_out_option
@_force_option
@json_option
def guess(model: Path, out: Path | None, force: bool, as_json: bool) -> None:
    """Guesses the pipeline that MODEL (.tflite) is made for.

    It reads the model's TFLite metadata, its inputs and their quantization, the start of the graph, and the name of the
    file. What was found and what was assumed goes to standard error: check what was assumed. With --out, a vocabulary
    in the model's file is written next to the pipeline.

    \b
    windtunnel pipelines guess mobilenet_v2_1.0_224_quant.tflite -o pipeline.json
    """
    from windtunnel.datacheck.pipeline_guess import guess_pipeline
    from windtunnel.tflite import read_model

    path = require_file(model, "model")
    require_outputs((out,), inputs=(path,), force=force)
    found = guess_pipeline(read_model(path))
    beside = {} if out is None else {out.parent / name: content for name, content in found.files.items()}
    require_outputs(list(beside), inputs=(path, out), force=force)
    if as_json:
        _write_all(found, out, beside, force)
        print_json(_document(found))
        return
    _say_all("found", found.found)
    _say_all("assumed", found.assumed)
    _write_all(found, out, beside, force)
    if out is None:
        print_json(found.pipeline)


def _write_all(found: PipelineGuess, out: Path | None, beside: dict[Path, bytes], force: bool) -> None:
    if out is None:
        return
    _give(dict(found.pipeline), out, force)
    for path, content in beside.items():
        write_whole(path, content, force=force)
        say(f"wrote {path}")


def _document(found: PipelineGuess) -> dict[str, Any]:
    return {
        "schema": GUESS_SCHEMA,
        "pipeline": dict(found.pipeline),
        "found": list(found.found),
        "assumed": list(found.assumed),
        "labels": list(found.labels) or None,
    }


def _give(pipeline: dict[str, Any], out: Path | None, force: bool) -> None:
    if out is None:
        print_json(pipeline)
        return
    write_whole(out, (json.dumps(pipeline, indent=2, ensure_ascii=False) + "\n").encode(), force=force)
    say(f"wrote {out}")


def _say_all(what: str, sentences: Iterable[str]) -> None:
    for one in sentences:
        say(f"{what}: {one}")
