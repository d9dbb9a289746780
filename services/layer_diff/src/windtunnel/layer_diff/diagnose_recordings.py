"""Diagnosing what an app recorded in a device run: the one call of the library's use case, in child processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from windtunnel.diagnosis.app_diagnosis.app_result import AppDiagnosis
from windtunnel.diagnosis.app_diagnosis.diagnose_app import diagnose_app
from windtunnel.diagnosis.recording import read_recordings
from windtunnel.isolation import Pool

PRELOAD: Final = ("windtunnel.layer_diff.diagnose_recordings", "ai_edge_litert.interpreter")
_WORST_FIRST: Final = ("broken", "degraded", "healthy")


@dataclass(frozen=True, slots=True)
class RecordedDiagnoses:
    """The diagnoses of the recordings of one device run, the worst first."""

    diagnoses: tuple[AppDiagnosis, ...]

    @property
    def worst(self) -> AppDiagnosis:
        """The diagnosis that stands for the device run."""
        return self.diagnoses[0]

    @property
    def frames(self) -> int:
        """How many frames were replayed."""
        return sum(one.frames for one in self.diagnoses)

    def gaps(self) -> tuple[str, ...]:
        """What the recordings lack, each sentence once."""
        said = (finding.message for one in self.diagnoses for finding in one.findings if finding.code == _GAP)
        return tuple(dict.fromkeys(said))

    def to_json(self) -> dict[str, Any]:
        """The diagnosis of the worst recording as windtunnel.diagnosis/1, with the verdicts of the others."""
        others = [
            {"source": one.source, "verdict": one.verdict, "causes": [str(cause.code) for cause in one.causes]}
            for one in self.diagnoses[1:]
        ]
        return {**self.worst.to_json(), "other_recordings": others}


_GAP: Final = "recording.gap"


async def diagnose_in_child(
    pool: Pool, model: Path, logs: Path, pipeline: Mapping[str, Any] | None
) -> RecordedDiagnoses:
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
    return await pool.run(diagnose_recordings, model, logs, pipeline)


def diagnose_recordings(model: Path, logs: Path, pipeline: Mapping[str, Any] | None) -> RecordedDiagnoses:
    """Diagnoses every recording of an edge log. Native code runs here: call it as the job of a child process.

    Args:
        model: the .tflite file that the app ran.
        logs: a folder with the files of the log.
        pipeline: the content of the run's pipeline.json; None: that of the recording, if it has one.

    Returns:
        The diagnoses, the worst first.
    """
    found = [diagnose_app(model, recording, pipeline) for recording in read_recordings(logs)]
    return RecordedDiagnoses(tuple(sorted(found, key=_rank)))


def _rank(found: AppDiagnosis) -> int:
    return _WORST_FIRST.index(found.verdict)


def log_names(shas: Sequence[str], pulled: Mapping[str, str]) -> list[str]:
    """Names for the files of a log in one folder: those on the device, which say the order of the files.

    Args:
        shas: SHA-256 of each file.
        pulled: SHA-256 of what was pulled, by path on the device.

    Returns:
        A name for each, no two alike.
    """
    names = {sha256: path.rpartition("/")[2] for path, sha256 in pulled.items()}
    found: list[str] = []
    for number, sha256 in enumerate(shas, 1):
        name = names.get(sha256, "")
        safe = name.endswith(".mcap") and name not in found and name.isprintable()
        found.append(name if safe else f"log-{number:06d}.mcap")
    return found
