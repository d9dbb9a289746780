"""`windtunnel diagnose`: an app against its reference, from what it recorded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from windtunnel.cli.io.console import json_option, print_json, run_async
from windtunnel.cli.io.files import read_json, require_file
from windtunnel.cli.io.progress import progress_bar
from windtunnel.cli.local.child_pools import new_pool

if TYPE_CHECKING:
    from windtunnel.diagnosis.app_diagnosis.app_result import AppDiagnosis

_FILE: Final = click.Path(path_type=Path)


@click.command()
@click.option("--model", type=_FILE, required=True, help="The .tflite file that the app runs.")
@click.option("--pipeline", type=_FILE, help="How samples are prepared for this model (pipeline.json).")
@click.option(
    "--edge", type=_FILE, required=True, help="What the app recorded: edge.npz, or a log of the edge monitor."
)
@json_option
def diagnose(model: Path, pipeline: Path | None, edge: Path, as_json: bool) -> int:
    """Names what is wrong around a model in an app: preprocessing, kernels, labels.

    The app records raw samples, what it feeds to the model and what comes out (edge.npz, or the edge monitor). The
    pipeline is played back on the raw samples, and every difference is explained and replayed.
    Exit code 0: healthy; 1: degraded or broken; 2: it could not be diagnosed; 64: wrong usage.

    \b
    windtunnel diagnose --model m.tflite --pipeline pipeline.json --edge edge.npz
    windtunnel diagnose --model m.tflite --pipeline pipeline.json --edge edge.npz --json | jq .causes
    """
    path, recorded = require_file(model, "model"), require_file(edge, "recording")
    found = run_async(_diagnose(path, recorded, read_json(pipeline, "pipeline")))
    document = found.to_json()
    if as_json:
        print_json(document)
    else:
        from rich.console import Console

        from windtunnel.cli.report.text.diagnosis_text import render_diagnosis

        render_diagnosis(document, Console())
    return 0 if found.verdict == "healthy" else 1


async def _diagnose(model: Path, edge: Path, pipeline: Any) -> AppDiagnosis:
    from windtunnel.diagnosis.app_diagnosis.diagnose_file import diagnose_file

    preload = ("windtunnel.diagnosis.app_diagnosis.diagnose_file", "ai_edge_litert.interpreter")
    with progress_bar("replaying frames"):
        async with new_pool(*preload) as pool:
            return await pool.run(diagnose_file, model, edge, pipeline)
