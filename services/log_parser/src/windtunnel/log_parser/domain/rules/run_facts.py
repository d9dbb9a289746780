"""What the lines of one benchmark run have reported up to now."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from windtunnel.log_parser.domain.log import ErrorKind, LogError, Memory, Op, RunLog, Stats, Tool
from windtunnel.log_parser.domain.rules.delegate_wordings import DelegateSet
from windtunnel.log_parser.domain.rules.profile_tables import OpTable

# Which of several failures names the cause; the others follow from it.
_CAUSES: tuple[ErrorKind, ...] = (
    "not_executed",
    "model_load_failure",
    "op_version",
    "unsupported_op",
    "out_of_memory",
    "invalid_argument",
    "delegate_failed",
    "crash",
    "other",
)

# These end the process; what failed before was survived so far.
_DEATHS: tuple[ErrorKind, ...] = ("not_executed", "out_of_memory", "crash")

Section = Literal["regular", "init", "skip"]


@dataclass(frozen=True, slots=True)
class Failure:
    """A line that reports a failure. After a fatal one the tool gives up."""

    kind: ErrorKind
    message: str
    fatal: bool


@dataclass(slots=True)
class Profile:
    """Where in the profiler's report the log is."""

    section: Section = "regular"
    target: list[Op] | None = None
    table: OpTable | None = None
    doubled: bool = False
    open: bool = False


@dataclass(slots=True)
class Run:
    """A run under construction. `init_rank` says how exact the source of `init_us` is."""

    tool: Tool = "tflite"
    # The process that a logcat names.
    pid: str = ""
    started: bool = False
    beyond_flags: bool = False
    # A line of a benchmark tool itself, not only of the runtime.
    of_tool: bool = False
    # A command line was read.
    of_command: bool = False
    # The log shows what was asked for: all parameters that were set, the command line, or an accelerator set to none.
    shows_request: bool = False
    runtime_version: str | None = None
    model: str | None = None
    model_rank: int = 0
    model_size_mb: float | None = None
    threads: int | None = None
    threads_rank: int = 0
    init_us: float | None = None
    init_rank: int = 0
    first_inference_us: float | None = None
    phases: list[str] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)
    summary: str | None = None
    warmup: Stats = field(default_factory=Stats)
    inference: Stats = field(default_factory=Stats)
    memory: Memory = field(default_factory=Memory)
    memory_due: bool = False
    delegates: DelegateSet = field(default_factory=DelegateSet)
    ops: list[Op] = field(default_factory=list)
    init_ops: list[Op] = field(default_factory=list)
    # The first table of the slowest ops, kept if there is none in run order; and a table left out.
    top_ops: list[Op] = field(default_factory=list)
    top_title: str | None = None
    other_title: str | None = None
    profile: Profile = field(default_factory=Profile)
    block_open: bool = False
    block_filled: bool = False
    # A report in JSON or CSV was read, and the columns of a CSV whose row is still to come.
    reported: bool = False
    csv_columns: tuple[str, ...] | None = None
    complete: bool = False
    gave_up: bool = False
    failures: list[Failure] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)

    def set_model(self, name: str, rank: int) -> None:
        """Keeps the model of the best source: the Graph parameter (3), the load message (2), a command line (1).

        Args:
            name: of the model.
            rank: of the source.
        """
        if rank > self.model_rank:
            self.model, self.model_rank = name, rank

    def set_threads(self, threads: int | None, rank: int) -> None:
        """Keeps the number of threads of the best source, as `set_model`.

        Args:
            threads: 0 and -1 mean that the runtime chooses and are not kept.
            rank: of the source.
        """
        if threads is not None and threads > 0 and rank > self.threads_rank:
            self.threads, self.threads_rank = threads, rank

    def set_init(self, value: float | None, rank: int) -> None:
        """Keeps the most exact figure: the summary (3), the session message (2), LiteRT's two decimals (1).

        Args:
            value: in microseconds; None: not printed.
            rank: of the source.
        """
        if value is not None and rank > self.init_rank:
            self.init_us, self.init_rank = value, rank

    def fill(self, series: Literal["warmup", "inference"], **figures: float | None) -> None:
        """Adds figures to a series if the more exact lines before have left them open.

        Args:
            series: which one.
            **figures: by name; None: not printed.
        """
        stats: Stats = getattr(self, series)
        missing = {key: value for key, value in figures.items() if getattr(stats, key) is None}
        setattr(self, series, replace(stats, **missing))

    def fail(self, failure: Failure) -> None:
        """Keeps a failure; the same line twice is one failure.

        Args:
            failure: of the run.
        """
        if failure not in self.failures[-8:]:
            self.failures.append(failure)
        if failure.kind == "delegate_failed":
            self.delegates.failed(failure.message)

    def build(self) -> RunLog:
        """The finished run."""
        error = self._error()
        for failure in self.failures:
            if error is not None and (failure.fatal or failure.message == error.message):
                break
            self.warnings[failure.message] = None
        self._warn_of_other_tables()
        unfinished = not self.complete or self.profile.open or self.memory_due or self.block_open
        delegate, others = self.delegates.build()
        return RunLog(
            tool=self.tool,
            runtime_version=self.runtime_version,
            model=self.model,
            model_size_mb=self.model_size_mb,
            threads=self.threads,
            accelerator_requested=self.delegates.requested_name() or self._cpu_requested(),
            init_us=self.init_us,
            first_inference_us=None if self.warmup.count == 0 else self.first_inference_us,
            warmup=self.warmup,
            inference=self.inference,
            memory=self.memory,
            delegate=delegate,
            other_delegates=others,
            ops=tuple(self.ops),
            init_ops=tuple(self.init_ops),
            top_ops=() if self.ops else tuple(self.top_ops),
            error=error,
            warnings=tuple(self.warnings),
            truncated=unfinished and error is None,
        )

    def _cpu_requested(self) -> str | None:
        """The CPU is requested where the log shows the request, and it has no accelerator."""
        return "cpu" if self.shows_request and self.under_way else None

    def _warn_of_other_tables(self) -> None:
        """Says which table the log has, if it has none in run order."""
        if self.ops or not (self.top_ops or self.other_title):
            return
        which = (
            f"top_ops are those of {self.top_title!r}"
            if self.top_ops
            else f"the table {self.other_title!r} is left out"
        )
        self.warnings[f"the log has no table of ops in run order; {which}"] = None

    @property
    def is_command_alone(self) -> bool:
        """Whether the log has nothing of the run but the command that starts it."""
        return self.of_command and not self.started and self.model_rank <= 1 and not self.under_way

    @property
    def under_way(self) -> bool:
        """Whether the log has gone beyond the run's parameters."""
        figures = (self.init_us, self.model_size_mb, self.inference.avg_us)
        return (
            self.beyond_flags
            or self.complete
            or self.gave_up
            or bool(self.failures)
            or self.profile.open
            or any(figure is not None for figure in figures)
        )

    def _error(self) -> LogError | None:
        """What ended the run: nothing if it reached its results."""
        if self.complete:
            idle = self.inference.count == 0
            return LogError("not_executed", "the tool made no regular inference run") if idle else None
        fatal = [item for item in self.failures if item.fatal]
        died = [item for item in fatal if item.kind in _DEATHS]
        candidates = died or (self.failures if fatal or self.gave_up else [])
        if candidates:
            cause = min(candidates, key=lambda item: _CAUSES.index(item.kind))
            return LogError(cause.kind, cause.message)
        return LogError("other", "Benchmarking failed.") if self.gave_up else None
