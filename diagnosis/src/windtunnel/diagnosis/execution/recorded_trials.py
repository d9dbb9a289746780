"""Answers of trials on record: one adapter of `Trials` writes them down, the other answers from them without a model.

A question is known by what it asks: the kind of trial, the number of samples, and the SHA-256 of the model file that
a patch makes of the candidate. So a patch that another rule made the same way finds its answer.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from windtunnel.diagnosis.execution.trials import Trials, ValueSums
from windtunnel.diagnosis.findings.histogram import Histogram
from windtunnel.diagnosis.graph import Pair
from windtunnel.diagnosis.numerics.isolated_sums import Local
from windtunnel.diagnosis.numerics.layer_sums import LayerFigures
from windtunnel.diagnosis.static.suspect import Patch, all_of
from windtunnel.errors import InvalidInput, UserError, WindtunnelError
from windtunnel.tflite.edit import Editor

# An answer as JSON values: {"error": [message, hint]}, or {"is": ...}.
Answers = MutableMapping[str, dict[str, Any]]
Digest = Callable[[Path, Patch], str]
T = TypeVar("T")
NOT_RECORDED: Final = "the record has no answer: run diff again with the models"


class _Questions:
    """The names of what is asked: the same when answers are written down and when they are read.

    Args:
        candidate: the .tflite file.
        digest: names a patch of it, as `patched_sha256` does. A patch is named once.
    """

    def __init__(self, candidate: Path, digest: Digest) -> None:
        self._candidate, self._digest = candidate, digest
        self._names: dict[Patch, str] = {}

    def layers(self, samples: int) -> str:
        return f"layers {samples}"

    def other_kernels(self, samples: int) -> str:
        return f"other_kernels {samples}"

    def try_layers(self, patch: Patch) -> str:
        return f"try_layers {self._patched(patch)}"

    def try_output(self, patch: Patch) -> str:
        return f"try_output {self._patched(patch)}"

    def try_beyond(self, base: Patch | None, patch: Patch, samples: int) -> str:
        before = "candidate" if base is None else self._patched(base)
        after = self._patched(patch) if base is None else self._digest(self._candidate, all_of([base, patch]))
        return f"try_beyond {samples} {before} {after}"

    def observe(self, name: str, samples: int) -> str:
        return f"observe {samples} {name}"

    def histogram(self, pair: Pair, samples: int) -> str:
        return f"histogram {samples} {pair.reference.tensor.index} {pair.candidate.tensor.index}"

    def _patched(self, patch: Patch) -> str:
        if patch not in self._names:
            self._names[patch] = self._digest(self._candidate, patch)
        return self._names[patch]


class RecordingTrials:
    """Asks `live`, and writes down what it answers.

    Args:
        live: runs the models.
        candidate: the .tflite file.
        answers: the record to write to.
    """

    def __init__(self, live: Trials, candidate: Path, answers: Answers) -> None:
        self._live, self._answers = live, answers
        self._questions = _Questions(candidate, patched_sha256)

    def layers(self, samples: int) -> Mapping[int, Local]:
        """Implements `Trials.layers`."""
        return self._kept(self._questions.layers(samples), lambda: self._live.layers(samples), _errors_json)

    def other_kernels(self, samples: int) -> Mapping[int, Local]:
        """Implements `Trials.other_kernels`."""
        key = self._questions.other_kernels(samples)
        return self._kept(key, lambda: self._live.other_kernels(samples), _errors_json)

    def try_layers(self, patch: Patch) -> tuple[Mapping[int, Local], Mapping[int, Local]] | None:
        """Implements `Trials.try_layers`."""
        key = self._questions.try_layers(patch)
        return self._kept(key, lambda: self._live.try_layers(patch), lambda both: [_errors_json(one) for one in both])

    def try_output(self, patch: Patch) -> tuple[float, float] | None:
        """Implements `Trials.try_output`."""
        key = self._questions.try_output(patch)
        return self._kept(key, lambda: self._live.try_output(patch), list)

    def try_beyond(self, base: Patch | None, patch: Patch, samples: int) -> list[tuple[float, float]] | None:
        """Implements `Trials.try_beyond`."""
        key = self._questions.try_beyond(base, patch, samples)
        return self._kept(
            key, lambda: self._live.try_beyond(base, patch, samples), lambda all_: [[*one] for one in all_]
        )

    def observe(self, sums: Mapping[str, ValueSums], samples: int) -> None:
        """Implements `Trials.observe`."""
        self._live.observe(sums, samples)
        for name, one in sums.items():
            self._answers[self._questions.observe(name, samples)] = {"is": one.state()}

    def histograms(
        self, pairs: Sequence[Pair], figures: Sequence[LayerFigures], samples: int
    ) -> Sequence[Histogram | None]:
        """Implements `Trials.histograms`."""
        made = self._live.histograms(pairs, figures, samples)
        for pair, one in zip(pairs, made, strict=True):
            self._answers[self._questions.histogram(pair, samples)] = {"is": None if one is None else one.to_json()}
        return made

    def _kept(self, key: str, ask: Callable[[], T], to_json: Callable[[Any], Any]) -> T:
        try:
            found = ask()
        except UserError as error:
            self._answers[key] = {"error": [error.message, error.hint]}
            raise
        self._answers[key] = {"is": None if found is None else to_json(found)}
        return found


@dataclass(frozen=True, slots=True)
class Answered:
    """What a trial answered: a value of the type that the method of `Trials` returns, or an error."""

    value: Any = None
    error: InvalidInput | None = None


def decode_answers(kept: Mapping[str, Mapping[str, Any]]) -> dict[str, Answered]:
    """The answers of a record.

    Args:
        kept: what `RecordingTrials` wrote down.

    Returns:
        By question.

    Raises:
        KeyError: it is something else.
        ValueError: it is something else.
        TypeError: it is something else.
        IndexError: it is something else.
    """
    return {key: _decoded(key, answer) for key, answer in kept.items()}


class RecordedTrials:
    """Answers from a record. What it was not asked when the models ran is not known, and counted in `missing`.

    Args:
        candidate: the candidate's file.
        answers: of the run.
        digest: names a patch of the candidate as `patched_sha256` does.
    """

    def __init__(self, candidate: Path, answers: Mapping[str, Answered], *, digest: Digest | None = None) -> None:
        self._answers = answers
        self._questions = _Questions(candidate, patched_sha256 if digest is None else digest)
        self.missing = 0

    def layers(self, samples: int) -> Mapping[int, Local]:
        """Implements `Trials.layers`."""
        found: Mapping[int, Local] | None = self._answer(self._questions.layers(samples))
        if found is None:
            raise InvalidInput(NOT_RECORDED)
        return found

    def other_kernels(self, samples: int) -> Mapping[int, Local]:
        """Implements `Trials.other_kernels`."""
        found: Mapping[int, Local] | None = self._answer(self._questions.other_kernels(samples))
        return found or {}

    def try_layers(self, patch: Patch) -> tuple[Mapping[int, Local], Mapping[int, Local]] | None:
        """Implements `Trials.try_layers`."""
        found: tuple[Mapping[int, Local], Mapping[int, Local]] | None
        found = self._patched(lambda: self._questions.try_layers(patch))
        return found

    def try_output(self, patch: Patch) -> tuple[float, float] | None:
        """Implements `Trials.try_output`."""
        found: tuple[float, float] | None
        found = self._patched(lambda: self._questions.try_output(patch))
        return found

    def try_beyond(self, base: Patch | None, patch: Patch, samples: int) -> list[tuple[float, float]] | None:
        """Implements `Trials.try_beyond`."""
        found: list[tuple[float, float]] | None
        found = self._patched(lambda: self._questions.try_beyond(base, patch, samples))
        return found

    def observe(self, sums: Mapping[str, ValueSums], samples: int) -> None:
        """Implements `Trials.observe`."""
        for name, one in sums.items():
            state = self._answer(self._questions.observe(name, samples))
            if state is not None:
                one.restore(state)

    def histograms(
        self, pairs: Sequence[Pair], figures: Sequence[LayerFigures], samples: int
    ) -> Sequence[Histogram | None]:
        """Implements `Trials.histograms`."""
        # A histogram that was not drawn changes no answer: it is left out, not counted.
        return [self._answers.get(self._questions.histogram(pair, samples), Answered()).value for pair in pairs]

    def _patched(self, key: Callable[[], str]) -> Any:
        try:
            return self._answer(key())
        except WindtunnelError:
            # A patch that cannot be written was not run live either.
            return None

    def _answer(self, key: str) -> Any:
        kept = self._answers.get(key)
        if kept is None:
            self.missing += 1
            return None
        if kept.error is not None:
            raise kept.error
        return kept.value


def _decoded(key: str, answer: Mapping[str, Any]) -> Answered:
    if "error" in answer:
        message, hint = answer["error"]
        return Answered(error=InvalidInput(str(message), hint=str(hint)))
    value = answer["is"]
    return Answered(None if value is None else _DECODERS[key.split(" ", 1)[0]](value))


def patched_sha256(candidate: Path, patch: Patch) -> str:
    """The SHA-256 of the file that a patch makes of the candidate.

    Args:
        candidate: the .tflite file.
        patch: the change.

    Returns:
        Hexadecimal digits; those of the error if the file cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="windtunnel-patched-") as folder:
            editor = Editor(candidate)
            patch(editor)
            return hashlib.sha256(editor.write(Path(folder, "patched.tflite")).read_bytes()).hexdigest()
    except UserError as error:
        return hashlib.sha256(error.message.encode()).hexdigest()


def _errors_json(errors: Mapping[int, Local]) -> list[list[Any]]:
    return [[index, *(getattr(one, name) for name in _FIELDS)] for index, one in errors.items()]


def _errors(kept: Sequence[Sequence[Any]]) -> dict[int, Local]:
    return dict(_with_index(kept))


def _with_index(kept: Sequence[Sequence[Any]]) -> Iterator[tuple[int, Local]]:
    for index, *values in kept:
        samples, nrmse, rmse, max_abs, *others = values
        if len(_FIELDS) != len(values):
            raise ValueError(f"{len(values)} numbers are not an isolated error")
        errors = _or_none(nrmse), _or_none(rmse), _or_none(max_abs)
        yield int(_number(index)), Local(int(_number(samples)), *errors, *map(_number, others))


def _or_none(kept: Any) -> float | None:
    return None if kept is None else _number(kept)


def _number(kept: Any) -> float:
    """A number of the record, as it is.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(kept, bool) or not isinstance(kept, int | float):
        raise TypeError(f"{kept!r:.50} is not a number")
    return kept


def _histogram(kept: Mapping[str, Any]) -> Histogram:
    edges, *counts = ([_number(one) for one in kept[side]] for side in ("edges", "reference", "candidate"))
    if not all(map(math.isfinite, edges)) or any(len(one) != len(edges) - 1 for one in counts):
        raise ValueError("a histogram has edges or counts that cannot be")
    reference, candidate = (tuple(int(one) for one in side) for side in counts)
    return Histogram(tuple(edges), reference, candidate)


def _two(kept: Sequence[Any]) -> tuple[float, float]:
    before, after = kept
    return float(before), float(after)


def _both(kept: Sequence[Any]) -> tuple[Mapping[int, Local], Mapping[int, Local]]:
    before, after = kept
    return _errors(before), _errors(after)


_FIELDS: Final = tuple(Local.__dataclass_fields__)
# How the value of an answer is read, by the kind of trial: the first word of the question.
_DECODERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "layers": _errors,
    "other_kernels": _errors,
    "try_layers": _both,
    "try_output": _two,
    "try_beyond": lambda kept: [_two(one) for one in kept],
    "observe": lambda kept: [float(one) for one in kept],
    "histogram": _histogram,
}
