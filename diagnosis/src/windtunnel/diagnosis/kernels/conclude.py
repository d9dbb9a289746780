"""Makes the report of a kernel matrix from the results of its runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from windtunnel.accelerators import shown_accelerator
from windtunnel.diagnosis.findings.causes import Cause, Exclusion
from windtunnel.diagnosis.findings.comparison import Verdict
from windtunnel.diagnosis.findings.coverage import Coverage, Unmatched
from windtunnel.diagnosis.findings.kinds.kernels import FusionDiverges, KernelCrash, KernelSetsFinding
from windtunnel.diagnosis.kernels.judge_kernels import Crash, Distances, Divergence, crash_cause, divergence_causes
from windtunnel.diagnosis.kernels.kernel_report import KernelReport, KernelRun, OpFigures
from windtunnel.diagnosis.kernels.result_distance import Distance
from windtunnel.diagnosis.kernels.rounding_bounds import is_hybrid, local_limit
from windtunnel.diagnosis.thresholds.confidences import KERNELS_FUSED
from windtunnel.diagnosis.thresholds.kernel_thresholds import BROKEN_LAYER, NATURAL_OUTPUT_DRIFT
from windtunnel.errors import JobFailed
from windtunnel.tflite import ModelFacts, layer_tensors

# The text around the runtime's reason: Windtunnel's words before it, and the place in a model of single ops after it.
_OWN_WORDS: Final = re.compile(r"^the runtime (refuses|lacks) .*?: ")
_OF_ONE_NODE: Final = re.compile(r"Node number \d+ \([^)]*\) failed to \w+\.(Failed to apply .*)?$")


@dataclass
class Evidence:
    """The results of the runs of a matrix; distances are keyed (tensor index, accelerator, another accelerator)."""

    base: str | None = None
    runs: dict[str, KernelRun] = field(default_factory=dict)
    crashed: dict[str, JobFailed] = field(default_factory=dict)
    crashes: list[Crash] = field(default_factory=list)
    refused: dict[str, Mapping[int, str]] = field(default_factory=dict)
    kept_out: dict[int, str] = field(default_factory=dict)
    accumulated: Distances = field(default_factory=dict)
    local: Distances = field(default_factory=dict)
    divergences: list[Divergence] = field(default_factory=list)
    verified: dict[int, bool] = field(default_factory=dict)
    # By accelerator: outputs of a plain run, compared with those of the run that kept every layer.
    keeping: dict[str, Distances] = field(default_factory=dict)


def conclude(facts: ModelFacts, found: Evidence, samples: int, settings: Mapping[str, Any]) -> KernelReport:
    """Makes the report: figures of every op, causes with their places, and what was ruled out.

    Args:
        facts: of the model.
        found: results of the runs.
        samples: how many were run.
        settings: for the report, as JSON values.

    Returns:
        The report.
    """
    runs = tuple(_run(facts, found, run) for run in found.runs.values())
    causes = _causes(facts, found)
    coverage = _coverage(facts, found)
    # Without a comparison a model cannot be healthy.
    verdict = _verdict(causes, runs) if causes or coverage.compared else "degraded"
    nothing = () if causes or coverage.compared else ("no layer could be compared: fewer than two accelerators ran",)
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
    causes += divergence_causes(facts, found.divergences, found.verified)
    causes += _keeping_causes(facts, found)
    return sorted(causes, key=lambda cause: -cause.confidence)


def _keeping_causes(facts: ModelFacts, found: Evidence) -> list[Cause]:
    """If outputs on an accelerator change when layers are kept, it does something else when it may fuse ops."""
    causes = []
    for name, distances in found.keeping.items():
        worst = _worst(distances)
        if worst is not None and (worst.nrmse is None or worst.nrmse > _natural(facts)):
            finding = FusionDiverges(diverging=(name,), agree=(), nrmse=worst.nrmse)
            causes.append(Cause(finding, KERNELS_FUSED, rule="fused_ops_diverge"))
    return causes


def _run(facts: ModelFacts, found: Evidence, run: KernelRun) -> KernelRun:
    """The run with its figures against the base."""
    outputs = set(facts.main.output_indices)
    own = {key[0]: distance for key, distance in found.accumulated.items() if key[2] == run.name}
    local = {key[0]: distance for key, distance in found.local.items() if key[2] == run.name}
    steps: list[float] = []
    shares: list[float] = []
    for _, tensor in layer_tensors(facts):
        if tensor.index in local:
            distance = local[tensor.index]
            (steps if _is_integer(tensor.dtype) else shares).append(
                distance.max_abs if _is_integer(tensor.dtype) else distance.of_range
            )
    reason = run.reason
    if refused := found.refused.get(run.name):
        reason = f"{_refusals(facts, refused)}; the other ops were compared"
    return replace(
        run,
        reason=reason,
        output=_worst({(index, "", ""): distance for index, distance in own.items() if index in outputs}),
        local_steps=max(steps, default=None),
        local_of_range=max(shares, default=None),
        differing_layers=sum(distance.share > 0.0 or any(distance.non_finite) for distance in own.values())
        if own
        else None,
    )


def _refusals(facts: ModelFacts, refused: Mapping[int, str]) -> str:
    """Ops that the runtime refuses as models of their own, by its reasons: a missing op is only one of them."""
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
        local = {key[2]: distance for key, distance in found.local.items() if key[0] == tensor.index}
        whole = {key[2]: distance for key, distance in found.accumulated.items() if key[0] == tensor.index}
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
            reason = found.kept_out.get(op, "only one accelerator gave a result for it")
            reason = "it ends the process on an accelerator" if op in crashed else reason
            missed.append(Unmatched(tensor.name, facts.ops[op].name, op, reason))
    return Coverage(len(layers) - len(missed), len(layers), tuple(missed))


def _of_sets(causes: Sequence[Cause]) -> list[KernelSetsFinding]:
    """The findings that name accelerators."""
    return [cause.finding for cause in causes if isinstance(cause.finding, KernelSetsFinding)]


def _verdict(causes: list[Cause], runs: tuple[KernelRun, ...]) -> Verdict:
    if not causes:
        return "healthy"
    severe = any(one.is_severe for one in _of_sets(causes))
    worst = [run.output for run in runs if run.output is not None]
    far = any(distance.nrmse is None or distance.nrmse > BROKEN_LAYER for distance in worst)
    return "broken" if severe or far else "degraded"


def _excluded(facts: ModelFacts, runs: tuple[KernelRun, ...], causes: list[Cause]) -> tuple[Exclusion, ...]:
    named = {name for one in _of_sets(causes) for name in one.diverging}
    agreeing = [run for run in runs if run.status == "ran" and run.name not in named]
    excluded = []
    if len(agreeing) > 1:
        steps = max((run.local_steps for run in agreeing if run.local_steps is not None), default=None)
        shares = max((run.local_of_range for run in agreeing if run.local_of_range is not None), default=None)
        local = [f"{steps:g} quantization step{'' if steps == 1 else 's'}" if steps is not None else ""]
        local.append(f"{shares:.1e} of the range of floats" if shares is not None else "")
        names = ", ".join(shown_accelerator(run.name) for run in agreeing)
        text = " and ".join(part for part in local if part) or "no difference"
        excluded.append(
            Exclusion(
                "kernel",
                f"{names} agree op by op: on the same inputs they differ by at most {text}, which rounding explains",
                rule="kernels_agree",
            )
        )
    for run in agreeing:
        drift = run.output.nrmse if run.output is not None else None
        if drift is not None and drift > _natural(facts):
            name = shown_accelerator(run.name)
            why = (
                f"{name} leaves an output nRMSE of {drift:.2g} although no op diverges: rounding adds up over the "
                "layers; the cause is the model's numbers, not a kernel"
            )
            excluded.append(Exclusion("kernel", why, rule="rounding_accumulates_between_kernels"))
    return tuple(excluded)


def _reasons(runs: tuple[KernelRun, ...], causes: list[Cause]) -> tuple[str, ...]:
    reasons = []
    for cause in causes:
        finding = cause.finding
        who, op = "", None
        if isinstance(finding, KernelSetsFinding):
            who, op = ", ".join(map(shown_accelerator, finding.diverging)), finding.op_name
        what = "ends its process" if isinstance(finding, KernelCrash) else "diverges by more than rounding"
        place = f"op {cause.op_index} ({op})" if cause.op_index is not None else "the model"
        reasons.append(f"{who} {what} at {place}")
    reasons += [
        f"{shown_accelerator(run.name)} did not run: {run.reason}"
        for run in runs
        if run.status in ("refused", "not_available")
    ]
    if sum(run.status in ("ran", "crashed") for run in runs) < 2:
        reasons.append("only one accelerator ran: it cannot be compared with another")
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


def _worst(distances: Distances) -> Distance | None:
    return max(distances.values(), key=lambda distance: (distance.nrmse is None, distance.nrmse or 0.0), default=None)
