"""`diagnose_app` on files: the job of a child process."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from windtunnel.diagnosis.app_diagnosis.app_assertions import load_assertions
from windtunnel.diagnosis.app_diagnosis.app_result import AppDiagnoses, AppDiagnosis
from windtunnel.diagnosis.app_diagnosis.diagnose_app import diagnose_app, reference_frames
from windtunnel.diagnosis.comparison.compare_models import compare_models
from windtunnel.diagnosis.findings.comparison import VERDICTS, Comparison
from windtunnel.diagnosis.findings.coverage import Coverage
from windtunnel.diagnosis.recording.edge_recording import EdgeRecording
from windtunnel.diagnosis.recording.read_recordings import read_recordings
from windtunnel.diagnosis.thresholds.apps.app_thresholds import HEALTHY_LOSS
from windtunnel.errors import InvalidInput
from windtunnel.isolation import progress
from windtunnel.tflite import read_model


def diagnose_files(
    model: Path,
    edges: Sequence[Path],
    pipeline: Mapping[str, Any] | None = None,
    reference: Path | None = None,
    assertions: Sequence[Path] = (),
) -> AppDiagnoses:
    """Diagnoses apps from files. Reports progress.

    Args:
        model: the .tflite file that the apps run.
        edges: what they recorded: edge.npz, edge logs, folders of them.
        pipeline: the content of the pipeline.json; None: that of each recording, if it has one.
        reference: a .tflite file that is right, to compare the model with on the same inputs; None: the model is right.
        assertions: Python files with assertions of the user's.

    Returns:
        A diagnosis for each recording.

    Raises:
        NotFound: a file does not exist.
        InvalidInput: the files cannot be used, or do not fit each other.
        Unsupported: the runtime cannot run the model.
    """
    checks = [one for path in assertions for one in load_assertions(path)]
    recordings = [one for path in edges for one in read_recordings(path)]
    found = []
    for number, recording in enumerate(recordings):
        progress(number / len(recordings), f"recording {number + 1} of {len(recordings)}")
        diagnosis = diagnose_app(model, recording, pipeline, assertions=checks)
        if reference is not None:
            diagnosis = _joined(diagnosis, _compared(reference, model, recording, pipeline))
        found.append(diagnosis)
    return AppDiagnoses(tuple(found))


def _compared(reference: Path, model: Path, recording: EdgeRecording, pipeline: Mapping[str, Any] | None) -> Comparison:
    """The model against its reference, on what the pipeline feeds; otherwise on what the app fed.

    Raises:
        InvalidInput: the two models do not fit each other.
    """
    facts = read_model(model)
    frames = reference_frames(facts, recording, pipeline)
    with tempfile.TemporaryDirectory(prefix="windtunnel-") as folder:
        samples = Path(folder, "inputs.npz")
        arrays: dict[str, Any] = {f"x/{name}": np.concatenate(rows) for name, rows in frames.items()}
        if recording.labels is not None:
            arrays["y"] = recording.labels
        np.savez(samples, **arrays)
        try:
            return compare_models(reference, model, samples)
        except InvalidInput:
            if "y" not in arrays:
                raise
        # Labels that do not fit the model: what is wrong with them is judged with the app.
        np.savez(samples, **{name: rows for name, rows in arrays.items() if name != "y"})
        return compare_models(reference, model, samples)


def _joined(diagnosis: AppDiagnosis, comparison: Comparison) -> AppDiagnosis:
    """What is wrong in the model itself comes after what is wrong around it."""
    if _is_small(comparison):
        # The loss of a healthy quantization on a few frames is not what is wrong with an app.
        return replace(
            diagnosis, layers=diagnosis.layers or comparison.layers, coverage=_coverage(diagnosis, comparison)
        )
    verdict = max(diagnosis.verdict, comparison.verdict, key=VERDICTS.index)
    return replace(
        diagnosis,
        verdict=verdict,
        reasons=(*diagnosis.reasons, *comparison.reasons),
        causes=(*diagnosis.causes, *comparison.causes),
        excluded=(*diagnosis.excluded, *comparison.excluded),
        layers=diagnosis.layers or comparison.layers,
        coverage=_coverage(diagnosis, comparison),
    )


def _coverage(diagnosis: AppDiagnosis, comparison: Comparison) -> Coverage:
    return diagnosis.coverage if diagnosis.layers else comparison.coverage


def _is_small(comparison: Comparison) -> bool:
    """Whether no layer diverges, no class changes, and the outputs differ by no more than healthy int8 does."""
    output = comparison.output
    loss = max((one for one in (output.nrmse, comparison.max_nrmse) if one is not None), default=0.0)
    changed = output.agreement is not None and output.agreement < 1
    return comparison.first_over is None and not changed and not comparison.non_finite and loss <= HEALTHY_LOSS
