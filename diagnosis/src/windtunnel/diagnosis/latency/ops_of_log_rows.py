"""Op times from a parsed benchmark log (`windtunnel.log/1`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from windtunnel.accelerators import BUILTIN, XNNPACK
from windtunnel.diagnosis.latency.delegate_ops import align
from windtunnel.diagnosis.latency.native_profiler import Kernels
from windtunnel.diagnosis.latency.op_profile import OpTime, Profile
from windtunnel.diagnosis.thresholds.latency_thresholds import LOG_TICK_MS
from windtunnel.errors import InvalidInput
from windtunnel.tflite import ModelFacts

# The profiler names a row "[output tensors]:index".
_INDEX = re.compile(r":(\d+)\s*$")
_OP_NAME = re.compile(r"[A-Z][A-Z0-9_]*")


def profile_of_log(facts: ModelFacts, run: Mapping[str, Any]) -> Profile:
    """The op table of one run of a log as a profile of the model.

    Rows of built-in ops have the op's index in their name. Rows of a delegate's operators are aligned with the ops that
    have no row. Other rows, of a delegate that does not report its operators, are `unassigned`.

    Args:
        facts: of the model.
        run: an entry of `runs` of a parsed log.

    Returns:
        Times of all ops.

    Raises:
        InvalidInput: the log has no op table (the tool prints one with --enable_op_profiling=true), or its rows are of
            another model.
    """
    # Rows go by the index in their names: the table of the slowest ops serves as well, if it has all of them.
    rows = [row for row in run.get("ops") or run.get("top_ops") or () if row.get("avg_ms") is not None]
    inference = (run.get("inference") or {}).get("avg_us")
    if not rows:
        raise InvalidInput("the log has no table of ops", hint="run the benchmark tool with --enable_op_profiling=true")
    own: dict[int, float] = {}
    parts: list[tuple[str, float]] = []
    unassigned: list[tuple[str, float]] = []
    for row in rows:
        _sort_row(facts, str(row["type"]), str(row.get("name") or ""), float(row["avg_ms"]), (own, parts, unassigned))
    rest = [op for op in facts.ops if op.index not in own]
    if rest and not parts and not unassigned:
        raise InvalidInput(f"the log's table has {len(own)} of {len(facts.ops)} ops of {facts.path.name}")
    folded = frozenset(op.index for op in rest if facts.main.fixed.issuperset(op.outputs))
    owners = align(rest, [kind for kind, _ in parts], folded) if parts else []
    if owners is None:
        raise InvalidInput(
            f"the log's delegate rows do not fit the ops of {facts.path.name}", hint="is it of this model?"
        )
    grouped: dict[int, list[tuple[str, float]]] = {}
    for owner, part in zip(owners, parts, strict=True):
        grouped.setdefault(rest[owner].index, []).append(part)
    ops = tuple(_time(op.index, own, grouped, bool(parts), folded) for op in facts.ops)
    total = sum(ms for _, ms in (*own.items(), *parts, *unassigned)) if inference is None else float(inference) / 1e3
    accelerator: Kernels = XNNPACK if parts or any("elegate" in kind for kind, _ in unassigned) else BUILTIN
    count = (run.get("inference") or {}).get("count")
    threads = run.get("threads")
    return Profile("log", accelerator, int(threads or 1), int(count or 1), total, ops, tuple(unassigned), LOG_TICK_MS)


_Sorted = tuple[dict[int, float], list[tuple[str, float]], list[tuple[str, float]]]


def _sort_row(facts: ModelFacts, kind: str, name: str, ms: float, into: _Sorted) -> None:
    own, parts, unassigned = into
    found = _INDEX.search(name)
    index = int(found.group(1)) if found else -1
    if kind.startswith("Delegate/") or name.startswith(("Delegate/", "[Delegate]")):
        parts.append((kind, ms))
    elif 0 <= index < len(facts.ops) and facts.ops[index].name == kind:
        own[index] = own.get(index, 0.0) + ms
    elif not _OP_NAME.fullmatch(kind):
        # A delegate that does not report its operators, or the runtime's own work.
        unassigned.append((kind, ms))
    else:
        raise InvalidInput(
            f"the log's row {kind} {name!r} is not an op of {facts.path.name}", hint="is it of this model?"
        )


def _time(
    index: int,
    own: Mapping[int, float],
    grouped: Mapping[int, Sequence[tuple[str, float]]],
    reported: bool,
    folded: frozenset[int],
) -> OpTime:
    if index in own:
        return OpTime(index, own[index], (), False)
    if index in folded:
        return OpTime(index, None)
    found = grouped.get(index)
    if found is None:
        return OpTime(index, 0.0 if reported else None, (), True)
    return OpTime(index, sum(ms for _, ms in found), tuple(kind for kind, _ in found), True)
