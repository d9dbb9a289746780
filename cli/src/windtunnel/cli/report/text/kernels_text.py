"""The table of accelerators that `windtunnel kernels` prints, and its causes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from windtunnel.accelerators import shown_accelerator
from windtunnel.diagnosis.findings.kinds.kernels import KernelSetsFinding

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from windtunnel.diagnosis.kernels import KernelReport


def render_kernels(report: KernelReport, console: Console) -> None:
    """Prints the table of accelerators, reasons, causes and what was ruled out.

    Args:
        report: of the comparison of accelerators.
        console: where it is printed.
    """
    coverage = report.coverage
    console.print(
        f"[bold]{report.verdict}[/]: {coverage.compared} of {coverage.total} layers, {report.samples} samples, "
        f"each op fed with the values of "
        f"{shown_accelerator(report.base) if report.base else 'no accelerator: all crash'}"
    )
    console.print(_table(report))
    if not report.causes:
        # The lines below explain causes, and accelerators that did not run.
        for reason in report.reasons:
            if " did not run: " not in reason:
                console.print(reason, markup=False)
    for run in report.runs:
        if run.status != "ran" or run.reason:
            console.print(f"{shown_accelerator(run.name)} {run.status.replace('_', ' ')}: {run.reason}", markup=False)
            if run.todo:
                console.print(f"  do: {run.todo}", markup=False)
    for cause in report.causes:
        finding = cause.finding
        if not isinstance(finding, KernelSetsFinding):
            continue
        place = f"op {cause.op_index} ({finding.op_name}, {cause.layer})" if cause.layer else "no single op"
        sure = "confirmed in isolation" if cause.verified else "not confirmed"
        who = ", ".join(map(shown_accelerator, finding.diverging))
        console.print(f"cause {cause.code}: {who} at {place}, confidence {cause.confidence:.2f}, {sure}", markup=False)
        console.print(f"  {finding.amount()}", markup=False)
    for one in report.excluded:
        console.print(f"ruled out: {one.code}: {one.why}", markup=False)


def _table(report: KernelReport) -> Table:
    from rich.table import Table

    table = Table("accelerator", "state", "worst op in isolation", "layers that differ", "output nRMSE", box=None)
    for run in report.runs:
        output = run.output.nrmse if run.output is not None else None
        table.add_row(
            shown_accelerator(run.name),
            run.status.replace("_", " "),
            # If only some ops ran, the figures of their layers are in the JSON.
            _local(run.local_steps, run.local_of_range) if run.status == "ran" else "",
            "" if run.differing_layers is None else str(run.differing_layers),
            "" if output is None else f"{output:.2g}",
        )
    return table


def _local(steps: float | None, of_range: float | None) -> str:
    """Integer steps and a share of the float range. Floats of an integer model that agree are left out."""
    parts = [f"{steps:g} step{'' if steps == 1 else 's'}"] if steps is not None else []
    if of_range is not None and (of_range > 0.0 or steps is None):
        parts.append(f"{of_range:.1e} of range")
    return ", ".join(parts)
