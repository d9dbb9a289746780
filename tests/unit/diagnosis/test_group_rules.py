"""The table of rules over all suspects: each rule by itself, what it leaves alone, and the order of the stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from support.cause_findings import kind_of
from support.graphs import dense_model
from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.kinds.constants import InputScale, InputScaleDiffers, WeightsDiffer
from windtunnel.diagnosis.findings.kinds.ranges import CalibrationClipped, FileAndFitting, RangeClipped, RangeTooWide
from windtunnel.diagnosis.graph import Matching, match_layers
from windtunnel.diagnosis.rules.explained_by_others import STAGES, Group, GroupRule, explain_by_others
from windtunnel.diagnosis.rules.suspect_rules import Decision, Outcome
from windtunnel.diagnosis.rules.tried_suspect import TriedSuspect
from windtunnel.diagnosis.static.suspect import Patch, Suspect
from windtunnel.tflite import read_model
from windtunnel.tflite.edit import Editor

# The layers of the model of these tests by the index of their tensor, in execution order.
TENSORS = {"hidden_1": 3, "hidden_2": 6, "logits": 9, "probabilities": 10}
LAYERS = tuple(TENSORS)
RULES = {rule.name: rule for stage in STAGES for rule in stage}
Errors = tuple[float | None, float | None]

WEIGHTS = kind_of(WeightsDiffer)
ROUNDED = replace(WEIGHTS, largest_difference_steps=8.0)
CLIPPED = kind_of(RangeClipped)
# It holds 16 real units.
WIDE = replace(kind_of(RangeTooWide), held=(0.0, 16.0))
CALIBRATION = kind_of(CalibrationClipped)
BIAS = replace(WEIGHTS, constant="b", role="bias", relative_difference=0.5)
SCALE_OFF = replace(CLIPPED, scale=FileAndFitting(0.15, 0.1))
INPUT_SCALE_OFF = replace(kind_of(InputScaleDiffers), scale=InputScale(0.5, 1.5))


@dataclass
class Runs:
    """Runs of the candidate with a change, of which the answer is known."""

    answer: tuple[float, float] | None = None
    asked: int = 0

    def try_output(self, patch: Patch) -> tuple[float, float] | None:
        self.asked += 1
        return self.answer


def patch(editor: Editor) -> None:
    raise AssertionError("the runs of these tests change no file")


@pytest.fixture(scope="module")
def matching(tmp_path_factory: pytest.TempPathFactory) -> Matching:
    facts = read_model(dense_model(tmp_path_factory.mktemp("group") / "m.tflite"))
    assert {facts.tensors[op.outputs[0]].name: op.outputs[0] for op in facts.ops} == TENSORS
    return match_layers(facts, facts)


def tried(
    finding: CauseFinding,
    layer: str,
    errors: Errors = (0.1, 0.0),
    output: Errors = (None, None),
    *,
    reads: str = "",
    was_tried: bool = True,
) -> TriedSuspect:
    """A suspect at a layer, with its isolated error and its output error, without and with the fix."""
    place = TENSORS[layer]
    suspect = Suspect(
        finding,
        layer,
        LAYERS.index(layer),
        place,
        plain=False,
        patch=patch,
        tensors=frozenset({place}),
        reads=TENSORS.get(reads, -1),
    )
    return TriedSuspect(suspect, "integer", *errors, *output, tried=was_tried)


@dataclass(frozen=True)
class Case:
    """Causes of a group, and which of them a rule explains."""

    rule: str
    causes: Sequence[TriedSuspect]
    explained: Sequence[int]
    # Suspects of the group that are not causes (any more).
    others: Sequence[TriedSuspect] = ()
    runs: tuple[float, float] | None = None
    reached: tuple[float, float] | None = None


def rounded(layer: str, errors: Errors = (0.007, 0.007), finding: CauseFinding = ROUNDED) -> TriedSuspect:
    return tried(finding, layer, errors)


def harming(layer: str, finding: CauseFinding = WEIGHTS) -> TriedSuspect:
    """Constants whose fix makes the output worse."""
    return tried(finding, layer, output=(0.01, 0.2))


THREE = tuple(rounded(layer) for layer in LAYERS[:3])
FAULT = tried(WEIGHTS, "hidden_2")
IN_VAIN = tried(BIAS, "logits", reads="hidden_2")

CASES = {
    "integers that are rounded otherwise in three layers": Case("rounded_by_quantizer", THREE, [0, 1, 2]),
    "they need not all be causes": Case("rounded_by_quantizer", THREE[:1], [0], others=THREE[1:]),
    "the fix was not tried": Case(
        "rounded_by_quantizer", [*THREE[:2], tried(ROUNDED, "logits", (None, None), was_tried=False)], [0, 1, 2]
    ),
    "in two layers it is a fault": Case("rounded_by_quantizer", THREE[:2], []),
    "more than eight steps": Case(
        "rounded_by_quantizer",
        [*THREE[:2], rounded("logits", finding=replace(WEIGHTS, largest_difference_steps=8.1))],
        [0, 1],
    ),
    "an error above that of rounding": Case(
        "rounded_by_quantizer", [*THREE[:2], rounded("logits", (0.009, 0.009))], [0, 1]
    ),
    "a fix that helps": Case("rounded_by_quantizer", [*THREE[:2], rounded("logits", (0.007, 0.0))], [0, 1]),
    "a fix that could not be run": Case("rounded_by_quantizer", [*THREE[:2], rounded("logits", (0.007, None))], [0, 1]),
    "constants that balance": Case(
        "constants_balance", [harming("hidden_1"), harming("hidden_2")], [0, 1], runs=(0.01, 0.01)
    ),
    "fixing all of them helps": Case(
        "constants_balance", [harming("hidden_1"), harming("hidden_2")], [], runs=(0.012, 0.01)
    ),
    "all fixes could not be run": Case("constants_balance", [harming("hidden_1"), harming("hidden_2")], []),
    "one alone balances nothing": Case("constants_balance", [harming("hidden_1")], [], runs=(0.01, 0.01)),
    "a fix that does no harm balances nothing": Case(
        "constants_balance",
        [harming("hidden_1"), harming("hidden_2"), tried(WEIGHTS, "logits", output=(0.01, 0.0114))],
        [0, 1],
        runs=(0.01, 0.01),
    ),
    "ranges balance nothing": Case(
        "constants_balance", [harming("hidden_1"), harming("hidden_2", CLIPPED)], [], runs=(0.01, 0.01)
    ),
    "a range of the fault's own layer": Case("range_follows_fault", [FAULT, tried(CLIPPED, "hidden_2")], [1]),
    "a range behind a fault": Case("range_follows_fault", [FAULT, tried(CLIPPED, "probabilities")], [1]),
    "a range before a fault": Case("range_follows_fault", [FAULT, tried(CLIPPED, "hidden_1")], []),
    "a fault that precision explains": Case(
        "range_follows_fault", [tried(WEIGHTS, "hidden_2", (0.0009, 0.0)), tried(CLIPPED, "logits")], []
    ),
    "a range is not a fault of the conversion": Case(
        "range_follows_fault", [tried(CLIPPED, "hidden_2"), tried(CLIPPED, "logits")], []
    ),
    "constants behind a fault": Case("range_follows_fault", [FAULT, tried(WEIGHTS, "logits")], []),
    "a wide range that fits what the candidate reaches": Case(
        "range_follows_fault", [FAULT, tried(WIDE, "logits")], [1], reached=(0.0, 10.0)
    ),
    "a wide range that fits nothing": Case(
        "range_follows_fault", [FAULT, tried(WIDE, "logits")], [], reached=(0.0, 9.9)
    ),
    "zero belongs to what a range must hold": Case(
        "range_follows_fault", [FAULT, tried(WIDE, "logits")], [1], reached=(9.0, 10.0)
    ),
    "a wide range of which nothing is known": Case("range_follows_fault", [FAULT, tried(WIDE, "logits")], [1]),
    "a calibration after a fault": Case("range_follows_fault", [FAULT, tried(CALIBRATION, "hidden_2")], [1]),
    "a calibration before a fault": Case("range_follows_fault", [FAULT, tried(CALIBRATION, "hidden_1")], []),
    "a bias behind a wrong scale": Case("bias_follows_scale", [tried(SCALE_OFF, "hidden_2"), IN_VAIN], [1]),
    "a bias behind a wrong scale of the input": Case(
        "bias_follows_scale", [tried(INPUT_SCALE_OFF, "hidden_2"), IN_VAIN], [1]
    ),
    "a bias of another layer": Case(
        "bias_follows_scale", [tried(SCALE_OFF, "hidden_2"), tried(BIAS, "logits", reads="hidden_1")], []
    ),
    "a bias that is off by more": Case(
        "bias_follows_scale",
        [
            tried(SCALE_OFF, "hidden_2"),
            tried(replace(BIAS, relative_difference=0.9), "logits", reads="hidden_2"),
        ],
        [],
    ),
    "a bias that differs from zeros": Case(
        "bias_follows_scale",
        [tried(SCALE_OFF, "hidden_2"), tried(replace(BIAS, relative_difference=None), "logits", reads="hidden_2")],
        [],
    ),
    "a bias that is as it was behind other weights": Case(
        "bias_follows_scale", [FAULT, tried(replace(BIAS, relative_difference=0.0), "logits", reads="hidden_2")], []
    ),
    "a bias behind other weights": Case("bias_follows_scale", [FAULT, IN_VAIN], []),
    "a range is not a bias": Case(
        "bias_follows_scale", [tried(SCALE_OFF, "hidden_2"), tried(CLIPPED, "logits", reads="hidden_2")], []
    ),
}


def group_of(case: Case, matching: Matching) -> Group:
    reached = {} if case.reached is None else {TENSORS["logits"]: case.reached}
    suspects = [one.suspect for one in (*case.causes, *case.others)]
    return Group(matching, suspects, case.causes, reached, Runs(case.runs))


def as_causes(causes: Sequence[TriedSuspect]) -> list[Decision]:
    return [Decision(one, Outcome.CAUSE, "fix_helps", "") for one in causes]


@pytest.mark.parametrize("name", CASES)
def test_a_rule_explains_these_causes_and_no_others(name: str, matching: Matching) -> None:
    case = CASES[name]
    explained = RULES[case.rule].explained(group_of(case, matching))
    assert [place for place, one in enumerate(case.causes) if one in explained] == case.explained


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.explained])
def test_the_table_records_the_rule_and_says_why(name: str, matching: Matching) -> None:
    case, causes = CASES[name], as_causes(CASES[name].causes)
    found = explain_by_others(causes, group_of(case, matching))
    rule = RULES[case.rule]
    assert [place for place, one in enumerate(found) if one.rule == case.rule] == case.explained
    for place in case.explained:
        assert found[place].outcome is rule.outcome and repr(found[place].tested.suspect.layer) in found[place].reason


def test_every_rule_has_cases_for_and_against() -> None:
    for_it = {case.rule for case in CASES.values() if case.explained}
    against = {case.rule for case in CASES.values() if len(case.explained) < len(case.causes)}
    assert for_it == against == set(RULES)


# What an earlier stage explains is not a cause for the stages behind it: the decisions, and those with the two swapped.
ORDER = {
    ("rounded_by_quantizer", "constants_balance"): (
        [tried(ROUNDED, layer, (0.007, 0.007), (0.01, 0.2)) for layer in LAYERS[:3]],
        ["rounded_by_quantizer"] * 3,
        ["constants_balance"] * 3,
    ),
    ("constants_balance", "range_follows_fault"): (
        [harming("hidden_1"), harming("hidden_2"), tried(CLIPPED, "logits")],
        ["constants_balance", "constants_balance", "fix_helps"],
        ["constants_balance", "constants_balance", "range_follows_fault"],
    ),
    ("rounded_by_quantizer", "range_follows_fault"): (
        [*THREE, tried(CLIPPED, "logits")],
        ["rounded_by_quantizer"] * 3 + ["fix_helps"],
        ["rounded_by_quantizer"] * 3 + ["range_follows_fault"],
    ),
}


@pytest.mark.parametrize(("first", "later"), ORDER)
def test_the_order_of_the_stages_is_the_policy(first: str, later: str, matching: Matching) -> None:
    causes, expected, swapped = ORDER[first, later]
    group = Group(matching, [one.suspect for one in causes], causes, {}, Runs((0.01, 0.01)))

    def decided(stages: Sequence[Sequence[GroupRule]]) -> list[str]:
        return [one.rule for one in explain_by_others(as_causes(causes), group, stages)]

    by_rule = {rule.name: stage for stage in STAGES for rule in stage}
    assert decided(STAGES) == expected
    assert decided([by_rule[later], by_rule[first]]) == swapped


def test_neighboring_stages_are_in_the_order_above() -> None:
    names = [[rule.name for rule in stage] for stage in STAGES]
    for one, other in pairwise(names):
        assert any((first, later) in ORDER for first in one for later in other)


def test_rules_of_one_stage_see_the_same_causes(matching: Matching) -> None:
    """A range that follows a fault still explains the bias behind it."""
    causes = [FAULT, tried(SCALE_OFF, "logits"), tried(BIAS, "probabilities", reads="logits")]
    group = Group(matching, [one.suspect for one in causes], causes, {}, Runs())
    expected = ["fix_helps", "range_follows_fault", "bias_follows_scale"]
    for stages in (STAGES, [*STAGES[:-1], STAGES[-1][::-1]]):
        assert [one.rule for one in explain_by_others(as_causes(causes), group, stages)] == expected


def test_what_is_not_a_cause_is_left_as_it_is(matching: Matching) -> None:
    excluded = [Decision(one, Outcome.EXCLUDED, "within_precision", "small") for one in THREE]
    group = Group(matching, [one.suspect for one in THREE], [], {}, Runs())
    assert explain_by_others(excluded, group) == excluded
