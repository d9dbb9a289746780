"""Kernels and accelerators that give another result for the same model and input, or end their process."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from windtunnel.accelerators import BUILTIN, REFERENCE, XNNPACK, accelerator_name, shown_accelerator
from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.document import OPTIONAL, as_key, in_fix
from windtunnel.diagnosis.findings.fixes import AvoidKernelsFix, Fix, GuidedFix, OpFix
from windtunnel.plain_text import clean, figure, layer_title, named, nrmse_text

_KERNELS: Final[Mapping[str, str]] = {
    XNNPACK: "the kernels of XNNPACK",
    BUILTIN: "the runtime's builtin kernels",
    REFERENCE: "the reference kernels",
}


def _kernels_words(accelerator: str) -> str:
    return _KERNELS.get(accelerator_name(accelerator)) or f"{clean(accelerator)} kernels"


def _names(sets: Sequence[str]) -> str:
    """Accelerators as people write them."""
    return ", ".join(shown_accelerator(clean(one)) for one in sets)


@dataclass(frozen=True, slots=True)
class OpName:
    """A kind of op."""

    op: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelDiffers(CauseFinding):
    """A layer, run by itself, is wrong on the kernels in use and right on others: the file is not at fault.

    `local_nrmse` is None where it makes NaN or infinity, which `non_finite` says.
    """

    code: ClassVar[CauseCode] = CauseCode.KERNEL
    local_nrmse: float | None
    local_nrmse_on_other_kernels: float
    kernels: str
    other_kernels: str
    non_finite: OpName | None = field(default=None, metadata=OPTIONAL)
    op: str = field(default="", metadata=in_fix("op"))

    @property
    def isolated_error(self) -> float | None:
        """As in the document."""
        return self.local_nrmse

    def fix(self) -> Fix:
        """Other kernels."""
        kernels = shown_accelerator(self.kernels)
        return OpFix(action=f"run this op on other kernels than {kernels}, and report it", op=self.op)

    def words(self) -> tuple[str, ...]:
        """The errors on both."""
        wrong = (
            f"differs by nRMSE {nrmse_text(self.local_nrmse)}" if self.non_finite is None else "makes NaN or infinity"
        )
        used, other = map(_kernels_words, (self.kernels, self.other_kernels))
        right = nrmse_text(self.local_nrmse_on_other_kernels)
        return (
            f"run in isolation it {wrong} on {used}, and differs by {right} on {other}: the kernel is wrong, not the "
            "file",
        )


@dataclass(frozen=True, slots=True)
class RoundingLimit:
    """How far rounding explains a difference: `value` in `unit` (steps, or of the range), and why."""

    value: float
    unit: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSetsFinding(CauseFinding):
    """Kernels that differ from the largest group of kernels that agree."""

    is_family: ClassVar[bool] = True
    code: ClassVar[CauseCode] = CauseCode.KERNEL
    diverging: tuple[str, ...] = field(metadata=as_key("departs"))
    agree: tuple[str, ...]

    @property
    def op_name(self) -> str | None:
        """The kind of op at which it shows, where it is known."""
        return None

    @abstractmethod
    def amount(self) -> str:
        """How far they differ, or how they fail."""

    @property
    def is_severe(self) -> bool:
        """Whether it ends the process, or gives NaN or infinity."""
        return False

    def fix(self) -> Fix:
        """Avoid them there."""
        how = f"report it with this op's inputs; until it is fixed, keep the op off {_names(self.diverging)}"
        return AvoidKernelsFix(action="avoid_kernel", kernels=self.diverging, how=how)

    @property
    def _sets(self) -> str:
        agree = f"; {_names(self.agree)} agree" if self.agree else ""
        return f"{_names(self.diverging)} diverges on the same inputs{agree}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSetsDiverge(KernelSetsFinding):
    """An op gives results there that rounding does not explain.

    `ops`: the ops of the kind where it shows. Figures are of the worst one: `max_abs` in stored steps or real units,
    `of_range` as a share of the range, `share` of the values that differ. `sides_equal`: as many accelerators
    agree on the other result. `non_finite`: how many values are NaN or infinite.
    """

    op: str
    ops: tuple[int, ...]
    fed_alike: bool = True
    in_whole_model_only: bool
    limit: RoundingLimit
    max_abs: float
    of_range: float
    nrmse: float | None
    share: float
    sides_equal: bool
    non_finite: int | None = field(default=None, metadata=OPTIONAL)

    @property
    def op_name(self) -> str | None:
        """As in the document."""
        return self.op

    @property
    def is_severe(self) -> bool:
        """Whether values are NaN or infinite."""
        return self.non_finite is not None

    def words(self) -> tuple[str, ...]:
        """Who diverges, and by how much."""
        return (self._sets, self.amount())

    def amount(self) -> str:
        """By how much, and what rounding explains."""
        agree = _names(self.agree)
        if self.non_finite:
            return f"{self.non_finite} values are NaN or infinite; {agree} have none there"
        in_steps = self.limit.unit == "steps"
        found, unit = (self.max_abs, "steps") if in_steps else (self.of_range, "of the range")
        return (
            f"{figure(found)} {unit} from {agree}; rounding explains {figure(self.limit.value)} "
            f"({clean(self.limit.why)}); {figure(self.share, '.0%')} of the values differ"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCrash(KernelSetsFinding):
    """A kernel ends its process: `crash` says how, `said` its last words. `tries`: runs that it took to find."""

    crash: str
    said: str
    op: str | None
    tries: int

    @property
    def op_name(self) -> str | None:
        """As in the document."""
        return self.op

    @property
    def is_severe(self) -> bool:
        """It always is."""
        return True

    def words(self) -> tuple[str, ...]:
        """Who, and how."""
        return (self._sets, f"the process ends: {clean(self.crash)}", self.amount())

    def amount(self) -> str:
        """What it said, and how it was found."""
        return f"{clean(self.said)}; found in {self.tries} tries"


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionDiverges(KernelSetsFinding):
    """The outputs on an accelerator change when layers are kept: it does something else if it may fuse ops."""

    layers_kept_changes_outputs: bool = True
    nrmse: float | None

    def fix(self) -> Fix:
        """Look for the op."""
        how = "the fault shows only where the kernel may fuse ops: bisect prefixes"
        return GuidedFix(action="bisect", how=how)

    def words(self) -> tuple[str, ...]:
        """Who, and when."""
        return (f"{_names(self.diverging)}: {self.amount()}",)

    def amount(self) -> str:
        """When it shows."""
        return "the outputs change if the layers between are kept: the fault is in how ops are fused"


@dataclass(frozen=True, slots=True, kw_only=True)
class _OutputFinding(CauseFinding):
    is_family: ClassVar[bool] = True
    code: ClassVar[CauseCode] = CauseCode.KERNEL
    output: str
    kernel: str

    def fix(self) -> Fix:
        """Look for the op."""
        how = "cut the model after an op, until the first op whose result diverges is left"
        return GuidedFix(action="bisect", how=how)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputNonFinite(_OutputFinding):
    """An output has NaN or infinity (`non_finite` of `values`) where the CPU has none."""

    non_finite: int
    values: int
    cpu_non_finite: int = 0

    def words(self) -> tuple[str, ...]:
        """How many."""
        return (
            f"output {layer_title(self.output)} has {self.non_finite} of {self.values} values NaN or infinite on "
            f"{clean(self.kernel)}; the CPU has none there",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputAllZero(_OutputFinding):
    """An output is all zeros where the CPU gives values up to `cpu_max_abs`."""

    all_zero: bool = True
    cpu_max_abs: float

    def words(self) -> tuple[str, ...]:
        """That it is zero."""
        return (
            f"output {layer_title(self.output)} is zero throughout on {clean(self.kernel)}; the CPU gives values up "
            f"to {figure(self.cpu_max_abs)}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceleratorDidNotRun(CauseFinding):
    """An accelerator that computes in lower precision gave the CPU's very bits: the CPU computed them."""

    code: ClassVar[CauseCode] = CauseCode.LATENCY_FALLBACK
    accelerator: str
    promised: str
    bit_equal_values: int
    values_that_would_differ: int
    samples: int

    def fix(self) -> Fix:
        """See its log."""
        how = f"{self.accelerator} gave the CPU's very bits: it did not run; see its log"
        return GuidedFix(action="run_on_accelerator", how=how)

    def words(self) -> tuple[str, ...]:
        """How that is known."""
        return (
            f"{named(self.accelerator)} computes in {self.promised}, and {self.bit_equal_values} values of "
            f"{self.samples} samples equal the CPU's bit for bit; {self.values_that_would_differ} of them would differ",
        )
