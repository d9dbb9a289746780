"""The finding `output.non_finite`: where NaN or infinity begins, and which outputs it reaches."""

from __future__ import annotations

from windtunnel.datacheck.findings import OUTPUT_NON_FINITE, Finding
from windtunnel.diagnosis.findings.comparison import Comparison
from windtunnel.diagnosis.findings.kinds.constants import KEEP_FLOAT32, KEEP_SMALL


def non_finite(found: Comparison) -> tuple[Finding, ...]:
    """Says where NaN or infinity begins and which outputs it reaches.

    Args:
        found: the comparison.

    Returns:
        Empty if the reference has it as well.
    """
    sick = [layer for layer in found.layers if layer.non_finite and not layer.reference_non_finite]
    outputs = [one.words() for one in found.output.failures if one.non_finite]
    if not sick and not outputs:
        return ()
    where = [", ".join(outputs)] if outputs else []
    if sick:
        first = sick[0]
        where.append(
            f"{len(sick)} of {found.coverage.total} layers hold NaN or infinity, first {first.op} {first.name!r} "
            f"({first.non_finite} values, op {first.op_index})"
        )
    return (
        Finding(
            OUTPUT_NON_FINITE,
            "; ".join(where),
            _fix(found),
            {"layers": len(sick), "first": {"layer": sick[0].name, "op_index": sick[0].op_index} if sick else None},
        ),
    )


def _fix(found: Comparison) -> str:
    """What to do: the cause's own fix if constants are too large or small for float16; otherwise smaller values."""
    actions = {cause.finding.fix().action for cause in found.causes}
    if KEEP_SMALL in actions:
        return KEEP_SMALL
    if KEEP_FLOAT32 in actions:
        return f"{KEEP_FLOAT32}; or train the model to smaller weights"
    return "keep the first of these layers in float32, or scale its inputs down: float16 ends at 65504"
