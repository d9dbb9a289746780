"""`diagnose_app` on files: the job of a child process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from windtunnel.diagnosis.app_diagnosis.app_result import AppDiagnosis
from windtunnel.diagnosis.app_diagnosis.diagnose_app import diagnose_app
from windtunnel.diagnosis.recording.read_recordings import read_recording


def diagnose_file(model: Path, edge: Path, pipeline: Mapping[str, Any] | None = None) -> AppDiagnosis:
    """Diagnoses an app from files.

    Args:
        model: the .tflite file that the app runs.
        edge: what the app recorded.
        pipeline: the content of the pipeline.json; None: that of the recording, if it has one.

    Returns:
        The diagnosis.

    Raises:
        NotFound: a file does not exist.
        InvalidInput: the files cannot be used, or do not fit each other.
        Unsupported: the runtime cannot run the model.
    """
    return diagnose_app(model, read_recording(edge), pipeline)
