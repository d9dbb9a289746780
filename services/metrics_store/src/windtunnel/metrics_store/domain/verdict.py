"""The verdict on a run that has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import Final

from windtunnel.datacheck.findings import Finding
from windtunnel.figures import compared_with
from windtunnel.metrics_store.domain.facts import Canceled
from windtunnel.metrics_store.domain.gates import EXPECTED, NO_COMPARISONS, GateResult, gate_results
from windtunnel.metrics_store.domain.latency_vs import CellComparison
from windtunnel.metrics_store.domain.record import RunRecord
from windtunnel.metrics_store.domain.run_findings import NON_FINITE, no_labels, run_findings
from windtunnel.metrics_store.domain.steps import Outcome, explain, not_made, steps
from windtunnel.plan.plan_values import Plan

# Failures that say nothing about the model: what it needs does not answer or does not suffice, or plan or samples are
# at fault.
NOT_THE_MODEL: Final = frozenset(
    {
        *("unavailable", "attempts_exhausted", "internal", "outside", "job_failed"),
        *("invalid_input", "invalid_samples", "invalid_plan", "invalid_argument", "not_found", "conflict"),
    }
)
# The model as trained gives NaN or infinity on the samples.
MODEL_NON_FINITE: Final = "non_finite"
_OF_ACCURACY: Final = ("accuracy_drop", "accuracy_min", "accuracy_max")
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Verdict(Enum):
    """How a run ended."""

    PASSED = "passed"
    FAILED = "failed"
    COULD_NOT_RUN = "could_not_run"


@dataclass(frozen=True, slots=True)
class VariantJudgment:
    """What became of one variant. `problems`: what is missing or failed; `passed`: it has none, and all gates hold."""

    name: str
    gates: tuple[GateResult, ...]
    problems: tuple[str, ...]
    passed: bool


@dataclass(frozen=True, slots=True)
class Judgment:
    """The verdict, why, and what became of each variant. No reasons: it passed.

    `findings`: what the user should know and what decides nothing by itself.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    variants: tuple[VariantJudgment, ...]
    findings: tuple[Finding, ...] = ()


def judge(
    run: RunRecord,
    plan: Plan | None,
    *,
    causes: Mapping[str, str] = _NONE,
    comparisons: Mapping[str, CellComparison] = NO_COMPARISONS,
    plan_problem: str = "",
    late: bool = False,
) -> Judgment:
    """The verdict on what is known now. What is still pending counts as missing.

    A run that was canceled could not run, whatever is known of it. Four things make a run fail: a gate that failed, a
    conversion that changed the model, a model or variant that gives NaN or infinity, a variant that cannot be made of
    this model. Otherwise, anything missing, failed, skipped or without its figure makes it could-not-run. A variant
    that the plan calls optional and that could not be made counts for neither, as long as another one was made.

    Args:
        run: its record.
        plan: None: not known, or not readable.
        causes: that the diagnosis of a variant found, in words, by variant.
        comparisons: of latencies with a baseline, by cell id.
        plan_problem: why there is no plan.
        late: the deadline has passed before all of it ended.

    Returns:
        The verdict, with its reasons.
    """
    findings = run_findings(run, plan)
    conversion = _conversion_fault(run)
    general = [*(["the deadline of the run has passed"] if late else []), *_general_problems(run, plan, plan_problem)]
    variants = () if plan is None else _variants(run, plan, bool(conversion), comparisons)
    no_model = run.not_converted is not None and run.converted is None
    if run.canceled is not None or no_model:
        variants = tuple(VariantJudgment(v.name, v.gates, v.problems, passed=False) for v in variants)
    if run.canceled is not None:
        return Judgment(Verdict.COULD_NOT_RUN, (_canceled(run.canceled),), variants, findings)
    if no_model:
        sick = run.not_converted is not None and run.not_converted.code == MODEL_NON_FINITE
        return Judgment(Verdict.FAILED if sick else Verdict.COULD_NOT_RUN, tuple(general), variants, findings)
    failed, lacking = _reasons(run, plan, variants, causes)
    failed, lacking = [*conversion, *failed], [*general, *lacking]
    verdict = Verdict.FAILED if failed else Verdict.COULD_NOT_RUN if lacking else Verdict.PASSED
    # What holds for all variants, such as the expected accuracy, is reported once.
    return Judgment(verdict, tuple(dict.fromkeys((*failed, *lacking))), variants, findings)


def _variants(
    run: RunRecord, plan: Plan, conversion_failed: bool, comparisons: Mapping[str, CellComparison]
) -> tuple[VariantJudgment, ...]:
    return tuple(_variant(run, plan, spec.name, conversion_failed, comparisons) for spec in plan.variants)


def _reasons(
    run: RunRecord, plan: Plan | None, variants: Sequence[VariantJudgment], causes: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """What the variants failed for, and what is missing of them."""
    counted = [v for v in variants if not _may_be_missing(run, plan, v.name)]
    faults = {v.name: _faults(run, v.name) for v in counted}
    failed = [text for v in counted for gate in v.gates if (text := _failed_gate(v.name, gate, causes))]
    failed += [text for texts in faults.values() for text in texts]
    lacking = [text for v in counted for text in _lacking(v, faults[v.name])]
    if not counted:
        lacking += [text for v in variants for text in v.problems]
    return failed, lacking


def _may_be_missing(run: RunRecord, plan: Plan | None, name: str) -> bool:
    """Whether the variant could not be made, and the plan says that the run does not need it."""
    optional = plan is not None and any(spec.name == name and spec.optional for spec in plan.variants)
    return optional and not_made(run.variant(name)) is not None


def _lacking(variant: VariantJudgment, faults: Sequence[str]) -> Sequence[str]:
    """What is missing or failed without a fault of the model."""
    return [*(text for text in variant.problems if text not in faults), *_not_judged(variant)]


def _faults(run: RunRecord, name: str) -> list[str]:
    """What the model itself is at fault for: a variant cannot be made of it, or gives NaN or infinity."""
    state = run.variant(name)
    missing = not_made(state)
    if missing is not None:
        return [] if missing.code in NOT_THE_MODEL else [f"variant {name} could not be made: {explain(missing)}"]
    if state.compared is None:
        return []
    said = [one.message for one in state.compared.findings if one.code == NON_FINITE]
    layers = state.compared.layers
    if not said and layers is not None and layers.non_finite:
        first = f", first over its bound is {layers.first_over!r}" if layers.first_over else ""
        said = [f"{layers.non_finite} of {layers.total} layers hold NaN or infinity{first}"]
    return [f"variant {name}: {text}" for text in said]


def _canceled(fact: Canceled) -> str:
    return f"canceled: {fact.reason}" if fact.reason else "canceled on request"


def _variant(
    run: RunRecord, plan: Plan, name: str, conversion_failed: bool, comparisons: Mapping[str, CellComparison]
) -> VariantJudgment:
    why = no_labels(run, name)
    gates = tuple(
        replace(gate, why=why) if why and gate.gate in _OF_ACCURACY and gate.passed is None else gate
        for gate in gate_results(run, plan, name, comparisons)
    )
    problems = tuple(_variant_problems(run, plan, name))
    held = all(gate.passed is True or (gate.passed is None and not gate.needed) for gate in gates)
    return VariantJudgment(name, gates, problems, passed=held and not problems and not conversion_failed)


def _variant_problems(run: RunRecord, plan: Plan, name: str) -> list[str]:
    missing = [step for step in steps(run, plan) if step.outcome is not Outcome.DONE and step.needed]
    found = [step.text for step in missing if step.variant == name]
    found += [text for text in _faults(run, name) if text not in found]
    compared = run.variant(name).compared
    if compared is not None:
        found += [f"variant {name}: {text}" for text in compared.anomalies]
    for cell in run.cells_of(name):
        if cell.measured is not None:
            found += [f"cell {cell.spec.label} of variant {name}: {text}" for text in cell.measured.anomalies]
    return found


def _general_problems(run: RunRecord, plan: Plan | None, plan_problem: str) -> list[str]:
    found = [step.text for step in steps(run, plan) if step.variant is None and step.outcome is not Outcome.DONE]
    if plan_problem and plan is None:
        found.append(plan_problem)
    if run.converted is not None:
        found += [f"conversion: {text}" for text in run.converted.anomalies]
    return found


def _conversion_fault(run: RunRecord) -> list[str]:
    check = None if run.converted is None else run.converted.check
    if check is None or check.passed:
        return []
    said = f": {check.message}" if check.message else ""
    return [f"the conversion changed the model (not the quantization){said}"]


def _failed_gate(variant: str, gate: GateResult, causes: Mapping[str, str]) -> str:
    if gate.passed is not False:
        return ""
    if gate.gate == EXPECTED:
        return f"gate {gate.gate}: {gate.why or _over(gate)}"
    text = f"gate {gate.gate} of variant {variant}: {gate.why or _over(gate)}"
    if gate.gate in (*_OF_ACCURACY, "layer_nrmse") and causes.get(variant):
        text += f"; cause: {causes[variant]}"
    return text


def _over(gate: GateResult) -> str:
    where = f" on {gate.place}" if gate.place else ""
    assert gate.measured is not None
    side = "under" if gate.at_least else "over"
    return f"{compared_with(gate.measured, gate.limit)}{where} is {side} {gate.limit:.12g}"


def _not_judged(variant: VariantJudgment) -> list[str]:
    """Gates without an answer. One without a figure is left out if the missing figure is a problem already."""
    open_ones = [gate for gate in variant.gates if gate.passed is None and gate.needed]
    gates = [gate for gate in open_ones if gate.why or not variant.problems]
    groups: dict[tuple[str, str], list[str]] = {}
    for gate in gates:
        groups.setdefault((gate.place, gate.why), []).append(gate.gate)
    return [_why_not_judged(variant.name, names, *key) for key, names in groups.items()]


def _why_not_judged(variant: str, gates: Sequence[str], place: str, why: str) -> str:
    where = f" on {place}" if place else ""
    if not why:
        return "; ".join(f"gate {gate} of variant {variant}: the figure is not known{where}" for gate in gates)
    subject = f"gate {gates[0]}" if len(gates) == 1 else f"gates {', '.join(gates)}"
    return f"{subject} of variant {variant} {'was' if len(gates) == 1 else 'were'} not judged{where}: {why}"
