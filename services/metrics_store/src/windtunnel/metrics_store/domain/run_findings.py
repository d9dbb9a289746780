"""What the user should know in addition to the verdict, and why an accuracy is missing."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from windtunnel.datacheck.findings import (
    ACCURACY_UNGUARDED,
    ACCURACY_UNKNOWN,
    LABELS_AMBIGUOUS,
    LABELS_TARGETS,
    LABELS_UNUSED,
    OUTPUT_NON_FINITE,
    Finding,
    distinct,
)
from windtunnel.metrics_store.domain.gates import trained_accuracy
from windtunnel.metrics_store.domain.record import RunRecord
from windtunnel.metrics_store.domain.steps import explain, not_converted
from windtunnel.plan.plan_values import Plan

# Findings whose message says why a model has no accuracy.
NO_ACCURACY: Final = (ACCURACY_UNKNOWN, LABELS_AMBIGUOUS, LABELS_UNUSED, LABELS_TARGETS)
# Findings that a candidate gives NaN or infinity where its reference does not.
NON_FINITE: Final = OUTPUT_NON_FINITE


def run_findings(run: RunRecord, plan: Plan | None) -> tuple[Finding, ...]:
    """All findings of a run: those of its conversion, of its variants, and on its plan.

    Args:
        run: its record.
        plan: None: not known, or not readable.

    Returns:
        Each once.
    """
    check = None if run.converted is None else run.converted.check
    found = list(() if check is None else check.findings)
    for name in sorted(run.variants) if plan is None else [variant.name for variant in plan.variants]:
        compared = run.variant(name).compared
        found += () if compared is None else [_named(one, name) for one in compared.findings]
    # Missing labels are not a finding of the run: each variant says it as the reason.
    return distinct(one for one in (*found, *_unguarded(run, plan)) if one.code != ACCURACY_UNKNOWN)


def _named(finding: Finding, variant: str) -> Finding:
    """What is at fault in one variant, with its name."""
    if finding.code != NON_FINITE:
        return finding
    return replace(finding, message=f"variant {variant}: {finding.message}")


def no_labels(run: RunRecord, variant: str) -> str:
    """Why a variant that was compared has no accuracy, if samples or labels are why.

    Args:
        run: its record.
        variant: its name.

    Returns:
        Empty if not.
    """
    compared = run.variant(variant).compared
    if compared is None or compared.candidate.accuracy is not None:
        return ""
    said = accuracy_reason(run, variant) or ""
    known = {one.message for one in compared.findings if one.code in NO_ACCURACY}
    return said if said in known or compared.synthetic_samples else ""


def accuracy_reason(run: RunRecord, variant: str) -> str | None:
    """Why a variant has no accuracy.

    Args:
        run: its record.
        variant: its name.

    Returns:
        None if it has one, or may still get one.
    """
    state = run.variant(variant)
    if state.compared is not None:
        if state.compared.candidate.accuracy is not None:
            return None
        said = (
            one.message for code in (NON_FINITE, *NO_ACCURACY) for one in state.compared.findings if one.code == code
        )
        samples = "there are no samples: random inputs have no labels" if state.compared.synthetic_samples else ""
        return next(said, samples or "the comparison gave no accuracy")
    if state.not_compared is not None:
        return f"the variant could not be compared: {explain(state.not_compared)}"
    if state.not_made is not None and state.ready is None:
        return f"the variant could not be made: {explain(state.not_made)}"
    if run.not_converted is not None and run.converted is None:
        return not_converted(run.not_converted)
    return None


def _unguarded(run: RunRecord, plan: Plan | None) -> list[Finding]:
    """There are labels, and no gate looks at the accuracy."""
    if plan is None or plan.expected_accuracy is not None:
        return []
    gates = {variant.name: plan.gates_of(variant.name) for variant in plan.variants}
    free = [
        name
        for name, one in gates.items()
        if one.accuracy_drop is None and one.accuracy_min is None and one.accuracy_max is None
    ]
    known = {name: accuracy for name in free if (accuracy := trained_accuracy(run, name)) is not None}
    if not known:
        return []
    which = "" if len(free) == len(gates) else f" of {', '.join(known)}"
    accuracy = next(iter(known.values()))
    return [
        Finding(
            ACCURACY_UNGUARDED,
            f"nothing guards the accuracy{which}: the samples have labels (accuracy as trained {accuracy:.4g}), and "
            "the plan has no gate on it",
            fix="add `gates: {accuracy: {min: ...}}`, `gates: {accuracy_drop: ...}` or `expected_accuracy: ...` to the "
            "plan",
            evidence={"accuracy_as_trained": accuracy, "variants": list(known)},
        )
    ]
