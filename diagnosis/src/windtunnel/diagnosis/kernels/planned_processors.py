"""The kernels of the emulated processors that a plan names, in addition to a variant's comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from windtunnel.accelerators import BUILTIN, XNNPACK, accelerator_name, spelled_in_comparisons
from windtunnel.arm_emulator import CPUS
from windtunnel.diagnosis.findings.comparison import VERDICTS, Comparison
from windtunnel.diagnosis.kernels.kernel_matrix import compare_kernels
from windtunnel.diagnosis.kernels.kernel_report import KernelReport
from windtunnel.diagnosis.kernels.kernel_sets import parse_kernels
from windtunnel.errors import UserError
from windtunnel.farms.properties import properties_of
from windtunnel.isolation import Pool
from windtunnel.plan import Plan

# What an emulated processor can run, as the end of an accelerator's name.
_ENDS: Final[Mapping[str, str]] = {XNNPACK: "", BUILTIN: f":{spelled_in_comparisons(BUILTIN)}"}


def planned_kernels(plan: Plan) -> tuple[str, ...]:
    """The accelerators of the plan's emulated devices.

    Args:
        plan: of the run.

    Returns:
        Their names; what no such device is or has is left out.
    """
    filters = [wanted for wanted in plan.devices if properties_of(wanted.farm).emulated]
    names = [
        f"arm:{cpu}{_ENDS[accelerator_name(accelerator)]}"
        for wanted in filters
        for cpu in (wanted.device or CPUS)
        for accelerator in (wanted.accelerator or (XNNPACK,))
        if cpu in CPUS and accelerator_name(accelerator) in _ENDS
    ]
    return tuple(dict.fromkeys(names))


async def with_kernels(
    comparison: Comparison,
    kernels: tuple[str, ...],
    pool: Pool,
    model: Path,
    samples: Path | None,
    pipeline: Mapping[str, Any] | None,
) -> Comparison:
    """Adds to a comparison what running the variant on other kernels shows.

    A model or samples that cannot be used for it are named in `settings.kernels_problem`.

    Args:
        comparison: of the variant.
        kernels: names of the accelerators, in addition to those of this host.
        pool: where native code runs.
        model: the variant's .tflite file.
        samples: .npz or folder of samples; None: random inputs.
        pipeline: content of a pipeline.json; None: samples as they are.

    Returns:
        The comparison with the additions.
    """
    if not kernels:
        return comparison
    try:
        report = await compare_kernels(model, samples, pipeline, parse_kernels((XNNPACK, *kernels)), pool)
    except UserError as error:
        return replace(comparison, settings=replace(comparison.settings, kernels_problem=error.message))
    return joined(comparison, report)


def joined(comparison: Comparison, report: KernelReport) -> Comparison:
    """Adds the causes of a kernel matrix to a comparison; the worse verdict counts.

    Args:
        comparison: of the variant.
        report: of the kernel matrix.

    Returns:
        The comparison with the additions.
    """
    runs = tuple(run.to_json() for run in report.runs)
    missing = next((run.reason for run in report.runs if run.status == "not_available"), "")
    settings = replace(comparison.settings, kernels=runs, kernels_problem=missing)
    if not report.causes:
        # The layers were tried on this host's kernels too: one sentence for each.
        excluded = (*comparison.excluded, *report.excluded)
        return replace(comparison, settings=settings, excluded=excluded)
    return replace(
        comparison,
        verdict=max(comparison.verdict, report.verdict, key=VERDICTS.index),
        reasons=(*comparison.reasons, *report.reasons),
        causes=(*comparison.causes, *report.causes),
        excluded=tuple(one for one in comparison.excluded if one.code != "kernel"),
        settings=settings,
    )
