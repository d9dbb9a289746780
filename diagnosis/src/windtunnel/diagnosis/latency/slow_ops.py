"""Which ops are slower than the model itself lets expect, and which did not run on the accelerator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from windtunnel.accelerators import BUILTIN, spelled_in_cells
from windtunnel.diagnosis.findings.causes import Cause, Exclusion
from windtunnel.diagnosis.findings.comparison import SCHEMA, Verdict
from windtunnel.diagnosis.findings.kinds.latency import (
    DelegateCoverage,
    DelegateFallback,
    LatencyStraggler,
    Peers,
    SlowOp,
    WideOpsSlow,
)
from windtunnel.diagnosis.latency.expected_times import Expectation, expect
from windtunnel.diagnosis.latency.op_costs import OpCost, op_cost
from windtunnel.diagnosis.latency.op_profile import OpTime, Profile
from windtunnel.diagnosis.thresholds.confidences import OUTSIDE_DELEGATE, OUTSIDE_DELEGATE_TIMED, SLOW_KERNELS
from windtunnel.diagnosis.thresholds.latency_thresholds import (
    MATERIAL_SHARE,
    MATERIAL_TICKS,
    STRAGGLER_CLEARER,
    STRAGGLER_CONFIDENCE,
    WEAK_SHARE,
)
from windtunnel.figures import rounded
from windtunnel.tflite import ModelFacts

_WIDE = "16-bit activations"


@dataclass(frozen=True, slots=True)
class OpVerdict:
    """One row of the table: what an op takes, costs, and should take.

    `verdict` is "fine", "straggler", "fallback", "not timed" or "no peers" (too few ops to expect anything).
    """

    cost: OpCost
    time: OpTime
    share: float | None
    expected: Expectation | None
    verdict: str

    def to_json(self) -> dict[str, Any]:
        """The entry of `ops`."""
        expected = self.expected
        return {
            "op_index": self.cost.op_index,
            "op": self.cost.op,
            "layer": self.cost.layer,
            "ms": self.time.ms,
            "share": self.share,
            "macs": self.cost.macs,
            "bytes": self.cost.bytes,
            "expected_ms": None if expected is None else expected.ms,
            "factor": None if expected is None else expected.factor,
            "peers": None if expected is None else {"level": expected.level, "count": len(expected.peers)},
            "delegated": self.time.delegated,
            "kernels": list(self.time.kernels),
            "weakness": self.cost.weakness,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True)
class LatencyDiagnosis:
    """Where the time of a model goes, and why.

    `input_shapes`: those that the inputs had, by name; empty: a log does not say. `shapes_known` False: nobody gave
    the size of a dynamic dimension, and a made-up one was taken.
    """

    profile: Profile
    ops: tuple[OpVerdict, ...]
    causes: tuple[Cause, ...]
    excluded: tuple[Exclusion, ...]
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    shapes_known: bool | None = None

    @property
    def verdict(self) -> Verdict:
        """degraded where a cause is named: a slow op gives right results, so never broken."""
        return "degraded" if self.causes else "healthy"

    def to_json(self) -> dict[str, Any]:
        """`windtunnel.diagnosis/1` with the table as `ops`; no layer is compared, so `layers` is empty."""
        untimed = [row for row in self.ops if row.time.ms is None]
        profile = self.profile
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "causes": [cause.to_json() for cause in self.causes],
            "excluded": [{"code": one.code, "why": one.why} for one in self.excluded],
            "coverage": {
                "compared": len(self.ops) - len(untimed),
                "total": len(self.ops),
                "unmatched": [row.cost.layer for row in untimed],
            },
            "layers": [],
            "latency": {
                "method": profile.method,
                "accelerator": spelled_in_cells(profile.accelerator),
                "threads": profile.threads,
                "runs": profile.runs,
                "total_ms": profile.total_ms,
                "ops_ms": profile.ops_ms,
                "resolution_ms": profile.resolution_ms,
                "unassigned": [{"name": name, "ms": ms} for name, ms in profile.unassigned],
                "input_shapes": {name: list(shape) for name, shape in self.input_shapes.items()},
                "shapes_known": self.shapes_known,
            },
            "ops": [row.to_json() for row in self.ops],
        }


def diagnose_latency(
    facts: ModelFacts, profile: Profile, delegate: Mapping[str, Any] | None = None
) -> LatencyDiagnosis:
    """Stragglers and fallbacks among the ops of a model.

    A straggler takes more than `factor` times what its peers let expect (see `expect`). The factor is at least 3 among
    ops of its kind, and more if these scatter or are less similar. The excess is at least a tenth of the inference and
    20 ticks of the clock. Ops outside the delegate are a fallback if together they cost as much, or if a log without
    times reports them. 16-bit ops (int16x8), which all lack a fast kernel, are named if they take 30 % of the
    inference.

    Args:
        facts: the model that was measured.
        profile: its times.
        delegate: `runs[].delegate` of a parsed benchmark log (`windtunnel.log/1`): what the accelerator did not take.

    Returns:
        The causes, the most expensive first, and the verdict of every op.
    """
    costs = [op_cost(facts, op) for op in facts.ops]
    total = max(profile.total_ms, profile.ops_ms)
    rows = _rows(costs, profile, total)
    fallback = _fallback(rows, profile, delegate, total)
    outside = _outside(fallback)
    stragglers = [_straggler(row) for row in rows if row.verdict == "straggler" and row.cost.op_index not in outside]
    wide = None if fallback is not None else _wide(rows, profile, total)
    found = [cause for cause in (fallback, wide) if cause is not None] + stragglers
    causes = tuple(sorted(found, key=lambda cause: -_excess(cause)))
    shown = tuple(_judged(row, outside) for row in rows)
    return LatencyDiagnosis(profile, shown, causes, _excluded(shown, causes, profile, total))


def _rows(costs: Sequence[OpCost], profile: Profile, total: float) -> list[OpVerdict]:
    timed = [(cost, time.ms) for cost, time in zip(costs, profile.ops, strict=True) if time.ms is not None]
    models, times = [cost for cost, _ in timed], np.array([ms for _, ms in timed], dtype=np.float64)
    rows = []
    for cost, time in zip(costs, profile.ops, strict=True):
        if time.ms is None or total <= 0.0:
            rows.append(OpVerdict(cost, time, None, None, "not timed"))
            continue
        expected = None if cost.family == "control" else expect(cost, models, times, profile.resolution_ms)
        slow = expected is not None and time.ms > expected.factor * expected.ms
        excess = 0.0 if expected is None else time.ms - expected.ms
        verdict = (
            "no peers" if expected is None else "straggler" if slow and _material(excess, profile, total) else "fine"
        )
        rows.append(OpVerdict(cost, time, time.ms / total, expected, verdict))
    return rows


def _material(ms: float, profile: Profile, total: float) -> bool:
    return ms >= MATERIAL_SHARE * total and ms >= MATERIAL_TICKS * profile.resolution_ms


def _judged(row: OpVerdict, outside: frozenset[int]) -> OpVerdict:
    index = row.cost.op_index
    verdict = "fallback" if index in outside else row.verdict
    return row if verdict == row.verdict else OpVerdict(row.cost, row.time, row.share, row.expected, verdict)


def _outside(fallback: Cause | None) -> frozenset[int]:
    """The ops that a fallback is about."""
    finding = None if fallback is None else fallback.finding
    return frozenset(finding.ops) if isinstance(finding, DelegateFallback) else frozenset()


def _excess(cause: Cause) -> float:
    """The time that a cause costs, in ms; 0 if it is not known."""
    finding = cause.finding
    return (finding.excess_ms or 0.0) if isinstance(finding, LatencyStraggler | WideOpsSlow | DelegateFallback) else 0.0


def _straggler(row: OpVerdict) -> Cause:
    expected, ms = row.expected, row.time.ms
    assert expected is not None and ms is not None
    ratio = ms / expected.ms
    confidence = STRAGGLER_CONFIDENCE[expected.level] + STRAGGLER_CLEARER * (1 - expected.factor / ratio)
    cost = row.cost
    finding = LatencyStraggler(
        measured_ms=ms,
        expected_ms=expected.ms,
        excess_ms=ms - expected.ms,
        times_slower=ratio,
        limit_times=expected.factor,
        share=row.share,
        macs=cost.macs,
        bytes=cost.bytes,
        peers=Peers(expected.level, cost.kind, tuple(expected.peers)),
        kernels=tuple(row.time.kernels),
        reason=cost.weakness or f"this kernel of {cost.op} is slow for such shapes and types",
        advice=_advice(cost),
        op=cost.op,
        op_index=cost.op_index,
    )
    return Cause(finding, confidence, cost.layer, cost.op_index, rule="slower_than_peers")


def _advice(cost: OpCost) -> str:
    """What to do about a slow op, by the weakness of its kernel."""
    weakness = cost.weakness or ""
    if weakness.startswith(_WIDE):
        return "quantize these ops to int8, or keep them in float: both have fast kernels"
    if "hybrid" in weakness:
        return "quantize the activations too (int8), or keep the weights in float16"
    if "dilation" in weakness:
        return "use an undilated convolution with a larger kernel, or a regular one with dilation"
    if "transposed" in weakness:
        return "resize and convolve instead of the transposed convolution"
    if weakness:
        return "express the custom op by built-in ones"
    return "run the op with other kernels, or in another type"


def _fallback(
    rows: Sequence[OpVerdict], profile: Profile, delegate: Mapping[str, Any] | None, total: float
) -> Cause | None:
    """The ops that the accelerator did not take, as one cause placed at the slowest."""
    refused = {str(one.get("op")): one.get("why") for one in (delegate or {}).get("unsupported_ops") or ()}
    reported = (delegate or {}).get("outcome") in ("partial", "none", "failed")
    outside = [row for row in rows if row.time.delegated is False] if profile.accelerator != BUILTIN else []
    if reported and not outside:
        outside = [row for row in rows if row.cost.op in refused]
    times = [row.time.ms for row in outside if row.time.ms is not None]
    spent = sum(times) if times else None
    if spent is not None and not _material(spent, profile, total):
        return None
    if not outside and not reported:
        return None
    slowest = max(outside, key=lambda row: row.time.ms or 0.0, default=None)
    kinds = sorted({row.cost.op for row in outside} | set(refused))
    weak = slowest.cost if slowest is not None and slowest.cost.weakness is not None else None
    finding = DelegateFallback(
        ops=tuple(row.cost.op_index for row in outside),
        kinds=tuple(kinds),
        measured_ms=spent,
        excess_ms=spent,
        share=None if spent is None else spent / total,
        macs=sum(row.cost.macs for row in outside),
        bytes=sum(row.cost.bytes for row in outside),
        reasons=tuple(_reasons(outside, refused)),
        delegate=None if delegate is None else _coverage(delegate),
        slower_than_expected=tuple(_slow_among(outside)),
        advice=_TAKEN if weak is None else _advice(weak),
        slowest=None if weak is None else weak.op,
        slowest_index=None if weak is None else weak.op_index,
    )
    confidence = OUTSIDE_DELEGATE_TIMED if spent is not None else OUTSIDE_DELEGATE
    layer, op_index = (None, None) if slowest is None else (slowest.cost.layer, slowest.cost.op_index)
    return Cause(finding, confidence, layer, op_index, rule="outside_the_delegate")


def _reasons(rows: Sequence[OpVerdict], refused: Mapping[str, Any]) -> list[str]:
    known = {row.cost.weakness for row in rows} | {None if why is None else str(why) for why in refused.values()}
    return sorted(reason for reason in known if reason)


_TAKEN = "replace these ops, or give them a type and shapes that the accelerator takes"


def _coverage(delegate: Mapping[str, Any]) -> DelegateCoverage:
    """What a log says of the delegate."""
    return DelegateCoverage(
        delegate.get("name"),
        delegate.get("outcome"),
        delegate.get("nodes_delegated"),
        delegate.get("nodes_total"),
        delegate.get("partitions"),
    )


def _slow_among(rows: Sequence[OpVerdict]) -> list[SlowOp]:
    return [
        SlowOp(row.cost.op_index, row.time.ms, row.expected.ms)
        for row in rows
        if row.verdict == "straggler" and row.expected is not None
    ]


def _wide(rows: Sequence[OpVerdict], profile: Profile, total: float) -> Cause | None:
    """16-bit ops as one cause: there is no fast kernel for any, so they cannot serve as peers of each other."""
    weak = [row for row in rows if (row.cost.weakness or "").startswith(_WIDE) and row.time.ms is not None]
    spent = sum(row.time.ms for row in weak if row.time.ms is not None)
    if not weak or spent < WEAK_SHARE * total or spent < MATERIAL_TICKS * profile.resolution_ms:
        return None
    slowest = max(weak, key=lambda row: row.time.ms or 0.0)
    cost = slowest.cost
    finding = WideOpsSlow(
        ops=tuple(row.cost.op_index for row in weak),
        measured_ms=spent,
        excess_ms=spent,
        share=spent / total,
        macs=sum(row.cost.macs for row in weak),
        bytes=sum(row.cost.bytes for row in weak),
        reason=cost.weakness or "",
        advice=_advice(cost),
        op=cost.op,
        op_index=cost.op_index,
    )
    return Cause(finding, SLOW_KERNELS, cost.layer, cost.op_index, rule="kernels_known_to_be_slow")


def _excluded(
    rows: Sequence[OpVerdict], causes: Sequence[Cause], profile: Profile, total: float
) -> tuple[Exclusion, ...]:
    codes = {cause.code for cause in causes}
    found = []
    judged = [row for row in rows if row.expected is not None and row.verdict != "fallback"]
    if "latency.straggler" not in codes and judged:
        found.append(Exclusion("latency.straggler", _no_straggler(judged, total, profile), rule="peers_explain_times"))
    if "latency.fallback" not in codes and profile.accelerator != BUILTIN and profile.method != "cutting":
        outside = [row for row in rows if row.time.delegated is False]
        spent = sum(row.time.ms or 0.0 for row in outside)
        took = f"{rounded(spent)} of {rounded(total)} ms"
        why = f"{len(outside)} of {len(rows)} ops ran outside the delegate, together {took}"
        found.append(Exclusion("latency.fallback", why, rule="delegate_took_the_ops"))
    return tuple(found)


def _no_straggler(judged: Sequence[OpVerdict], total: float, profile: Profile) -> str:
    def excess(row: OpVerdict) -> float:
        return (row.time.ms or 0.0) - (row.expected.ms if row.expected else 0.0)

    worst = max(judged, key=excess)
    assert worst.expected is not None
    return (
        f"none of the {len(judged)} ops that ran on the chosen accelerator is slower than expected by both its factor "
        f"and {rounded(max(MATERIAL_SHARE * total, MATERIAL_TICKS * profile.resolution_ms))} ms; the closest is "
        f"op {worst.cost.op_index} {worst.cost.op}: {rounded(worst.time.ms or 0.0)} ms, "
        f"expected {rounded(worst.expected.ms)} ms, factor {worst.expected.factor:.1f}"
    )
