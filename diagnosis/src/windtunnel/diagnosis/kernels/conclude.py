"""From the evidence of a kernel matrix to its report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from windtunnel.diagnosis.findings.causes import Cause, Exclusion
from windtunnel.diagnosis.findings.comparison import Coverage, Unmatched, Verdict
from windtunnel.diagnosis.findings.kinds.kernels import FusionDiverges, KernelCrash, KernelSetsFinding
from windtunnel.diagnosis.kernels.judge_kernels import Crash, Departure, Gaps, crash_cause, departure_causes
from windtunnel.diagnosis.kernels.kernel_report import KernelReport, KernelRun, OpFigures
from windtunnel.diagnosis.kernels.result_distance import Gap
from windtunnel.diagnosis.kernels.rounding_bounds import is_hybrid, local_limit
from windtunnel.diagnosis.thresholds.confidences import KERNELS_FUSED
from windtunnel.diagnosis.thresholds.kernel_thresholds import BROKEN_LAYER, NATURAL_OUTPUT_DRIFT
from windtunnel.errors import JobFailed
from windtunnel.tflite import ModelFacts, layer_tensors

# What stands around the runtime's reason: our own words before it, and the place in a model of single ops behind it.
_OWN_WORDS: Final = re.compile(r"^the runtime (refuses|lacks) .*?: ")
_OF_ONE_NODE: Final = re.compile(r"Node number \d+ \([^)]*\) failed to \w+\.(Failed to apply .*)?$")


@dataclass
class Evidence:
    """What the runs of a matrix left: gaps are keyed (tensor index, one kernel set, another)."""

    base: str | None = None
    runs: dict[str, KernelRun] = field(default_factory=dict)
    crashed: dict[str, JobFailed] = field(default_factory=dict)
    crashes: list[Crash] = field(default_factory=list)
    refused: dict[str, Mapping[int, str]] = field(default_factory=dict)
    kept_out: dict[int, str] = field(default_factory=dict)
    accumulated: Gaps = field(default_factory=dict)
    local: Gaps = field(default_factory=dict)
    departures: list[Departure] = field(default_factory=list)
    verified: dict[int, bool] = field(default_factory=dict)
    # Outputs of a plain run against those of the run that kept every layer, by kernel set.
    keeping: dict[str, Gaps] = field(default_factory=dict)


def conclude(facts: ModelFacts, found: Evidence, samples: int, settings: Mapping[str, Any]) -> KernelReport:
    """The report: figures of every op, causes with their places, and what was ruled out."""
    runs = tuple(_run(facts, found, run) for run in found.runs.values())
    causes = _causes(facts, found)
    coverage = _coverage(facts, found)
    # A model of which nothing was compared is not found healthy.
    verdict = _verdict(causes, runs) if causes or coverage.compared else "degraded"
    nothing = () if causes or coverage.compared else ("no layer could be compared: fewer than two kernel sets ran",)
    return KernelReport(
        verdict=verdict,
        base=found.base,
        samples=samples,
        runs=runs,
        ops=_ops(facts, found),
        coverage=coverage,
        causes=tuple(causes),
        excluded=_excluded(facts, runs, causes),
        reasons=(*nothing, *_reasons(runs, causes)),
        settings=settings,
    )


def _causes(facts: ModelFacts, found: Evidence) -> list[Cause]:
    survived = [run.name for run in found.runs.values() if run.status == "ran"]
    causes = [crash_cause(facts, crash, survived) for crash in found.crashes]
    causes += departure_causes(facts, found.departures, found.verified)
    causes += _keeping_causes(facts, found)
    return sorted(causes, key=lambda cause: -cause.confidence)


def _keeping_causes(facts: ModelFacts, found: Evidence) -> list[Cause]:
    """A kernel set whose outputs change when layers are kept does something else where it may fuse ops."""
    causes = []
    for name, gaps in found.keeping.items():
        worst = _worst(gaps)
        if worst is not None and (worst.nrmse is None or worst.nrmse > _natural(facts)):
            finding = FusionDiverges(diverging=(name,), agree=(), nrmse=worst.nrmse)
            causes.append(Cause(finding, KERNELS_FUSED, rule="fused_ops_diverge"))
    return causes


def _run(facts: ModelFacts, found: Evidence, run: KernelRun) -> KernelRun:
    """The run with its figures against the base."""
    outputs = set(facts.main.output_indices)
    mine = {key[0]: gap for key, gap in found.accumulated.items() if key[2] == run.name}
    local = {key[0]: gap for key, gap in found.local.items() if key[2] == run.name}
    steps: list[float] = []
    shares: list[float] = []
    for _, tensor in layer_tensors(facts):
        if tensor.index in local:
            gap = local[tensor.index]
            (steps if _is_integer(tensor.dtype) else shares).append(
                gap.max_abs if _is_integer(tensor.dtype) else gap.of_range
            )
    reason = run.reason
    if refused := found.refused.get(run.name):
        reason = f"{_refusals(facts, refused)}; the other ops were compared"
    return replace(
        run,
        reason=reason,
        output=_worst({(index, "", ""): gap for index, gap in mine.items() if index in outputs}),
        local_steps=max(steps, default=None),
        local_of_range=max(shares, default=None),
        differing_layers=sum(gap.share > 0.0 or any(gap.non_finite) for gap in mine.values()) if mine else None,
    )


def _refusals(facts: ModelFacts, refused: Mapping[int, str]) -> str:
    """Ops that the runtime refuses on their own, by its words: that it lacks one is but one of its reasons."""
    kinds: dict[str, list[int]] = {}
    for op in sorted(refused):
        kinds.setdefault(facts.ops[op].name, []).append(op)
    by_words: dict[str, list[str]] = {}
    for kind, ops in kinds.items():
        words = _OF_ONE_NODE.sub("", _OWN_WORDS.sub("", refused[ops[0]])).strip()
        by_words.setdefault(words, []).append(f"{kind} ({len(ops)} op{'s' if len(ops) > 1 else ''})")
    return "; ".join(f"it refuses {', '.join(ops)}: {words}" for words, ops in by_words.items())


def _is_integer(dtype: str) -> bool:
    return not dtype.startswith(("float", "bfloat", "complex"))


def _ops(facts: ModelFacts, found: Evidence) -> tuple[OpFigures, ...]:
    figures = []
    for op, tensor in layer_tensors(facts):
        local = {key[2]: gap for key, gap in found.local.items() if key[0] == tensor.index}
        whole = {key[2]: gap for key, gap in found.accumulated.items() if key[0] == tensor.index}
        limit = local_limit(facts, facts.ops[op], tensor)
        figures.append(OpFigures(tensor.name, facts.ops[op].name, op, limit, local, whole))
    return tuple(figures)


def _coverage(facts: ModelFacts, found: Evidence) -> Coverage:
    compared = {key[0] for key in found.local}
    layers = list(layer_tensors(facts))
    crashed = {crash.op_index for crash in found.crashes}
    missed = []
    for op, tensor in layers:
        if tensor.index not in compared:
            reason = found.kept_out.get(op, "only one kernel set gave a result for it")
            reason = "it ends the process of a kernel set" if op in crashed else reason
            missed.append(Unmatched(tensor.name, facts.ops[op].name, op, reason))
    return Coverage(len(layers) - len(missed), len(layers), tuple(missed))


def _of_sets(causes: Sequence[Cause]) -> list[KernelSetsFinding]:
    """What the causes say of kernel sets."""
    return [cause.finding for cause in causes if isinstance(cause.finding, KernelSetsFinding)]


def _verdict(causes: list[Cause], runs: tuple[KernelRun, ...]) -> Verdict:
    if not causes:
        return "healthy"
    severe = any(one.is_severe for one in _of_sets(causes))
    worst = [run.output for run in runs if run.output is not None]
    far = any(gap.nrmse is None or gap.nrmse > BROKEN_LAYER for gap in worst)
    return "broken" if severe or far else "degraded"


def _excluded(facts: ModelFacts, runs: tuple[KernelRun, ...], causes: list[Cause]) -> tuple[Exclusion, ...]:
    named = {name for one in _of_sets(causes) for name in one.diverging}
    calm = [run for run in runs if run.status == "ran" and run.name not in named]
    excluded = []
    if len(calm) > 1:
        steps = max((run.local_steps for run in calm if run.local_steps is not None), default=None)
        shares = max((run.local_of_range for run in calm if run.local_of_range is not None), default=None)
        local = [f"{steps:g} steps of integers" if steps is not None else ""]
        local.append(f"{shares:.1e} of the range of floats" if shares is not None else "")
        names = ", ".join(run.name for run in calm)
        text = " and ".join(part for part in local if part) or "no difference"
        excluded.append(
            Exclusion(
                "kernel", f"{names} agree op by op: fed alike, at most {text}, within rounding", rule="kernels_agree"
            )
        )
    for run in calm:
        drift = run.output.nrmse if run.output is not None else None
        if drift is not None and drift > _natural(facts):
            why = (
                f"{run.name} leaves an output nRMSE of {drift:.2g} although no op departs: rounding adds up over the "
                "layers; that is the model's numbers, not a kernel"
            )
            excluded.append(Exclusion("kernel", why, rule="rounding_accumulates_between_kernels"))
    return tuple(excluded)


def _reasons(runs: tuple[KernelRun, ...], causes: list[Cause]) -> tuple[str, ...]:
    reasons = []
    for cause in causes:
        finding = cause.finding
        who, op = "", None
        if isinstance(finding, KernelSetsFinding):
            who, op = ", ".join(finding.diverging), finding.op_name
        what = "ends its process" if isinstance(finding, KernelCrash) else "departs beyond rounding"
        place = f"op {cause.op_index} ({op})" if cause.op_index is not None else "the model"
        reasons.append(f"{who} {what} at {place}")
    reasons += [f"{run.name} did not run: {run.reason}" for run in runs if run.status in ("refused", "not_available")]
    if sum(run.status in ("ran", "crashed") for run in runs) < 2:
        reasons.append("only one kernel set ran: there is nothing to hold it against")
    return tuple(reasons)


def _natural(facts: ModelFacts) -> float:
    if any(is_hybrid(facts, op) for op in facts.ops):
        return NATURAL_OUTPUT_DRIFT["hybrid"]
    layers = [tensor.dtype for _, tensor in layer_tensors(facts)]
    return (
        NATURAL_OUTPUT_DRIFT["integer"]
        if any(_is_integer(dtype) for dtype in layers)
        else NATURAL_OUTPUT_DRIFT["float"]
    )


def _worst(gaps: Gaps) -> Gap | None:
    return max(gaps.values(), key=lambda gap: (gap.nrmse is None, gap.nrmse or 0.0), default=None)
