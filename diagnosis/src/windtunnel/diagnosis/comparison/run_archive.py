"""The file of a run, `run.wtr`: what was run, to judge it again without running the models.

A zip with `run.json` (schema `windtunnel.run_result/1`), `sums.npz` (the sums of layers and outputs, and the labels),
and both models, content-addressed as `models/SHA256.tflite`. A model above `STORED_MODEL_BYTES` is not stored: its name
and SHA-256 are, and whoever judges the run again gives the file.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.comparison.archive_members import (
    COMMAND_MEMBER,
    MODEL_MEMBER,
    RUN_MEMBER,
    SUMS_MEMBER,
    Members,
    read_arrays,
    read_members,
)
from windtunnel.diagnosis.comparison.criteria import Criteria, criteria_of
from windtunnel.diagnosis.comparison.explain import isolated_pairs
from windtunnel.diagnosis.comparison.judge_run import judge_run, layers_to_judge
from windtunnel.diagnosis.comparison.run_codec import SCHEMA, decode_run, encode_run, plain_json, with_floats
from windtunnel.diagnosis.comparison.run_result import MatchedRun, RunResult
from windtunnel.diagnosis.execution.recorded_trials import Answered, Answers, RecordedTrials, decode_answers
from windtunnel.diagnosis.findings.comparison import Comparison
from windtunnel.errors import InvalidInput, NotFound

# A larger model is named in the file, and not stored in it.
STORED_MODEL_BYTES: Final = 256 * 2**20
_LABELS: Final = "labels"


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of a run."""

    reference: Path
    candidate: Path
    samples: Path | None


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run from a file; its models are in `files`.

    `answers`: of the trials. `criteria`: what it was judged by when the models ran. `created`: when that was, in ISO
    8601, and `version`: by which version. `samples`: the name of the samples' file; None: random inputs.
    `command`: what `add_command` added; None: nothing.
    """

    run: RunResult
    files: RunFiles
    answers: Mapping[str, Answered]
    criteria: Criteria
    created: str
    version: str
    samples: str | None
    command: Mapping[str, Any] | None = None

    def judge(self, criteria: Criteria | None = None) -> Comparison:
        """Judges the run again, without models.

        What the record does not hold is named in the reasons: tests of fixes, and layers that these criteria judge and
        that those of the run left out as computed differently.

        Args:
            criteria: what it is judged by; None: by what it was judged when the models ran.

        Returns:
            The comparison.
        """
        criteria = criteria or self.criteria
        trials = RecordedTrials(self.files.candidate, self.answers)
        matched = layers_to_judge(self.run, criteria)
        found = judge_run(self.run, matched, trials, criteria)
        then = self._isolated(matched if criteria == self.criteria else layers_to_judge(self.run, self.criteria))
        missing = [*_missing_layers(self._isolated(matched) - then), *_missing_tests(trials.missing)]
        return found if not missing else replace(found, reasons=(*found.reasons, *missing))

    def _isolated(self, matched: MatchedRun) -> set[int]:
        """The candidate's tensors of the layers that run by themselves."""
        return {pair.candidate.tensor.index for pair in isolated_pairs(self.run, matched)}


def write_run(
    path: Path, files: RunFiles, run: RunResult, answers: Answers, labels: NDArray[Any] | None, criteria: Criteria
) -> None:
    """Writes a run whole or not at all; a file that exists is replaced.

    Args:
        path: the file.
        files: the models and the samples that ran.
        run: what was run.
        answers: of the trials.
        labels: of the samples.
        criteria: what the run was judged by.

    Raises:
        InvalidInput: the file cannot be written.
    """
    models = {"reference": _about_model(files.reference), "candidate": _about_model(files.candidate)}
    about = {
        "schema": SCHEMA,
        "version": version("windtunnel-diagnosis"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "models": models,
        "samples": None if files.samples is None else files.samples.name,
        "criteria": criteria.to_json(),
        "run": encode_run(run),
        "answers": answers,
    }
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    except OSError as error:
        raise _not_stored(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            # Keys stay in their order: a diagnosis repeats the evidence of findings.
            archive.writestr(RUN_MEMBER, json.dumps(plain_json(about), allow_nan=False))
            archive.writestr(SUMS_MEMBER, _npz(run.sums.state(), labels))
            stored = {one["sha256"]: model for model, one in _stored(files, models)}
            for digest, model in stored.items():
                archive.write(model, MODEL_MEMBER.format(digest))
        Path(name).replace(path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _not_stored(path, error) from error
        raise


def add_command(path: Path, document: Mapping[str, Any]) -> None:
    """Adds to a run what the command that made it knows in addition.

    Args:
        path: of the file.
        document: JSON object.

    Raises:
        InvalidInput: the file cannot be written.
    """
    try:
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(COMMAND_MEMBER, json.dumps(document, allow_nan=False))
    except OSError as error:
        raise _not_stored(path, error) from error


@contextmanager
def stored_run(path: Path, reference: Path | None = None, candidate: Path | None = None) -> Iterator[StoredRun]:
    """Reads a run; its models are removed when the block ends. Nothing of the file is executed.

    Args:
        path: the file.
        reference: the model, if the file does not store it; it must be the one that ran.
        candidate: the model, if the file does not store it; it must be the one that ran.

    Yields:
        The run.

    Raises:
        InvalidInput: the file is not a run, is damaged, or is of another format; a model is not the one that ran.
        NotFound: a model is not stored, and not given.
    """
    members = read_members(path)
    with tempfile.TemporaryDirectory(prefix="windtunnel-run-") as folder:
        try:
            run = _decoded(path, members, (reference, candidate), Path(folder))
        except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError, RecursionError) as error:
            raise damaged(path, error) from error
        # Outside of the block above: what fails while judging is not the file's fault.
        yield run


def _decoded(path: Path, members: Members, given: tuple[Path | None, Path | None], folder: Path) -> StoredRun:
    """The run of the file `path`; `given`: reference and candidate, if the file does not store them."""
    about = with_floats(members.run)
    samples = None if about["samples"] is None else str(about["samples"])
    files = RunFiles(
        _model(members.models, about, "reference", given[0], path, folder),
        _model(members.models, about, "candidate", given[1], path, folder),
        None if samples is None else Path(samples),
    )
    arrays = read_arrays(members.sums)
    labels = arrays.pop(_LABELS, None)
    kept = about["criteria"]
    criteria = criteria_of(float(kept["threshold"]), str(kept["metric"]), [str(name) for name in kept["left_out"]])
    return StoredRun(
        decode_run(about["run"], files.reference, files.candidate, arrays, labels),
        files,
        decode_answers(about["answers"]),
        criteria,
        str(about["created"]),
        str(about["version"]),
        samples,
        members.command,
    )


def damaged(path: Path, error: Exception) -> InvalidInput:
    """The error of a file whose content does not fit its format.

    Args:
        path: of the file.
        error: of reading it.

    Returns:
        The error.
    """
    return InvalidInput(
        f"{path} is damaged: {type(error).__name__} ({error})",
        hint="run diff with --save again, or copy the file again",
    )


def _not_stored(path: Path, error: OSError) -> InvalidInput:
    return InvalidInput(
        f"the run cannot be stored: {error.strerror or error}",
        hint=f"check the room and the permissions in {path.parent}, or set TMPDIR to another folder",
    )


def _missing_tests(missing: int) -> Iterator[str]:
    if missing:
        tests = "1 test is" if missing == 1 else f"{missing} tests are"
        yield f"{tests} not in the stored run, so some fixes are not verified: run diff again with the models for that"


def _missing_layers(layers: Collection[int]) -> Iterator[str]:
    if layers:
        some = "1 layer has" if len(layers) == 1 else f"{len(layers)} layers have"
        yield (
            f"{some} no isolated error, because the criteria of the stored run left it out: run diff again with the "
            "models for that"
        )


def _about_model(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = path.stat().st_size
    return {"name": path.name, "sha256": digest, "size_bytes": size, "stored": size <= STORED_MODEL_BYTES}


def _stored(files: RunFiles, models: Mapping[str, dict[str, Any]]) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path, one in ((files.reference, models["reference"]), (files.candidate, models["candidate"])):
        if one["stored"]:
            yield path, one


def _npz(state: Mapping[str, NDArray[Any]], labels: NDArray[Any] | None) -> bytes:
    arrays = dict(state) if labels is None else {**state, _LABELS: labels}
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    return content.getvalue()


def _model(
    stored: Mapping[str, bytes], about: Mapping[str, Any], side: str, given: Path | None, path: Path, folder: Path
) -> Path:
    """The file of a model: the one given, or the stored one, written below the folder.

    Raises:
        InvalidInput: the file is not the model that ran.
        NotFound: it is not stored, and not given.
        ValueError: the stored one is not the model that ran.
    """
    known = about["models"][side]
    digest, name = str(known["sha256"]), str(known["name"])
    if given is not None:
        if not given.is_file():
            raise NotFound(f"the {side} {given} does not exist", hint="give the file that ran, or leave it out")
        if _about_model(given)["sha256"] != digest:
            raise InvalidInput(
                f"the {side} {given} is not the model of {path}: its SHA-256 differs from {digest}",
                hint=f"give the {name} that ran",
            )
        return given
    content = stored.get(digest)
    if content is None:
        hint = f"run diff --from {path} REFERENCE CANDIDATE with the files that ran"
        raise NotFound(f"{path} does not store the {side} {name} (SHA-256 {digest})", hint=hint)
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f"the content of the {side} has another SHA-256")
    if not name or name != Path(name).name or "\\" in name or "\0" in name:
        raise ValueError(f"{name!r} is not a file name")
    target = folder / side / name
    target.parent.mkdir()
    target.write_bytes(content)
    return target
