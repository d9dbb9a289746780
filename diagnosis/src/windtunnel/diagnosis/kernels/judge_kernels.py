"""From figures to causes: which kernel departs, at which op, and whether rounding explains it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.kinds.kernels import KernelCrash, KernelSetsDiverge, RoundingLimit
from windtunnel.diagnosis.kernels.result_distance import Gap, consensus
from windtunnel.diagnosis.kernels.rounding_bounds import Limit, local_limit
from windtunnel.diagnosis.thresholds.confidences import (
    KERNEL_ENDS_PROCESS,
    KERNEL_ENDS_SOMEWHERE,
    OP_DIVERGES,
    OP_DIVERGES_ONE_WITNESS,
    OP_DIVERGES_TIED,
    OP_DIVERGES_VERIFIED,
)
from windtunnel.diagnosis.thresholds.kernel_thresholds import LISTED_OPS
from windtunnel.tflite import ModelFacts, layer_tensors

Gaps = Mapping[tuple[int, str, str], Gap]


@dataclass(frozen=True, slots=True)
class Departure:
    """One kernel set at one output of one op: `gap` is against `agreeing[0]`, beyond `limit`.

    `tied` where as many kernels stand on the other side; `in_graph` where it shows only in the whole model.
    """

    kernel: str
    op_index: int
    layer: str
    gap: Gap
    limit: Limit
    agreeing: tuple[str, ...]
    tied: bool = False
    in_graph: bool = False


@dataclass(frozen=True, slots=True)
class Crash:
    """A kernel set that ended its process; `op_index` is None where no single op was found to do it."""

    kernel: str
    op_index: int | None
    how: str
    said: str
    tries: int
    verified: bool


def departures(facts: ModelFacts, gaps: Gaps, trust: Sequence[str]) -> list[Departure]:
    """Kernels that depart from the largest set that agrees, op by op; every op was fed alike."""
    found = []
    present = {(tensor, name) for tensor, *names in gaps for name in names}
    for op, tensor in layer_tensors(facts):
        limit = local_limit(facts, facts.ops[op], tensor)
        names = [name for name in trust if (tensor.index, name) in present]
        if len(names) < 2:
            continue

        def agree(first: str, second: str, index: int = tensor.index, allowed: Limit = limit) -> bool:
            return _gap(gaps, index, first, second).within(allowed)

        members, tied = consensus(names, agree)
        for name in names:
            if name not in members:
                gap = _gap(gaps, tensor.index, members[0], name)
                found.append(Departure(name, op, tensor.name, gap, limit, members, tied))
    return found


def in_graph_departures(facts: ModelFacts, gaps: Gaps, base: str, kernel: str) -> list[Departure]:
    """Ops at which a kernel, inside the whole model, does not do what the base does on the same inputs."""
    found = []
    for op, tensor in layer_tensors(facts):
        gap = gaps.get((tensor.index, base, kernel))
        limit = local_limit(facts, facts.ops[op], tensor)
        if gap is not None and not gap.within(limit):
            found.append(Departure(kernel, op, tensor.name, gap, limit, (base,), in_graph=True))
    return found


def departure_causes(facts: ModelFacts, found: Iterable[Departure], verified: Mapping[int, bool]) -> list[Cause]:
    """One cause per kind of op and set of kernels that depart on it, at the first such op.

    `verified` tells of ops that ran again alone whether the departure came back.
    """
    by_op: dict[int, list[Departure]] = {}
    for one in found:
        by_op.setdefault(one.op_index, []).append(one)
    groups: dict[tuple[str, frozenset[str], bool], list[Departure]] = {}
    for op, members in sorted(by_op.items()):
        key = (facts.ops[op].name, frozenset(one.kernel for one in members), members[0].in_graph)
        groups.setdefault(key, []).extend(members)
    return [_departure_cause(kind, group, verified) for (kind, _, _), group in groups.items()]


def _departure_cause(kind: str, group: Sequence[Departure], verified: Mapping[int, bool]) -> Cause:
    first = group[0]
    kernels = list(dict.fromkeys(one.kernel for one in group))
    worst = max(group, key=lambda one: (one.gap.nrmse is None, one.gap.of_range))
    bad = sum(one.gap.non_finite[1] for one in group)
    finding = KernelSetsDiverge(
        diverging=tuple(kernels),
        agree=tuple(first.agreeing),
        op=kind,
        ops=tuple(dict.fromkeys(one.op_index for one in group))[:LISTED_OPS],
        in_whole_model_only=first.in_graph,
        limit=RoundingLimit(worst.limit.value, worst.limit.unit, worst.limit.why),
        max_abs=worst.gap.max_abs,
        of_range=worst.gap.of_range,
        nrmse=worst.gap.nrmse,
        share=worst.gap.share,
        sides_equal=first.tied,
        non_finite=bad or None,
    )
    sure = verified.get(first.op_index, False)
    confidence = _confidence(first, verified=sure)
    return Cause(finding, confidence, first.layer, first.op_index, sure, rule="op_diverges_between_kernels")


def _confidence(first: Departure, *, verified: bool) -> float:
    sure = OP_DIVERGES_TIED if first.tied else OP_DIVERGES
    more = OP_DIVERGES_VERIFIED if verified else 0.0
    less = OP_DIVERGES_ONE_WITNESS if len(first.agreeing) < 2 else 0.0
    return sure + more - less


def crash_cause(facts: ModelFacts, crash: Crash, survived: Sequence[str]) -> Cause:
    """The cause of a kernel that ends its process; `survived` are the kernel sets that did not."""
    op = None if crash.op_index is None else facts.ops[crash.op_index]
    layer = None
    if op is not None:
        layer = next((tensor.name for index, tensor in layer_tensors(facts) if index == op.index), None)
    finding = KernelCrash(
        diverging=(crash.kernel,),
        agree=tuple(survived),
        crash=crash.how,
        said=crash.said,
        op=None if op is None else op.name,
        tries=crash.tries,
    )
    place = None if op is None else op.index
    confidence = KERNEL_ENDS_PROCESS if place is not None else KERNEL_ENDS_SOMEWHERE
    return Cause(finding, confidence, layer, place, crash.verified, rule="kernel_ends_process")


def _gap(gaps: Gaps, tensor: int, first: str, second: str) -> Gap:
    if (tensor, first, second) in gaps:
        return gaps[tensor, first, second]
    return gaps[tensor, second, first].turned()
