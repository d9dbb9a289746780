"""From figures to causes: which kernel diverges, at which op, and whether rounding explains it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.kinds.kernels import KernelCrash, KernelSetsDiverge, RoundingLimit
from windtunnel.diagnosis.kernels.result_distance import Distance, consensus
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

Distances = Mapping[tuple[int, str, str], Distance]


@dataclass(frozen=True, slots=True)
class Divergence:
    """One accelerator at one output of one op: `distance` is from `agreeing[0]`, beyond `limit`.

    `tied`: as many accelerators agree on the other result; `in_graph`: it shows only in the whole model.
    """

    kernel: str
    op_index: int
    layer: str
    distance: Distance
    limit: Limit
    agreeing: tuple[str, ...]
    tied: bool = False
    in_graph: bool = False


@dataclass(frozen=True, slots=True)
class Crash:
    """A kernel that ended its process; `op_index` is None if no single op was found to do it."""

    kernel: str
    op_index: int | None
    how: str
    said: str
    tries: int
    verified: bool


def divergences(facts: ModelFacts, distances: Distances, trust: Sequence[str]) -> list[Divergence]:
    """Accelerators that diverge from the largest group that agrees, op by op, on the same inputs.

    Args:
        facts: of the model.
        distances: of ops run in isolation.
        trust: names of the accelerators, the most trusted first.

    Returns:
        In execution order.
    """
    found = []
    present = {(tensor, name) for tensor, *names in distances for name in names}
    for op, tensor in layer_tensors(facts):
        limit = local_limit(facts, facts.ops[op], tensor)
        names = [name for name in trust if (tensor.index, name) in present]
        if len(names) < 2:
            continue

        def agree(first: str, second: str, index: int = tensor.index, allowed: Limit = limit) -> bool:
            return _distance(distances, index, first, second).within(allowed)

        members, tied = consensus(names, agree)
        for name in names:
            if name not in members:
                distance = _distance(distances, tensor.index, members[0], name)
                found.append(Divergence(name, op, tensor.name, distance, limit, members, tied))
    return found


def in_graph_divergences(facts: ModelFacts, distances: Distances, base: str, kernel: str) -> list[Divergence]:
    """Ops at which an accelerator, inside the whole model, gives other results than the base on the same inputs.

    Args:
        facts: of the model.
        distances: inside the whole model.
        base: name of the base.
        kernel: name of the accelerator.

    Returns:
        In execution order.
    """
    found = []
    for op, tensor in layer_tensors(facts):
        distance = distances.get((tensor.index, base, kernel))
        limit = local_limit(facts, facts.ops[op], tensor)
        if distance is not None and not distance.within(limit):
            found.append(Divergence(kernel, op, tensor.name, distance, limit, (base,), in_graph=True))
    return found


def divergence_causes(facts: ModelFacts, found: Iterable[Divergence], verified: Mapping[int, bool]) -> list[Cause]:
    """One cause per kind of op and group of accelerators that diverge on it, at the first such op.

    Args:
        facts: of the model.
        found: the divergences.
        verified: whether the divergence came back when the op ran once more in a model of its own; by op index.

    Returns:
        The causes.
    """
    by_op: dict[int, list[Divergence]] = {}
    for one in found:
        by_op.setdefault(one.op_index, []).append(one)
    groups: dict[tuple[str, frozenset[str], bool], list[Divergence]] = {}
    for op, members in sorted(by_op.items()):
        key = (facts.ops[op].name, frozenset(one.kernel for one in members), members[0].in_graph)
        groups.setdefault(key, []).extend(members)
    return [_divergence_cause(kind, group, verified) for (kind, _, _), group in groups.items()]


def _divergence_cause(kind: str, group: Sequence[Divergence], verified: Mapping[int, bool]) -> Cause:
    first = group[0]
    kernels = list(dict.fromkeys(one.kernel for one in group))
    worst = max(group, key=lambda one: (one.distance.nrmse is None, one.distance.of_range))
    bad = sum(one.distance.non_finite[1] for one in group)
    finding = KernelSetsDiverge(
        diverging=tuple(kernels),
        agree=tuple(first.agreeing),
        op=kind,
        ops=tuple(dict.fromkeys(one.op_index for one in group))[:LISTED_OPS],
        in_whole_model_only=first.in_graph,
        limit=RoundingLimit(worst.limit.value, worst.limit.unit, worst.limit.why),
        max_abs=worst.distance.max_abs,
        of_range=worst.distance.of_range,
        nrmse=worst.distance.nrmse,
        share=worst.distance.share,
        sides_equal=first.tied,
        non_finite=bad or None,
    )
    sure = verified.get(first.op_index, False)
    confidence = _confidence(first, verified=sure)
    return Cause(finding, confidence, first.layer, first.op_index, sure, rule="op_diverges_between_kernels")


def _confidence(first: Divergence, *, verified: bool) -> float:
    sure = OP_DIVERGES_TIED if first.tied else OP_DIVERGES
    more = OP_DIVERGES_VERIFIED if verified else 0.0
    less = OP_DIVERGES_ONE_WITNESS if len(first.agreeing) < 2 else 0.0
    return sure + more - less


def crash_cause(facts: ModelFacts, crash: Crash, survived: Sequence[str]) -> Cause:
    """The cause of a kernel that ends its process.

    Args:
        facts: of the model.
        crash: what happened.
        survived: names of the accelerators on which the model ran.

    Returns:
        The cause.
    """
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


def _distance(distances: Distances, tensor: int, first: str, second: str) -> Distance:
    if (tensor, first, second) in distances:
        return distances[tensor, first, second]
    return distances[tensor, second, first].turned()
