"""`windtunnel diagnose`: an app against its reference, from what it recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from windtunnel.cli.io.console import json_option, print_json, run_async, say
from windtunnel.cli.io.files import read_pipeline, require_file, write_whole
from windtunnel.cli.io.output_guard import force_option, require_outputs
from windtunnel.cli.io.progress import progress_bar
from windtunnel.cli.local.child_pools import new_pool

if TYPE_CHECKING:
    from windtunnel.diagnosis.app_diagnosis.app_result import AppDiagnoses
    from windtunnel.diagnosis.app_diagnosis.sample_views import RecordedSamples

_FILE: Final = click.Path(path_type=Path)


@click.command()
@click.option("--model", type=_FILE, required=True, help="The .tflite file that the app runs.")
@click.option("--pipeline", type=_FILE, help="How samples are prepared for this model (pipeline.json).")
@click.option(
    "--edge",
    "edges",
    type=_FILE,
    required=True,
    multiple=True,
    help="What the app recorded: edge.npz, a log of the edge monitor (.mcap), or a folder of logs; may be repeated.",
)
@click.option("--reference", type=_FILE, help="A .tflite file that is right, to compare the model with as well.")
@click.option(
    "--assert", "assertions", type=_FILE, multiple=True, help="A Python file with assertions; may be repeated."
)
@click.option("--html", type=_FILE, help="Write a page: causes, and samples next to what the reference feeds.")
@force_option
@json_option
def diagnose(
    model: Path,
    pipeline: Path | None,
    edges: tuple[Path, ...],
    reference: Path | None,
    assertions: tuple[Path, ...],
    html: Path | None,
    force: bool,
    as_json: bool,
) -> int:
    """Names what is wrong around a model in an app: preprocessing, kernels, labels.

    The app records raw samples, what it feeds to the model and what comes out (edge.npz, or the edge monitor). The
    pipeline is played back on the raw samples, and every difference is explained and replayed.
    Exit code 0: healthy; 1: degraded or broken; 2: it could not be diagnosed; 64: wrong usage.

    \b
    windtunnel diagnose --model m.tflite --pipeline pipeline.json --edge edge.npz

    With the model before quantization, and several recordings:

    \b
    windtunnel diagnose --model int8.tflite --reference float32.tflite --pipeline pipeline.json --edge logs/
    windtunnel diagnose --model m.tflite --pipeline pipeline.json --edge pixel/ --edge galaxy/

    For scripts:

    \b
    windtunnel diagnose --model m.tflite --pipeline pipeline.json --edge edge.npz --json | jq .causes

    A page shows raw samples, what the app feeds, what the pipeline feeds, and the difference:

    \b
    windtunnel diagnose --model m.tflite --pipeline pipeline.json --edge edge.npz --html app.html

    Assertions of your own are decorated functions in a Python file (docs/diagnose.md):

    \b
    windtunnel diagnose --model m.tflite --edge logs/ --assert checks.py
    """
    require_outputs((html,), inputs=(model, pipeline, *edges, reference, *assertions), force=force)
    given = _Given(
        require_file(model, "model"),
        tuple(require_file(one, "recording") for one in edges),
        read_pipeline(pipeline),
        None if reference is None else require_file(reference, "reference"),
        tuple(require_file(one, "file of assertions") for one in assertions),
    )
    found, samples = run_async(_diagnose(given, with_samples=html is not None))
    document = found.to_json()
    if html is not None:
        _write_page(document, samples, model, html, force=force)
    if as_json:
        print_json(document)
    else:
        from rich.console import Console

        from windtunnel.cli.report.text.app_text import render_app_diagnoses

        render_app_diagnoses(document, Console())
    return 0 if found.verdict == "healthy" else 1


@dataclass(frozen=True, slots=True)
class _Given:
    """What is diagnosed. `pipeline`: the content of a pipeline.json."""

    model: Path
    edges: tuple[Path, ...]
    pipeline: Any
    reference: Path | None
    assertions: tuple[Path, ...]


async def _diagnose(given: _Given, *, with_samples: bool) -> tuple[AppDiagnoses, tuple[RecordedSamples, ...]]:
    """The diagnoses and, for a page, samples of each recording."""
    from windtunnel.diagnosis.app_diagnosis.diagnose_files import diagnose_files

    preload = ("windtunnel.diagnosis.app_diagnosis.diagnose_files", "ai_edge_litert.interpreter")
    with progress_bar("replaying recordings") as show:
        async with new_pool(*preload) as pool:
            found = await pool.run(
                diagnose_files,
                given.model,
                given.edges,
                given.pipeline,
                given.reference,
                given.assertions,
                on_progress=show,
            )
            if not with_samples:
                return found, ()
            from windtunnel.diagnosis.app_diagnosis.sample_views import sample_views

            return found, await pool.run(sample_views, given.model, given.edges, given.pipeline)


def _write_page(
    document: dict[str, Any], samples: tuple[RecordedSamples, ...], model: Path, out: Path, *, force: bool
) -> None:
    from windtunnel.cli.report.app_page.app_page import app_page
    from windtunnel.cli.report.app_page.app_samples import Sample

    shown = [
        [Sample(f"frame {view.frame}", view.raw, view.fed, view.expected, view.nrmse) for view in one.views]
        for one in samples
    ]
    write_whole(out, app_page(document, shown, model=model.name).encode(), force=force)
    say(f"wrote {out}")
