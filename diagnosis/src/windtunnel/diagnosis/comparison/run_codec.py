"""A run as JSON, and back: the part of `run.json` that judging reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from windtunnel.accelerators import runtime_accelerator, spelled_in_comparisons
from windtunnel.datacheck.findings import Finding
from windtunnel.diagnosis.comparison.match_by_structure import matched_by_structure
from windtunnel.diagnosis.comparison.run_result import RunResult, RunSettings
from windtunnel.diagnosis.execution.output_pairs import OutputPairs
from windtunnel.diagnosis.execution.output_sums import OutputSums
from windtunnel.diagnosis.execution.pair_facts import PairFacts, Tensors
from windtunnel.diagnosis.execution.run_samples import empty_sums
from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.coverage import Unmatched
from windtunnel.diagnosis.findings.kinds.model_ends import (
    InputsExchanged,
    MovedOutput,
    OutputPlaces,
    OutputsExchanged,
)
from windtunnel.diagnosis.findings.trial import NO_TRIAL, OutputTrial, Trial
from windtunnel.diagnosis.graph import Matching, Pair
from windtunnel.diagnosis.graph.matching import node
from windtunnel.task_names import TaskSpec
from windtunnel.tasks.open_task import Asked
from windtunnel.tasks.task_sums import TaskDiff, TaskFigures

SCHEMA: Final = "windtunnel.run_result/1"
_FLOAT: Final = "float"
_SIDES: Final = ("reference", "candidate")
# JSON has no numbers that are not finite.
_WORDS: Final = ("inf", "-inf", "nan")


def encode_run(run: RunResult) -> dict[str, Any]:
    """A run as JSON values, without the models and the sums.

    Args:
        run: what was run.

    Returns:
        A JSON object.
    """
    matching = run.matching
    return {
        "settings": asdict(run.settings),
        "accelerator": spelled_in_comparisons(run.facts.accelerator),
        "lost": {
            "reference": [[*one] for one in run.facts.lost.reference.items()],
            "candidate": [[*one] for one in run.facts.lost.candidate.items()],
        },
        "pairs": _encoded_pairs(matching.pairs),
        "unmatched": [asdict(one) for one in matching.unmatched],
        "unmatched_reference": [asdict(one) for one in matching.unmatched_reference],
        "feedable": sorted(run.feedable),
        "overflowed": _encoded_pairs(run.overflowed),
        "outputs": {
            "same": [[*one] for one in run.outputs.same.items()],
            "causes": [_encoded_cause(one) for one in run.outputs.causes],
            "findings": [asdict(one) for one in run.outputs.findings],
        },
        "data": [asdict(one) for one in run.data],
        "asked": None if run.asked is None else asdict(run.asked),
        "task": None if run.task is None else asdict(run.task),
    }


def decode_run(
    kept: Mapping[str, Any],
    reference: Path,
    candidate: Path,
    sums: Mapping[str, NDArray[Any]],
    labels: NDArray[Any] | None,
) -> RunResult:
    """Reads a run.

    Args:
        kept: what `encode_run` gave.
        reference: the model that ran.
        candidate: the model that ran.
        sums: the state of the run's sums.
        labels: of the samples.

    Returns:
        The run.

    Raises:
        KeyError: it is not what `encode_run` gives.
        ValueError: it is not what `encode_run` gives.
        TypeError: it is not what `encode_run` gives.
        IndexError: it does not fit the models.
    """
    whole = matched_by_structure(reference, candidate)
    lost = Tensors(dict(map(tuple, kept["lost"]["reference"])), dict(map(tuple, kept["lost"]["candidate"])))
    facts = PairFacts(whole, lost, runtime_accelerator(kept["accelerator"]))
    matching = Matching(
        whole.reference,
        whole.candidate,
        _pairs(whole, kept["pairs"]),
        tuple(Unmatched(**one) for one in kept["unmatched"]),
        tuple(Unmatched(**one) for one in kept["unmatched_reference"]),
        whole.fused,
        whole.written_out,
    )
    outputs = OutputPairs(
        {int(key): int(value) for key, value in kept["outputs"]["same"]},
        tuple(_cause(one) for one in kept["outputs"]["causes"]),
        _findings(kept["outputs"]["findings"]),
    )
    models = whole.reference.facts, whole.candidate.facts
    # Runs of older versions name no task.
    spec = None if kept.get("asked") is None else _task_spec(kept["asked"])
    output_sums = OutputSums(*models, labels, outputs.same, facts.no_figure, Asked(spec))
    summed = empty_sums(whole.reference.facts, matching.pairs, output_sums)
    summed.restore(sums)
    return RunResult(
        _settings(kept["settings"]),
        facts,
        matching,
        frozenset(map(int, kept["feedable"])),
        _pairs(whole, kept["overflowed"]),
        summed,
        outputs,
        _findings(kept["data"]),
        spec,
        None if kept.get("task") is None else _task_diff(kept["task"]),
    )


def plain_json(value: Any) -> Any:
    """Makes a value plain JSON: numbers that are not finite become {"float": "inf"}, tuples become lists.

    Args:
        value: of dicts, lists, tuples and scalars.

    Returns:
        A JSON value.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: str(value)}
    if isinstance(value, Mapping):
        return {str(key): plain_json(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(one) for one in value]
    return value


def with_floats(value: Any) -> Any:
    """Reads what `plain_json` wrote; tuples stay lists.

    Args:
        value: JSON value.

    Returns:
        The value.

    Raises:
        ValueError: a number is not one that `plain_json` writes.
    """
    if isinstance(value, dict):
        if value.keys() == {_FLOAT}:
            if value[_FLOAT] not in _WORDS:
                raise ValueError(f"{value[_FLOAT]!r} is not a number")
            return float(value[_FLOAT])
        return {key: with_floats(one) for key, one in value.items()}
    return [with_floats(one) for one in value] if isinstance(value, list) else value


def _encoded_pairs(pairs: Iterable[Pair]) -> list[list[Any]]:
    return [
        [
            one.reference.tensor.index,
            one.candidate.tensor.index,
            None if one.permutation is None else list(one.permutation),
            one.by,
        ]
        for one in pairs
    ]


def _pairs(whole: Matching, kept: Iterable[Sequence[Any]]) -> tuple[Pair, ...]:
    return tuple(
        Pair(
            node(whole.reference, int(reference)),
            node(whole.candidate, int(candidate)),
            None if order is None else tuple(map(int, order)),
            str(by),
        )
        for reference, candidate, order, by in kept
    )


def _settings(kept: Mapping[str, Any]) -> RunSettings:
    ranges = kept["ranges"]
    ends = None if ranges is None else {name: (float(low), float(high)) for name, (low, high) in ranges.items()}
    return RunSettings(**{**kept, "ranges": ends})


def _task_spec(kept: Mapping[str, Any]) -> TaskSpec:
    return TaskSpec(**{**kept, "classes": tuple(kept["classes"])})


def _task_diff(kept: Mapping[str, Any]) -> TaskDiff:
    first, second = (TaskFigures(**{**kept[side], "confusion": _table(kept[side]["confusion"])}) for side in _SIDES)
    return TaskDiff(first, second, bool(kept["declared"]))


def _table(rows: Iterable[Iterable[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, row)) for row in rows)


def _findings(kept: Iterable[Mapping[str, Any]]) -> tuple[Finding, ...]:
    return tuple(Finding(**one) for one in kept)


def _encoded_cause(cause: Cause) -> dict[str, Any]:
    """A cause of `output_pairs`: exchanged outputs or inputs."""
    output = cause.trial.output
    return {
        "finding": asdict(cause.finding),  # type: ignore[call-overload]  # every kind is a dataclass
        "confidence": cause.confidence,
        "layer": cause.layer,
        "op_index": cause.op_index,
        "verified": cause.verified,
        "trial": None if output is None else [output.before, output.after],
        "rule": cause.rule,
    }


def _cause(kept: Mapping[str, Any]) -> Cause:
    found, trial = kept["finding"], kept["trial"]
    finding: CauseFinding
    if found["kind"] == "inputs":
        finding = InputsExchanged(exchanged=tuple(found["exchanged"]))
    else:
        moved = (MovedOutput(**{**one, "place": OutputPlaces(**one["place"])}) for one in found["outputs"])
        finding = OutputsExchanged(kind=found["kind"], outputs=tuple(moved))
    return Cause(
        finding,
        kept["confidence"],
        kept["layer"],
        kept["op_index"],
        kept["verified"],
        NO_TRIAL if trial is None else Trial(output=OutputTrial(trial[0], trial[1])),
        rule=kept["rule"],
    )
