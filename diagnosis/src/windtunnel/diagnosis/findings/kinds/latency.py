"""Slow ops, and ops that did not run on the accelerator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from windtunnel.accelerators import XNNPACK
from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.document import HIDDEN, OPTIONAL, in_fix
from windtunnel.diagnosis.findings.fixes import FasterKernelsFix, Fix, OpFix, OpKindsFix
from windtunnel.plain_text import clean, figure, is_number, measure


@dataclass(frozen=True, slots=True)
class Peers:
    """The ops that an expected time comes from: how similar they are, their kind and their indices."""

    level: str
    kind: str
    ops: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TriedKernels:
    """The time of the op alone with other kernels; None: they do not run it."""

    kernels: str
    measured_ms: float | None


@dataclass(frozen=True, slots=True)
class DelegateCoverage:
    """What a log says of the accelerator: how far it took the graph; None: the log does not say."""

    name: str | None
    outcome: str | None
    nodes_delegated: int | None
    nodes_total: int | None
    partitions: int | None


@dataclass(frozen=True, slots=True)
class SlowOp:
    """An op that takes longer than its peers let expect."""

    op_index: int
    measured_ms: float | None
    expected_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyStraggler(CauseFinding):
    """An op takes much longer than its peers let expect. Times in ms; `share` of the inference, in [0, 1].

    `tried`: other kernels, which are not faster; `faster`: those that are. `advice`: what to do, as an action.
    """

    code: ClassVar[CauseCode] = CauseCode.LATENCY_STRAGGLER
    measured_ms: float
    expected_ms: float
    excess_ms: float
    times_slower: float
    limit_times: float
    share: float | None
    macs: int
    bytes: int
    peers: Peers
    kernels: tuple[str, ...]
    reason: str
    tried: TriedKernels | None = field(default=None, metadata=OPTIONAL)
    faster: TriedKernels | None = field(default=None, metadata=HIDDEN)
    advice: str = field(default="", metadata=in_fix("action"))
    op: str = field(default="", metadata=in_fix("op"))
    op_index: int | None = field(default=None, metadata=in_fix("op_index"))

    def fix(self) -> Fix:
        """Other kernels that were faster; without any, the advice."""
        if self.faster is None or self.faster.measured_ms is None:
            return OpFix(action=self.advice, op=self.op, op_index=self.op_index)
        kernels = self.faster.kernels
        where = "with XNNPACK" if kernels == XNNPACK else "outside XNNPACK, on the runtime's kernels"
        return FasterKernelsFix(
            action=f"run the op {where}",
            kernels=kernels,
            measured_ms=self.faster.measured_ms,
            otherwise=self.advice,
            op=self.op,
        )

    def words(self) -> tuple[str, ...]:
        """Its time, what was expected, and why."""
        time = time_words(self.measured_ms, self.share)
        return (f"it takes {time}; expected from similar ops: {measure(self.expected_ms)} ms", clean(self.reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class WideOpsSlow(CauseFinding):
    """16-bit ops (int16x8), which all lack a fast kernel, so that none is a peer of another."""

    code: ClassVar[CauseCode] = CauseCode.LATENCY_STRAGGLER
    ops: tuple[int, ...]
    measured_ms: float
    expected_ms: None = None
    excess_ms: float
    share: float | None
    macs: int
    bytes: int
    peers: None = None
    reason: str
    advice: str = field(default="", metadata=in_fix("action"))
    op: str = field(default="", metadata=in_fix("op"))
    op_index: int | None = field(default=None, metadata=in_fix("op_index"))

    def fix(self) -> Fix:
        """The advice for the slowest."""
        return OpFix(action=self.advice, op=self.op, op_index=self.op_index)

    def words(self) -> tuple[str, ...]:
        """Their time, and why."""
        return (f"{len(self.ops)} ops take {time_words(self.measured_ms, self.share)}", clean(self.reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegateFallback(CauseFinding):
    """Ops that the accelerator did not take: their indices and kinds, their time together, and the reasons known.

    `measured_ms` None: no times are known. `slower_than_expected`: those that are slow even so.
    """

    code: ClassVar[CauseCode] = CauseCode.LATENCY_FALLBACK
    ops: tuple[int, ...]
    kinds: tuple[str, ...]
    measured_ms: float | None
    expected_ms: None = None
    excess_ms: float | None
    share: float | None
    macs: int
    bytes: int
    reasons: tuple[str, ...]
    delegate: DelegateCoverage | None
    slower_than_expected: tuple[SlowOp, ...]
    advice: str = field(default="", metadata=in_fix("action"))
    slowest: str | None = field(default=None, metadata=in_fix("op"))
    slowest_index: int | None = field(default=None, metadata=in_fix("op_index"))

    def fix(self) -> Fix:
        """The advice for the slowest, or to replace them."""
        return OpKindsFix(action=self.advice, kinds=self.kinds, op=self.slowest, op_index=self.slowest_index)

    def words(self) -> tuple[str, ...]:
        """Which ops, their time, and why."""
        return tuple(self._words())

    def _words(self) -> Iterator[str]:
        kinds = clean(", ".join(self.kinds))
        many = f"{len(self.ops)} ops" if self.ops else "ops"
        time = f": they take {time_words(self.measured_ms, self.share)}" if is_number(self.measured_ms) else ""
        yield f"{many} did not run on the accelerator{f' ({kinds})' if kinds else ''}{time}"
        if self.delegate is not None and self.delegate.nodes_total is not None:
            taken = figure(self.delegate.nodes_delegated, "d")
            yield f"it took {taken} of {self.delegate.nodes_total} nodes"
        yield from (clean(reason) for reason in self.reasons)


def time_words(ms: float | None, share: float | None) -> str:
    """A time, and its share of the inference.

    Args:
        ms: in milliseconds; None: not known.
        share: 0 to 1; None: not known.

    Returns:
        Words for people.
    """
    return f"{measure(ms)} ms" + (f", {share:.0%} of the inference" if share is not None else "")
