"""Which output of the candidate is which of the reference: by what a caller goes by, and by the values.

A caller goes by the names of the signature, where both models have the same ones, and by the order. Where the values
say otherwise for either, outputs or inputs were exchanged on the way: the figures are those of outputs with the same
values, and the exchange is a cause. Native code runs here: call it as a job of `windtunnel.isolation.ChildPool`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice, permutations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.datacheck.findings import CONVERSION_OUTPUT_ORDER, INPUTS_EXCHANGE_UNTRIED, OUTPUTS_RENAMED, Finding
from windtunnel.diagnosis.execution.detection_slots import Slots
from windtunnel.diagnosis.execution.runnable_pair import RunnablePair
from windtunnel.diagnosis.feeding.paired_inputs import translate
from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.kinds.model_ends import InputsExchanged, MovedOutput, OutputPlaces, OutputsExchanged
from windtunnel.diagnosis.findings.trial import OutputTrial, Trial
from windtunnel.diagnosis.thresholds.confidences import OUTPUTS_PAIRED
from windtunnel.diagnosis.thresholds.execution_thresholds import (
    ALL_ORDERS_OUTPUTS,
    EXCHANGED_LEAST_ERROR,
    MOST_EXCHANGES,
    OUTPUT_PAIRING_SAMPLES,
    OUTPUT_PAIRING_VALUES,
    PAIRED_CLEARLY,
    PAIRED_SAME,
    UNCOMPARABLE,
)
from windtunnel.errors import UserError
from windtunnel.input_shapes import bare_name
from windtunnel.pipeline import Feed
from windtunnel.tasks.detection_outputs import detection_op
from windtunnel.tflite import ModelFacts, Runner, TensorFacts
from windtunnel.tflite.dtypes import NOT_VALUES
from windtunnel.tflite.tensor_error import nrmse_of

CODE: Final = "conversion.outputs"
RENAMED: Final = OUTPUTS_RENAMED
UNTRIED: Final = INPUTS_EXCHANGE_UNTRIED

Outputs = list[NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class OutputPairs:
    """`same`: the reference's output by the candidate's, tensor indices. Causes and findings about both sides' ends."""

    same: Mapping[int, int]
    causes: tuple[Cause, ...] = ()
    findings: tuple[Finding, ...] = ()


def pair_outputs(runnable: RunnablePair, given: Feed, count: int, structure: Mapping[int, int]) -> OutputPairs:
    """Pairs the outputs of two models.

    Args:
        runnable: the two models.
        given: the inputs.
        count: of samples that may be run.
        structure: the reference's outputs by the candidate's, as the graphs show, by tensor index.

    Returns:
        The pairs, with causes and findings.
    """
    reference, candidate = runnable.reference.facts, runnable.candidate.facts
    if len(reference.outputs) != len(candidate.outputs) or runnable.facts.keeps_state:
        return OutputPairs(structure)
    if len(candidate.outputs) == 1 and len(candidate.inputs) == 1:
        return OutputPairs(structure)
    samples = list(islice(given, min(count, OUTPUT_PAIRING_SAMPLES)))
    first, second = _Collected(reference), _Collected(candidate)
    for sample in samples:
        first.add(runnable.reference, sample)
        second.add(runnable.candidate, translate(sample, reference, candidate))
    return _paired(runnable, samples, first, second, structure)


def _paired(
    runnable: RunnablePair,
    samples: Sequence[Mapping[str, NDArray[Any]]],
    first: _Collected,
    second: _Collected,
    structure: Mapping[int, int],
) -> OutputPairs:
    reference, candidate = runnable.reference.facts, runnable.candidate.facts
    table = _distances(first, second)
    called = _called(reference, candidate)
    best = min(
        _orders(table, called, _by_structure(reference, candidate, structure)), key=lambda order: _cost(table, order)
    )
    placed = tuple(range(len(called)))
    if _is_clear(table, placed, best) and not _is_clear(table, called, best):
        # Names find them, places do not.
        return OutputPairs(_same(reference, candidate, called), (), (_listed_anew(reference, candidate, called),))
    if not _is_clear(table, called, best):
        causes, left = _exchanged_inputs(runnable, samples, first, called, _cost(table, called))
        same = structure if len(structure) == len(candidate.outputs) else _same(reference, candidate, called)
        return OutputPairs(same, causes, (*_renamed(reference, candidate, called), *left))
    if _names_of(reference).isdisjoint(_names_of(candidate)):
        # A conversion that gives outputs new names also gives them a new order: the user sees both.
        return OutputPairs(_same(reference, candidate, best), (), (_listed_anew(reference, candidate, best),))
    return OutputPairs(_same(reference, candidate, best), (_exchanged(reference, candidate, table, called, best),))


class _Collected:
    """The outputs of one model over the samples, in the order of its file; empty for what holds no numbers.

    `sizes` are how many values each has; of many, evenly spaced ones are kept.

    Args:
        facts: of the model.
    """

    def __init__(self, facts: ModelFacts) -> None:
        self._facts = facts
        op = detection_op(facts)
        self._slots = None if op is None else Slots(facts, op)
        self._rows: list[list[NDArray[np.float64]]] = [[] for _ in facts.outputs]
        self.sizes = [0] * len(facts.outputs)

    def add(self, runner: Runner, inputs: Mapping[str, NDArray[Any]]) -> None:
        made = runner.run(inputs, dequantized=True)
        made = made if self._slots is None else self._slots.without_unset(made)
        for place, tensor in enumerate(self._facts.outputs):
            if tensor.dtype not in NOT_VALUES and tensor.name in made:
                values = np.asarray(made[tensor.name], dtype=np.float64)
                self.sizes[place] += values.size
                self._rows[place].append(_spaced(values, OUTPUT_PAIRING_VALUES // OUTPUT_PAIRING_SAMPLES))

    @property
    def outputs(self) -> Outputs:
        """The values of each output that are kept, in one row."""
        return [np.concatenate(rows) if rows else np.empty(0) for rows in self._rows]


def _spaced(values: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """At most `most` of the values in one row, evenly spaced; a copy, so that the others can be freed."""
    row = values.ravel()
    layer = -(-row.size // most)
    return row if layer <= 1 else row[::layer].copy()


def _distances(first: _Collected, second: _Collected) -> NDArray[np.float64]:
    """nRMSE of every output of the reference (rows) with every one of the candidate; infinite for another size."""
    reference, candidate = first.outputs, second.outputs
    table = np.full((len(reference), len(candidate)), math.inf)
    for i, reference_output in enumerate(reference):
        for j, candidate_output in enumerate(candidate):
            if first.sizes[i] == second.sizes[j] and reference_output.shape == candidate_output.shape:
                table[i, j] = _distance(reference_output, candidate_output)
    return table


def _distance(reference_values: NDArray[np.float64], candidate_values: NDArray[np.float64]) -> float:
    if not reference_values.size or not (np.isfinite(reference_values).all() and np.isfinite(candidate_values).all()):
        return UNCOMPARABLE
    figure = nrmse_of(reference_values, candidate_values)
    return UNCOMPARABLE if figure is None else min(figure, UNCOMPARABLE)


def _called(reference: ModelFacts, candidate: ModelFacts) -> tuple[int, ...]:
    """The candidate's output for each of the reference's, as a caller finds it: by signature name, or by order."""
    names = [[model.output_name(tensor) for tensor in model.outputs] for model in (reference, candidate)]
    if (
        None not in names[0]
        and len(set(names[0])) == len(names[0])
        and sorted(map(str, names[0])) == sorted(map(str, names[1]))
    ):
        return tuple(names[1].index(name) for name in names[0])
    return tuple(range(len(reference.outputs)))


def _by_structure(reference: ModelFacts, candidate: ModelFacts, structure: Mapping[int, int]) -> tuple[int, ...] | None:
    places = {structure.get(tensor.index): place for place, tensor in enumerate(candidate.outputs)}
    order = [places.get(tensor.index) for tensor in reference.outputs]
    known = [place for place in order if place is not None]
    return tuple(known) if len(known) == len(order) == len(set(known)) else None


def _orders(
    table: NDArray[np.float64], called: tuple[int, ...], structure: tuple[int, ...] | None
) -> Iterator[tuple[int, ...]]:
    """The pairings to choose from; the caller's first, which wins where another is as near."""
    yield called
    if structure is not None:
        yield structure
    if len(table) <= ALL_ORDERS_OUTPUTS:
        yield from permutations(range(len(table)))
        return
    left, order = set(range(len(table))), []
    for row in table:
        order.append(min(left, key=lambda place: row[place]))
        left.remove(order[-1])
    yield tuple(order)


def _cost(table: NDArray[np.float64], order: Sequence[int]) -> float:
    return float(
        np.mean([table[reference_output, candidate_output] for reference_output, candidate_output in enumerate(order)])
    )


def _is_clear(table: NDArray[np.float64], called: Sequence[int], best: Sequence[int]) -> bool:
    """Whether the values say otherwise than the caller's pairing, and every output that moves is far closer."""
    moved = [
        (reference_output, candidate_output)
        for reference_output, candidate_output in enumerate(best)
        if called[reference_output] != candidate_output
    ]
    return bool(moved) and all(
        table[reference_output, candidate_output] < PAIRED_SAME
        and table[reference_output, candidate_output] * PAIRED_CLEARLY
        < table[reference_output, called[reference_output]]
        for reference_output, candidate_output in moved
    )


def _same(reference: ModelFacts, candidate: ModelFacts, order: Sequence[int]) -> dict[int, int]:
    return {
        candidate.outputs[candidate_output].index: reference.outputs[reference_output].index
        for reference_output, candidate_output in enumerate(order)
    }


def _title(model: ModelFacts, tensor: TensorFacts) -> str:
    return model.output_name(tensor) or tensor.name


def _exchanged(
    reference: ModelFacts, candidate: ModelFacts, table: NDArray[np.float64], called: Sequence[int], best: Sequence[int]
) -> Cause:
    """Outputs that hold what a caller takes for another one."""
    moved = [
        (reference_output, candidate_output)
        for reference_output, candidate_output in enumerate(best)
        if called[reference_output] != candidate_output
    ]
    found = _called(reference, candidate)
    by_name = _same_names(reference, candidate) and tuple(best) != found
    outputs = tuple(
        MovedOutput(
            _title(reference, reference.outputs[reference_output]),
            _title(candidate, candidate.outputs[candidate_output]),
            OutputPlaces(reference_output, candidate_output),
            nrmse=float(table[reference_output, candidate_output]),
            nrmse_as_called=float(table[reference_output, called[reference_output]]),
        )
        for reference_output, candidate_output in moved
    )
    tensor = candidate.outputs[moved[0][1]]
    maker = next((op.index for op in candidate.ops if tensor.index in op.outputs), None)
    finding = OutputsExchanged(kind="names" if by_name else "order", outputs=outputs)
    return Cause(finding, OUTPUTS_PAIRED, tensor.name, maker, verified=True, rule="outputs_agree_in_other_order")


def _same_names(reference: ModelFacts, candidate: ModelFacts) -> bool:
    names = [{model.output_name(tensor) for tensor in model.outputs} for model in (reference, candidate)]
    return None not in names[0] and names[0] == names[1]


def _names_of(model: ModelFacts) -> set[str]:
    """The names that a caller may know outputs by."""
    return {name for tensor in model.outputs for name in (model.output_name(tensor), bare_name(tensor.name)) if name}


def _listed_anew(reference: ModelFacts, candidate: ModelFacts, best: Sequence[int]) -> Finding:
    """That outputs have another order: under the same names, or under others altogether."""
    pairs = [
        {
            "reference": _title(reference, reference.outputs[reference_output]),
            "candidate": _title(candidate, candidate.outputs[candidate_output]),
        }
        for reference_output, candidate_output in enumerate(best)
    ]
    if _same_names(reference, candidate):
        order = ", ".join(f"{_title(candidate, tensor)!r}" for tensor in candidate.outputs)
        return Finding(
            CONVERSION_OUTPUT_ORDER,
            f"the candidate lists its outputs in another order ({order}); the names of the signature still find them",
            "read outputs by their names, or convert the model again with the outputs in the reference's order",
            {"outputs": pairs},
        )
    listed = ", ".join(f"{one['reference']!r} is {one['candidate']!r}" for one in pairs)
    return Finding(
        CONVERSION_OUTPUT_ORDER,
        f"outputs have other names in the candidate, in another order; by their values {listed}",
        "read them by their new names or in the new order, or keep names and order when you convert",
        {"outputs": pairs},
    )


def _renamed(reference: ModelFacts, candidate: ModelFacts, called: Sequence[int]) -> Iterator[Finding]:
    """That outputs have other places, or other names, while a caller still finds them one way."""
    if len(called) < 2:
        return
    names = [[model.output_name(tensor) for tensor in model.outputs] for model in (reference, candidate)]
    if None in names[0] or None in names[1] or _same_names(reference, candidate):
        return
    changed = [
        f"{reference_output!r} is {candidate_output!r}"
        for reference_output, candidate_output in zip(names[0], names[1], strict=True)
        if reference_output != candidate_output
    ]
    yield Finding(
        RENAMED,
        f"outputs have other names in the candidate, in the same order: {', '.join(changed)}",
        "read them by the new names, or keep the names when you convert",
        {"outputs": [{"reference": a, "candidate": b} for a, b in zip(names[0], names[1], strict=True)]},
    )


def _exchanged_inputs(
    runnable: RunnablePair,
    samples: Sequence[Mapping[str, NDArray[Any]]],
    expected: _Collected,
    called: Sequence[int],
    cost: float,
) -> tuple[tuple[Cause, ...], tuple[Finding, ...]]:
    """Two inputs of one shape and type with which the outputs are right once they are exchanged.

    A finding says if they are too many to try all.
    """
    reference, candidate = runnable.reference.facts, runnable.candidate.facts
    if cost < EXCHANGED_LEAST_ERROR:
        return (), ()
    exchangeable = [
        pair
        for pair in combinations(candidate.inputs, 2)
        if (pair[0].shape, pair[0].dtype) == (pair[1].shape, pair[1].dtype)
    ]
    for one, other in exchangeable[:MOST_EXCHANGES]:
        made = _Collected(candidate)
        try:
            for sample in samples:
                fed = translate(sample, reference, candidate)
                fed[one.name], fed[other.name] = fed[other.name], fed[one.name]
                made.add(runnable.candidate, fed)
        except UserError:
            continue
        new = _cost(_distances(expected, made), called)
        if new * PAIRED_CLEARLY < cost and new < PAIRED_SAME:
            names = [candidate.input_name(tensor) or tensor.name for tensor in (one, other)]
            cause = Cause(
                InputsExchanged(exchanged=tuple(names)),
                OUTPUTS_PAIRED,
                one.name,
                verified=True,
                trial=Trial(output=OutputTrial(cost, new)),
                rule="inputs_exchanged_agree",
            )
            return (cause,), ()
    return (), tuple(_untried(len(exchangeable)))


def _untried(pairs: int) -> Iterator[Finding]:
    """That not all exchanges of two inputs were tried."""
    if pairs > MOST_EXCHANGES:
        yield Finding(
            UNTRIED,
            f"the outputs differ, and {pairs} pairs of inputs have one shape and type: whether two of them were "
            f"exchanged was tried for the first {MOST_EXCHANGES} pairs only",
            "compare the order of the inputs in both models yourself",
            {"pairs": pairs, "tried": MOST_EXCHANGES},
        )
