"""The verdict on a run that has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from windtunnel.metrics_store.domain.facts import Canceled
from windtunnel.metrics_store.domain.gates import GateResult, gate_results
from windtunnel.metrics_store.domain.record import RunRecord
from windtunnel.metrics_store.domain.steps import Outcome, steps
from windtunnel.plan.model import Plan

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Verdict(Enum):
    """How a run ended."""

    PASSED = "passed"
    FAILED = "failed"
    COULD_NOT_RUN = "could_not_run"


@dataclass(frozen=True, slots=True)
class VariantJudgement:
    """What became of one variant. `problems`: what is missing or failed; `passed`: it has none, and all gates hold."""

    name: str
    gates: tuple[GateResult, ...]
    problems: tuple[str, ...]
    passed: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict, why, and what became of each variant. No reasons: it passed."""

    verdict: Verdict
    reasons: tuple[str, ...]
    variants: tuple[VariantJudgement, ...]


def judge(
    run: RunRecord,
    plan: Plan | None,
    *,
    causes: Mapping[str, str] = _NONE,
    plan_problem: str = "",
    late: bool = False,
) -> Judgement:
    """The verdict on what is known now. What is still pending counts as missing.

    A run that was canceled could not run, whatever is known of it. A gate that failed, or a conversion that changed
    the model: failed. Else anything missing, failed, skipped or without its figure: could not run. `causes` gives the
    cause that the diagnosis of a variant found, in words; `plan_problem` says why there is no plan; `late`: the
    deadline has passed before all of it ended.
    """
    conversion = _conversion_fault(run)
    general = [*(["the deadline of the run has passed"] if late else []), *_general_problems(run, plan, plan_problem)]
    variants = () if plan is None else tuple(_variant(run, plan, v.name, bool(conversion)) for v in plan.variants)
    failed = [*conversion, *(text for v in variants for g in v.gates if (text := _failed_gate(v.name, g, causes)))]
    lacking = [*general, *(text for v in variants for text in (v.problems or _unknown_gates(v)))]
    if run.not_converted is not None and run.converted is None:
        variants = tuple(VariantJudgement(v.name, v.gates, v.problems, passed=False) for v in variants)
        lacking = general
    if run.canceled is not None:
        stopped = tuple(VariantJudgement(v.name, v.gates, v.problems, passed=False) for v in variants)
        return Judgement(Verdict.COULD_NOT_RUN, (_canceled(run.canceled),), stopped)
    if failed:
        return Judgement(Verdict.FAILED, (*failed, *lacking), variants)
    if lacking:
        return Judgement(Verdict.COULD_NOT_RUN, tuple(lacking), variants)
    return Judgement(Verdict.PASSED, (), variants)


def _canceled(fact: Canceled) -> str:
    return f"canceled: {fact.reason}" if fact.reason else "canceled on request"


def _variant(run: RunRecord, plan: Plan, name: str, conversion_failed: bool) -> VariantJudgement:
    gates = gate_results(run, plan, name)
    problems = tuple(_variant_problems(run, plan, name))
    held = all(gate.passed is True for gate in gates)
    return VariantJudgement(name, gates, problems, passed=held and not problems and not conversion_failed)


def _variant_problems(run: RunRecord, plan: Plan, name: str) -> list[str]:
    found = [step.text for step in steps(run, plan) if step.variant == name and step.outcome is not Outcome.DONE]
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
    return [f"the conversion changed the model (not the quantisation){said}"]


def _failed_gate(variant: str, gate: GateResult, causes: Mapping[str, str]) -> str:
    if gate.passed is not False:
        return ""
    text = f"gate {gate.gate} of variant {variant}: {gate.why or _over(gate)}"
    if gate.gate in ("accuracy_drop", "layer_nrmse") and causes.get(variant):
        text += f"; cause: {causes[variant]}"
    return text


def _over(gate: GateResult) -> str:
    where = f" on {gate.place}" if gate.place else ""
    measured, limit = f"{gate.measured:.6g}", f"{gate.limit:.6g}"
    if measured == limit:
        measured, limit = repr(gate.measured), repr(gate.limit)
    return f"{measured}{where} is over {limit}"


def _unknown_gates(variant: VariantJudgement) -> tuple[str, ...]:
    return tuple(
        f"gate {gate.gate} of variant {variant.name}: the figure is not known"
        + (f" on {gate.place}" if gate.place else "")
        for gate in variant.gates
        if gate.passed is None
    )
