"""Diagnosing what an app recorded in a device run: the one call of the library's use case, in child processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from windtunnel.diagnosis.app_diagnosis.app_result import AppDiagnoses, AppDiagnosis
from windtunnel.diagnosis.app_diagnosis.diagnose_files import diagnose_files
from windtunnel.isolation import Pool

_GAP: Final = "recording.gap"


async def diagnose_in_child(pool: Pool, model: Path, logs: Path, pipeline: Mapping[str, Any] | None) -> AppDiagnoses:
    """Diagnoses every recording of an edge log in a child process.

    Args:
        pool: where native code runs.
        model: the .tflite file that the app ran.
        logs: a folder with the files of the log.
        pipeline: the content of the run's pipeline.json; None: that of the recording, if it has one.

    Returns:
        The diagnoses.

    Raises:
        InvalidInput: nothing can be read, or model, log and pipeline do not fit each other.
        Unsupported: the runtime cannot run the model.
        JobFailed: native code crashed, or ran out of time or memory.
    """
    return await pool.run(diagnose_files, model, (logs,), pipeline)


def worst_of(found: AppDiagnoses) -> AppDiagnosis:
    """The diagnosis that stands for a device run.

    Args:
        found: of its recordings.

    Returns:
        The one with the most causes of those with the worst verdict.
    """
    return max((one for one in found.recordings if one.verdict == found.verdict), key=lambda one: len(one.causes))


def gaps_of(found: AppDiagnoses) -> tuple[str, ...]:
    """What the recordings lack.

    Args:
        found: of the recordings.

    Returns:
        Each sentence once.
    """
    said = (finding.message for one in found.recordings for finding in one.findings if finding.code == _GAP)
    return tuple(dict.fromkeys(said))


def log_names(shas: Sequence[str], pulled: Mapping[str, str]) -> list[str]:
    """Names for the files of a log in one folder: those on the device, which say the order of the files.

    Args:
        shas: SHA-256 of each file.
        pulled: SHA-256 of what was pulled, by path on the device.

    Returns:
        Different names, one for each.
    """
    names = {sha256: path.rpartition("/")[2] for path, sha256 in pulled.items()}
    found: list[str] = []
    for number, sha256 in enumerate(shas, 1):
        name = names.get(sha256, "")
        safe = name.endswith(".mcap") and name not in found and name.isprintable()
        found.append(name if safe else f"log-{number:06d}.mcap")
    return found
