"""Runs that `diff` stores, and judges again without the models."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from windtunnel.cli.io.console import say
from windtunnel.cli.io.files import write_file_whole
from windtunnel.datacheck.findings import Finding, distinct
from windtunnel.errors import InvalidInput

if TYPE_CHECKING:
    from windtunnel.diagnosis import Comparison
    from windtunnel.diagnosis.comparison.criteria import Criteria
    from windtunnel.diagnosis.comparison.run_archive import StoredRun
    from windtunnel.tflite import ModelFacts

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CommandFacts:
    """What `diff` knows in addition to the run.

    `reference`, `candidate`: the files as the user named them. `converted`: the checks of conversions, by side.
    `sound`: each converted model computes what the original computes.
    """

    reference: str
    candidate: str
    findings: tuple[Finding, ...] = ()
    converted: Mapping[str, Any] | None = None
    sound: bool = True

    def to_json(self) -> dict[str, Any]:
        """The document `command.json` of a stored run."""
        return {
            "reference": self.reference,
            "candidate": self.candidate,
            "findings": [one.to_json() for one in self.findings],
            "converted": None if self.converted is None else dict(self.converted),
            "sound": self.sound,
        }


@dataclass(frozen=True, slots=True)
class GivenCriteria:
    """What a user asks to judge by. None: not given."""

    threshold: float | None = None
    metric: str | None = None
    left_out: tuple[str, ...] | None = None

    def require_possible(self) -> None:
        """Raises UsageError if a run cannot be judged by what is given, before anything runs."""
        # The rules take long to load; a threshold alone has been checked with the other options.
        if self.metric is not None or self.left_out:
            from windtunnel.diagnosis.comparison.criteria import Criteria

            self.or_those_of(Criteria())

    def or_those_of(self, known: Criteria) -> Criteria:
        """The criteria to judge by; what is not given is taken from those known.

        Args:
            known: the criteria of the stored run.

        Returns:
            The criteria.

        Raises:
            UsageError: they contradict each other, or a value is not valid.
        """
        from windtunnel.diagnosis.comparison.criteria import criteria_of

        threshold = known.limit.threshold if self.threshold is None else self.threshold
        metric = known.limit.metric if self.metric is None else self.metric
        if metric != known.limit.metric and self.threshold is None:
            raise click.UsageError(
                f"--metric {metric} needs --threshold, in the unit of {metric} (docs/metrics.md): {threshold:g} is for "
                f"{known.limit.metric}."
            )
        try:
            return criteria_of(threshold, metric, known.rules.left_out if self.left_out is None else self.left_out)
        except InvalidInput as error:
            raise click.UsageError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Judged:
    """The diagnosis document of a run, what the command knows in addition to it, and the candidate as .tflite."""

    document: dict[str, Any]
    command: CommandFacts
    candidate: ModelFacts


def diagnosis_document(found: Comparison, synthetic: bool, command: CommandFacts) -> dict[str, Any]:
    """The diagnosis of a comparison as JSON, with what conversions add.

    Args:
        found: the comparison.
        synthetic: the samples were random.
        command: what `diff` knows in addition.

    Returns:
        The document `windtunnel.diagnosis/1`.
    """
    document = found.to_json() | {"synthetic_samples": synthetic}
    if command.converted is not None:
        document["findings"] = [one.to_json() for one in distinct((*command.findings, *found.findings))]
        document["converted"] = dict(command.converted)
    return document


def store_run(made: Path, path: Path, command: CommandFacts, *, force: bool) -> None:
    """Completes a stored run, and copies it to its path, completely or not at all.

    Args:
        made: the file that the comparison wrote.
        path: where the user wants it.
        command: what `diff` knows in addition to the run.
        force: replace a file that exists.

    Raises:
        Conflict: another process has created the file in the meantime, and `force` is not set.
        InvalidInput: it cannot be written.
    """
    from windtunnel.diagnosis.comparison.run_archive import add_command

    add_command(made, command.to_json())
    write_file_whole(path, lambda target: shutil.copyfile(made, target), force=force)
    say(f"wrote {path}")


def judge_stored(path: Path, models: tuple[Path, Path] | None, given: GivenCriteria) -> Judged:
    """Judges a stored run again, and says which.

    Args:
        path: the file of `diff --save`.
        models: reference and candidate, if the file does not store them.
        given: what the user asks to judge by; what is not given is as it was when the models ran.

    Returns:
        The judgment, with what the command knew when the models ran.

    Raises:
        InvalidInput: the file is not a run, or is damaged; a model is not the one that ran.
        NotFound: the file or a model does not exist.
    """
    from windtunnel.diagnosis.comparison.run_archive import stored_run
    from windtunnel.tflite import read_model

    with stored_run(path, *(models or (None, None))) as run:
        command = _command(path, run)
        say(_title(path, run, command))
        criteria = given.or_those_of(run.criteria)
        try:
            found = run.judge(criteria)
            document = diagnosis_document(found, run.run.settings.synthetic, command)
            json.dumps(document, allow_nan=False)
        except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, MemoryError) as error:
            # Values that no run has, or a bug: the message must be true of both.
            if os.environ.get("WINDTUNNEL_DEBUG"):
                log.exception("judging failed")
            raise InvalidInput(
                f"{path} cannot be judged: {type(error).__name__} ({str(error)[:200]})",
                hint="copy the file again, or run diff again with the models; WINDTUNNEL_DEBUG=1 shows where",
            ) from error
        return Judged(document, command, read_model(run.files.candidate))


def _command(path: Path, run: StoredRun) -> CommandFacts:
    from windtunnel.diagnosis.comparison.run_archive import damaged

    kept = run.command
    if kept is None:
        return CommandFacts(run.files.reference.name, run.files.candidate.name)
    try:
        return CommandFacts(
            str(kept["reference"]),
            str(kept["candidate"]),
            _findings(kept["findings"]),
            None if kept["converted"] is None else dict(kept["converted"]),
            bool(kept["sound"]),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise damaged(path, error) from error


def _findings(kept: Sequence[Mapping[str, Any]]) -> tuple[Finding, ...]:
    return tuple(Finding(one["code"], one["message"], one["fix"] or "", one["evidence"]) for one in kept)


def _title(path: Path, run: StoredRun, command: CommandFacts) -> str:
    from windtunnel.plain_text import clean

    settings = run.run.settings
    samples = "1 sample" if settings.count == 1 else f"{settings.count} samples"
    source = "random inputs" if settings.synthetic else clean(str(run.samples))
    return (
        f"{path}: {clean(command.candidate)} compared with {clean(command.reference)} on {samples} ({source}), run "
        f"{clean(run.created)} by version {clean(run.version)}"
    )
