"""Answers to the cases of the fault matrix, from their stored runs or from new ones, and which of two is worse."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.diagnosis.cases import Outcome
from benchmarks.diagnosis.patch_digests import PatchDigests
from benchmarks.diagnosis.stored_cases import StoredCase
from windtunnel.diagnosis import compare_models
from windtunnel.diagnosis.comparison.explain import isolated_pairs
from windtunnel.diagnosis.comparison.judge_run import judge_run, layers_to_judge
from windtunnel.diagnosis.comparison.run_archive import StoredRun, stored_run
from windtunnel.diagnosis.execution.recorded_trials import RecordedTrials
from windtunnel.diagnosis.findings.comparison import Comparison


@dataclass(frozen=True)
class Answer:
    """An answer to a case.

    `outcome`: judged by what is expected; None: the diagnosis failed with `error`. `said`: all of it that is compared.
    `missing`: something that it asked is not in the stored run, so it is not what a run would give.
    """

    outcome: Outcome | None
    said: tuple[Any, ...]
    missing: bool = False
    error: str = ""

    @property
    def grade(self) -> int:
        """2: right; 1: no cause, and healthy; 0: wrong."""
        if self.outcome is None:
            return 0
        return 2 if self.outcome.right else 1 if self.outcome.quiet else 0

    def is_worse(self, before: Answer) -> bool:
        """Whether this answer is worse than another one to the same case: less right, or right with another verdict."""
        if self.outcome is None or before.outcome is None:
            return self.outcome is None
        if self.grade != before.grade:
            return self.grade < before.grade
        return self.grade == 2 and self.outcome.verdict != before.outcome.verdict

    def __str__(self) -> str:
        if self.outcome is None:
            return self.error
        code, layer = self.outcome.code, self.outcome.layer
        return f"{self.outcome.verdict}, {code or 'no cause'}" + ("" if layer is None else f" at {layer}")


class OpenCase:
    """A case whose stored run is read: judged again as often as needed, or run again.

    Args:
        stored: the case.
        stack: closes its run.
    """

    def __init__(self, stored: StoredCase, stack: ExitStack) -> None:
        self.stored = stored
        self._run: StoredRun = stack.enter_context(stored_run(stored.run))
        self._answers = dict(self._run.answers)
        self._digests = PatchDigests()
        self._isolated = self._isolated_layers()
        self.recorded = self.judge()

    @property
    def name(self) -> str:
        """The name of the case."""
        return self.stored.case.spec.name

    def judge(self) -> Answer:
        """The answer from the stored run, with the thresholds as they are now."""
        try:
            trials = RecordedTrials(self._run.files.candidate, self._answers, digest=self._digests.of)
            matched = layers_to_judge(self._run.run, self._run.criteria)
            found = judge_run(self._run.run, matched, trials, self._run.criteria)
            missing = trials.missing > 0 or not self._isolated_layers() <= self._isolated
        except Exception as error:  # noqa: BLE001  # a changed threshold may break anything; that is a result
            return Answer(None, (), error=f"{type(error).__name__}: {error}")
        return self._answer(found, missing=missing)

    def run(self, *, keep: bool = False) -> Answer:
        """The answer from running the models, with the thresholds as they are now.

        Args:
            keep: what trials answered that the stored run does not hold is kept for later judgments; false if the
                threshold that is changed is one that trials depend on.
        """
        files = self._run.files
        with TemporaryDirectory(prefix="windtunnel-sweep-") as folder:
            save = Path(folder, "again.wtr") if keep else None
            try:
                found = compare_models(files.reference, files.candidate, self.stored.samples, save=save)
                if save is not None:
                    with stored_run(save) as again:
                        self._answers = {**again.answers, **self._answers}
            except Exception as error:  # noqa: BLE001  # a changed threshold may break anything; that is a result
                return Answer(None, (), error=f"{type(error).__name__}: {error}")
        return self._answer(found)

    def _answer(self, found: Comparison, *, missing: bool = False) -> Answer:
        document = found.to_json()
        said = (
            document["verdict"],
            tuple(_cause(one) for one in document["causes"]),
            tuple((one["code"], one.get("rule")) for one in document.get("excluded", ())),
            tuple(one["code"] for one in document.get("findings", ())),
            tuple(tuple(note["kind"] for note in one["why"]) for one in document["layers"]),
        )
        return Answer(self.stored.outcome(document), said, missing)

    def _isolated_layers(self) -> set[int]:
        matched = layers_to_judge(self._run.run, self._run.criteria)
        return {pair.candidate.tensor.index for pair in isolated_pairs(self._run.run, matched)}


def _cause(one: dict[str, Any]) -> tuple[Any, ...]:
    return one["code"], one["place"]["layer"], one["place"]["op_index"], one["confidence"], one.get("rule")
