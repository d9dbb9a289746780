"""The table that decides which tested suspects are causes: every rule by itself, and their order."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

import windtunnel.diagnosis
from support.cause_findings import kind_of, sample_of
from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.kinds.constants import WeightsDiffer
from windtunnel.diagnosis.findings.kinds.ops import AttributeDiffers
from windtunnel.diagnosis.findings.kinds.ranges import RangeTooWide
from windtunnel.diagnosis.rules.explained_by_others import STAGES
from windtunnel.diagnosis.rules.suspect_rules import RULES, Outcome, decide
from windtunnel.diagnosis.rules.tried_suspect import TriedSuspect
from windtunnel.diagnosis.static.suspect import Suspect

WEIGHTS, OP, PER_TENSOR = (
    sample_of(code) for code in (CauseCode.CONVERSION_WEIGHTS, CauseCode.CONVERSION_OP, CauseCode.PER_TENSOR)
)
OPERAND = replace(kind_of(WeightsDiffer), role="operand")
ATTRIBUTE = kind_of(AttributeDiffers)
RANGE = replace(kind_of(RangeTooWide), doubtful=False, behind_float=False)
DOUBTFUL = replace(RANGE, doubtful=True)
BEHIND_FLOAT = replace(DOUBTFUL, behind_float=True)


def tried(
    finding: CauseFinding = WEIGHTS,
    layer: tuple[float | None, float | None] = (0.1, 0.0),
    output: tuple[float | None, float | None] = (None, None),
    *,
    plain: bool = False,
    precision: str = "integer",
    was_tried: bool = True,
) -> TriedSuspect:
    """A suspect with its isolated error and its output error, without and with the fix."""
    suspect = Suspect(finding, "{conv}", 3, 7, plain=plain)
    return TriedSuspect(suspect, precision, *layer, *output, tried=was_tried)


# A rule, a suspect that it decides, and a neighbor that it leaves to a later rule.
CASES = [
    pytest.param(
        "constants_compensate",
        tried(layer=(0.001, 0.2), output=(0.01, 0.2), plain=True),
        tried(layer=(0.1, 0.2), output=(0.01, 0.2), plain=True),
        id="the fix makes layer and output worse",
    ),
    pytest.param(
        "constants_compensate",
        tried(layer=(0.001, 0.2), output=(0.01, 0.2), plain=True),
        tried(layer=(0.001, 0.2), output=(0.01, 0.0112), plain=True),
        id="the output hardly changes",
    ),
    pytest.param(
        "attribute_restated",
        tried(ATTRIBUTE, (0.0, 0.0), plain=True),
        tried(ATTRIBUTE, (0.1, 0.0), plain=True),
        id="another attribute",
    ),
    pytest.param(
        "op_equal_to_rounding",
        tried(OP, (9e-7, 0.0), plain=True),
        tried(OP, (2e-6, 0.0), plain=True),
        id="another op within float32 rounding",
    ),
    pytest.param(
        "op_equal_to_rounding",
        tried(OP, (9e-7, 0.0), plain=True),
        tried(WEIGHTS, (9e-7, 0.0), plain=True),
        id="weights are not an op",
    ),
    pytest.param(
        "bound_out_of_reach",
        tried(OPERAND, layer=(1e-4, 0.0), plain=True),
        tried(OPERAND, layer=(1e-3, 0.0), plain=True),
        id="a bound that shows nothing",
    ),
    pytest.param(
        "bound_out_of_reach",
        tried(OPERAND, layer=(None, None), plain=True),
        tried(OPERAND, layer=(None, None), plain=True, precision="float32"),
        id="a bound of floats is always reached",
    ),
    pytest.param(
        "proven_by_files",
        tried(layer=(0.0, 0.0), plain=True),
        tried(layer=(0.0, 0.0)),
        id="the files prove it",
    ),
    pytest.param("conversion_not_run", tried(layer=(None, None)), tried(RANGE, (None, None)), id="could not be run"),
    pytest.param("quantization_not_run", tried(RANGE, (None, None)), tried(RANGE), id="a scale that was not run"),
    pytest.param(
        "diverges_without_fix",
        tried(layer=(0.0081, None)),
        tried(layer=(0.0079, None)),
        id="no fix could be run",
    ),
    pytest.param(
        "diverges_without_fix",
        tried(layer=(0.1, None)),
        tried(layer=(0.1, None), was_tried=False),
        id="one that was not tried proves nothing",
    ),
    pytest.param("agrees_without_fix", tried(layer=(0.0079, None)), tried(layer=(0.0079, 0.0)), id="no fix, no error"),
    pytest.param(
        "range_harmless",
        tried(RANGE, (0.1, 0.0), (0.05, 0.05)),
        tried(RANGE, (0.1, 0.0), (0.05, 0.049)),
        id="another range changes no output",
    ),
    pytest.param(
        "range_harmless",
        tried(DOUBTFUL, (0.1, 0.0), (0.053, 0.051)),
        tried(DOUBTFUL, (0.1, 0.0), (0.055, 0.051)),
        id="a doubtful range must bring the output closer",
    ),
    pytest.param(
        "range_harmless",
        tried(BEHIND_FLOAT, (0.1, 0.0), (0.055, 0.051)),
        tried(BEHIND_FLOAT, (0.1, 0.0), (0.08, 0.051)),
        id="behind float by more",
    ),
    pytest.param(
        "scale_per_channel_helps",
        tried(PER_TENSOR, (0.0005, 0.0003)),
        tried(PER_TENSOR, (0.0005, 0.0004)),
        id="a scale per channel",
    ),
    pytest.param(
        "scale_per_channel_does_not_help",
        tried(PER_TENSOR, (0.0005, 0.0004)),
        tried(WEIGHTS, (0.0005, 0.0005)),
        id="a scale per channel that gains little",
    ),
    pytest.param("fix_helps", tried(layer=(0.0011, 0.0)), tried(layer=(0.0009, 0.0)), id="above the precision"),
    pytest.param("within_precision", tried(layer=(0.0009, 0.0)), tried(layer=(0.0009, 0.0009)), id="within it"),
    pytest.param("fix_does_not_help", tried(layer=(0.1, 0.1)), tried(layer=(0.1, 0.08)), id="the fix is in vain"),
]


@pytest.mark.parametrize(("rule", "decided", "neighbor"), CASES)
def test_a_rule_decides_its_case_and_not_the_neighbor(rule: str, decided: TriedSuspect, neighbor: TriedSuspect) -> None:
    assert decide(decided).rule == rule
    assert decide(neighbor).rule != rule


def test_every_rule_has_a_case() -> None:
    assert {case.values[0] for case in CASES} == {one.name for one in RULES}


# A suspect that two rules take: the first decides, and without it the second.
ORDER = [
    ("constants_compensate", "attribute_restated", tried(ATTRIBUTE, (0.0, 0.2), (0.01, 0.2), plain=True)),
    ("constants_compensate", "proven_by_files", tried(layer=(0.001, 0.2), output=(0.01, 0.2), plain=True)),
    ("attribute_restated", "proven_by_files", tried(ATTRIBUTE, (0.0, 0.0), plain=True)),
    ("op_equal_to_rounding", "proven_by_files", tried(OP, (9e-7, 0.0), plain=True)),
    ("bound_out_of_reach", "proven_by_files", tried(OPERAND, layer=(None, None), plain=True)),
    ("proven_by_files", "conversion_not_run", tried(layer=(None, None), plain=True)),
    ("proven_by_files", "fix_does_not_help", tried(layer=(0.0, 0.0), plain=True)),
    ("conversion_not_run", "quantization_not_run", tried(layer=(None, None))),
    ("quantization_not_run", "agrees_without_fix", tried(RANGE, (None, None))),
    ("diverges_without_fix", "agrees_without_fix", tried(layer=(0.1, None))),
    ("agrees_without_fix", "range_harmless", tried(RANGE, (0.001, None), (0.05, 0.05))),
    ("range_harmless", "fix_helps", tried(RANGE, (0.1, 0.0), (0.05, 0.05))),
    ("scale_per_channel_helps", "scale_per_channel_does_not_help", tried(PER_TENSOR, (0.0005, 0.0003))),
    ("scale_per_channel_does_not_help", "fix_does_not_help", tried(PER_TENSOR, (0.0005, 0.0004))),
    ("fix_helps", "within_precision", tried(layer=(0.1, 0.0))),
    ("within_precision", "fix_does_not_help", tried(layer=(0.0009, 0.0))),
]

# Neighbors in the table that never take the same suspect: their order between themselves means nothing.
DISJOINT = {
    ("attribute_restated", "op_equal_to_rounding"): "an isolated error is 0 or it is not",
    ("op_equal_to_rounding", "bound_out_of_reach"): "an op is not a constant",
    ("quantization_not_run", "diverges_without_fix"): "a layer was run or it was not",
    ("range_harmless", "scale_per_channel_helps"): "a range is not a constant",
    ("scale_per_channel_does_not_help", "fix_helps"): "a scale per channel that helps has been decided before",
}


@pytest.mark.parametrize(("first", "later", "suspect"), ORDER)
def test_the_order_is_the_policy(first: str, later: str, suspect: TriedSuspect) -> None:
    assert decide(suspect).rule == first
    assert decide(suspect, [one for one in RULES if one.name != first]).rule == later


@pytest.mark.parametrize("place", range(len(RULES) - 1))
def test_two_neighbors_that_are_swapped_decide_otherwise(place: int) -> None:
    before, after = RULES[place : place + 2]
    swapped = [*RULES[:place], after, before, *RULES[place + 2 :]]
    changed = [suspect for _, _, suspect in ORDER if decide(suspect, swapped).rule != decide(suspect).rule]
    assert bool(changed) != ((before.name, after.name) in DISJOINT)


def test_every_suspect_is_decided_and_told_why() -> None:
    last = RULES[-1]
    assert last.outcome is Outcome.EXCLUDED
    for suspect in (case.values[1] for case in CASES):
        assert isinstance(suspect, TriedSuspect)
        assert last.applies(suspect) and last.test(suspect)
        # A layer's name may hold braces.
        assert "{conv}" in decide(suspect).reason and "{error}" not in decide(suspect).reason


def test_names_are_used_once() -> None:
    names = [one.name for one in RULES] + [one.name for stage in STAGES for one in stage]
    assert len(names) == len(set(names))


def test_the_figures_of_a_suspect() -> None:
    one = tried(layer=(0.1, 0.05), output=(0.2, 0.1))
    assert one.layer_improves and one.output_improves and not one.output_is_decided
    assert replace(one, output_error_fixed=0.09).output_is_decided
    assert replace(one, output_error_fixed=0.24).output_worsens and not one.output_worsens
    assert one.error_explained == pytest.approx(0.1)
    assert replace(one, isolated_error=None).exceeds_precision


def test_causes_and_exclusions_of_the_library_name_their_rule() -> None:
    (root,) = windtunnel.diagnosis.__path__
    nameless = [
        f"{path.name}:{node.lineno}"
        for path in Path(root).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("Cause", "Exclusion")
        and "rule" not in [one.arg for one in node.keywords]
    ]
    assert nameless == []
