"""What a benchmark log says. A figure that the log does not state is None."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

SCHEMA = "windtunnel.log/1"

Tool = Literal["tflite", "litert"]
DelegateName = Literal["xnnpack", "gpu", "nnapi", "hexagon", "coreml", "metal", "npu", "external"]
Outcome = Literal["full", "partial", "none", "failed"]
MemoryKind = Literal["peak", "delta"]
ErrorKind = Literal[
    "model_load_failure",
    "unsupported_op",
    "op_version",
    "delegate_failed",
    "out_of_memory",
    "crash",
    "invalid_argument",
    "not_executed",
    "other",
]


@dataclass(frozen=True, slots=True)
class Stats:
    """One series of invocations; times in microseconds."""

    count: float | None = None
    first_us: float | None = None
    avg_us: float | None = None
    min_us: float | None = None
    max_us: float | None = None
    std_us: float | None = None
    p5_us: float | None = None
    median_us: float | None = None
    p95_us: float | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory in the tool's own MB; `kind` says whether init and overall are peaks or growth since its start."""

    init_mb: float | None = None
    overall_mb: float | None = None
    peak_mb: float | None = None
    kind: MemoryKind | None = None


@dataclass(frozen=True, slots=True)
class UnsupportedOp:
    """An op that a delegate refused, and its reason as printed."""

    op: str
    why: str | None


@dataclass(frozen=True, slots=True)
class Replaced:
    """One `Replacing N out of M node(s)` line; `subgraph` is None where the line speaks of the whole graph."""

    subgraph: int | None
    nodes_delegated: int | None
    nodes_total: int | None
    partitions: int | None


@dataclass(frozen=True, slots=True)
class Delegate:
    """A delegate that the log speaks of. The node figures are those of the primary graph.

    `implicit`: the runtime applied it by itself. `outcome` is None where the log does not show how it ended.
    """

    name: DelegateName
    reported_name: str | None
    implicit: bool
    outcome: Outcome | None
    nodes_delegated: int | None
    nodes_total: int | None
    partitions: int | None
    unsupported_ops: tuple[UnsupportedOp, ...] = ()
    kernels: int | None = None
    subgraphs: tuple[Replaced, ...] = ()


@dataclass(frozen=True, slots=True)
class Op:
    """A row of a profiling table, as printed."""

    type: str
    name: str | None
    start_ms: float | None
    first_ms: float | None
    avg_ms: float | None
    percent: float | None
    memory_kb: float | None
    calls: float | None


@dataclass(frozen=True, slots=True)
class LogError:
    """Why a run did not end well."""

    kind: ErrorKind
    message: str


@dataclass(frozen=True, slots=True)
class RunLog:
    """One benchmark run.

    `ops` is the table in run order. `top_ops` is the table of the slowest ops, as printed; empty if the log has `ops`.
    """

    tool: Tool
    runtime_version: str | None = None
    model: str | None = None
    model_size_mb: float | None = None
    threads: int | None = None
    accelerator_requested: str | None = None
    init_us: float | None = None
    first_inference_us: float | None = None
    warmup: Stats = field(default_factory=Stats)
    inference: Stats = field(default_factory=Stats)
    memory: Memory = field(default_factory=Memory)
    delegate: Delegate | None = None
    other_delegates: tuple[Delegate, ...] = ()
    ops: tuple[Op, ...] = ()
    init_ops: tuple[Op, ...] = ()
    top_ops: tuple[Op, ...] = ()
    error: LogError | None = None
    warnings: tuple[str, ...] = ()
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Log:
    """All runs of a log, in order."""

    runs: tuple[RunLog, ...]
    unrecognized_lines: int

    def to_json(self) -> dict[str, Any]:
        """The public form, `windtunnel.log/1`."""
        runs = [_listed(asdict(run)) for run in self.runs]
        return {"schema": SCHEMA, "runs": runs, "unrecognized_lines": self.unrecognized_lines}


def _listed(value: Any) -> Any:
    """Tuples become lists, as JSON has them."""
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    return value
