"""What is wrong in an app behind its preprocessing: kernels of the device, and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.document import OPTIONAL, in_fix
from windtunnel.diagnosis.findings.fixes import Fix, OpFix
from windtunnel.plain_text import layer_title, nrmse_text

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceKernelDiffers(CauseFinding):
    """The device gives another result than this machine, for the same model and the same input.

    `tensor`: where it shows first. `nrmse`: of it; `limit`: what right kernels differ by here. `op`: of its layer, if
    layers were recorded. `frames`: how many were compared.
    """

    code: ClassVar[CauseCode] = CauseCode.KERNEL
    tensor: str
    nrmse: float
    limit: float
    frames: int
    op: str | None = field(default=None, metadata=OPTIONAL)

    @property
    def isolated_error(self) -> float | None:
        """As in the document."""
        return self.nrmse if self.op is not None else None

    def fix(self) -> Fix:
        """Other kernels there."""
        if self.op is None:
            return Fix(action="run the model on other kernels there, and record layers (level layers) to find the op")
        return OpFix(action="run this op on other kernels on this device, and report it", op=self.op)

    def words(self) -> tuple[str, ...]:
        """How far it differs."""
        where = f"the layer {layer_title(self.tensor)}" if self.op else f"the output {layer_title(self.tensor)}"
        return (
            f"fed the recorded inputs, {where} of the device differs by nRMSE {nrmse_text(self.nrmse)} from this "
            f"machine's kernels; right kernels may differ by {nrmse_text(self.limit)} ({self.frames} frames)",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelsMoved(CauseFinding):
    """The model names the right class, and the app reads another label for it.

    `mapping`: the model's class to the app's, where they differ. `shift`: all moved by this; None: permuted.
    """

    code: ClassVar[CauseCode] = CauseCode.OUTPUT_LABELS
    mapping: Mapping[str, int]
    shift: int | None = None
    accuracy: float | None = None
    accuracy_renumbered: float | None = None
    how: str = field(default="", metadata=in_fix("action"))

    def fix(self) -> Fix:
        """The right list."""
        return Fix(action=self.how or "use the list of labels that the model was trained with")

    def words(self) -> tuple[str, ...]:
        """What is read for what."""
        shown = ", ".join(f"class {left} as {right}" for left, right in list(self.mapping.items())[:_SHOWN])
        more = ", ..." if len(self.mapping) > _SHOWN else ""
        moved = f"labels are moved by {self.shift:+d}" if self.shift is not None else f"the app reads {shown}{more}"
        if self.accuracy is None or self.accuracy_renumbered is None:
            return (moved,)
        return (f"{moved}; with the labels renumbered, the accuracy is {self.accuracy_renumbered:.3g} instead of "
                f"{self.accuracy:.3g}",)  # fmt: skip
