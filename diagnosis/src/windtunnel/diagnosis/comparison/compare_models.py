"""The use case: run two models over the same samples, compare every layer, and say why they differ.

Native code runs here: call it as a job of `windtunnel.isolation.ChildPool`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from windtunnel.accelerators import XNNPACK, runtime_accelerator
from windtunnel.diagnosis.comparison.criteria import criteria_of
from windtunnel.diagnosis.comparison.judge_run import judge_run, layers_to_judge
from windtunnel.diagnosis.comparison.run_archive import RunFiles, write_run
from windtunnel.diagnosis.comparison.run_models import RunOptions, open_run
from windtunnel.diagnosis.execution.checkpoint import Checkpoint
from windtunnel.diagnosis.execution.recorded_trials import Answers, RecordingTrials
from windtunnel.diagnosis.findings.comparison import Comparison
from windtunnel.diagnosis.findings.divergence import NRMSE
from windtunnel.errors import InvalidInput
from windtunnel.task_names import TaskSpec
from windtunnel.thresholds import DEFAULT_THRESHOLD


def compare_models(
    reference: Path,
    candidate: Path,
    samples: Path | None,
    pipeline: Mapping[str, Any] | None = None,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    metric: str = NRMSE,
    left_out: Collection[str] = (),
    max_samples: int | None = None,
    threads: int = 1,
    accelerator: str = XNNPACK,
    checkpoint: Checkpoint | None = None,
    try_fixes: bool = True,
    look: bool = False,
    task: TaskSpec | None = None,
    save: Path | None = None,
) -> Comparison:
    """Compares a candidate with its reference over samples. Reports progress.

    Layers are compared as real numbers and summed up sample by sample, so memory does not grow with the number of
    samples. Rows of 2048 squares are summed in float32, the rows in float64 (docs/decisions/0005).

    Args:
        reference: a .tflite file.
        candidate: a .tflite file that takes the same inputs.
        samples: what `load_samples` reads: arrays x and optionally y, or a folder per class; None: a few seeded random
            inputs in the range that both models take.
        pipeline: preprocessing from samples to the model's input; None: samples are inputs already.
        threshold: the value of the metric beyond which a layer diverges.
        metric: its name (docs/metrics.md).
        left_out: names of rules that do not decide (docs/thresholds.md).
        max_samples: only the first so many samples; None: all.
        threads: CPU threads of each interpreter.
        accelerator: of both models, in any spelling of `windtunnel.accelerators`. The default is the runtime's own and
            the fastest; every tensor can be read under it, and all layers are tried once more on other kernels.
        checkpoint: the run continues from it if it fits, and is saved to it; None: no checkpoint.
        try_fixes: try what looks wrong with a change, and try the layers on other kernels.
        look: look also at the samples themselves: their values, and the numbering of their labels.
        task: of the models, and its main metric; None: the samples say (docs/tasks.md).
        save: writes the run to this file, to judge it again (`run_archive`); None: the run is not kept.

    Returns:
        The comparison.

    Raises:
        InvalidInput: the models or the samples cannot be used, or an argument is out of range.
        Unsupported: the runtime cannot run a model.
    """
    criteria = criteria_of(threshold, metric, left_out)
    if max_samples is not None and max_samples < 1:
        raise InvalidInput(f"max_samples is {max_samples}", hint="give at least 1")
    options = RunOptions(max_samples, threads, runtime_accelerator(accelerator), checkpoint, try_fixes, look, task)
    with open_run(reference, candidate, samples, pipeline, options) as run:
        matched = layers_to_judge(run.result, criteria)
        trials = run.trials(matched)
        if save is None:
            return judge_run(run.result, matched, trials, criteria)
        answers: Answers = {}
        found = judge_run(run.result, matched, RecordingTrials(trials, candidate, answers), criteria)
        labels = run.given.labels
    write_run(save, RunFiles(reference, candidate, samples), run.result, answers, labels, criteria)
    return found
