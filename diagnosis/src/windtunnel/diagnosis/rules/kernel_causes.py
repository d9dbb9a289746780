"""Whether a layer is wrong because of the file, or because of the kernel that ran it.

Every layer is run in isolation on two accelerators. A fault of the file shows on both; one of a kernel on one only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from windtunnel.accelerators import spelled_in_comparisons
from windtunnel.diagnosis.execution.patched_runs import OTHER_KERNELS
from windtunnel.diagnosis.findings.causes import Cause, Exclusion
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.kinds.kernels import KernelDiffers, OpName
from windtunnel.diagnosis.graph import Matching
from windtunnel.diagnosis.graph.model_precision import precision_of
from windtunnel.diagnosis.numerics.isolated_sums import Local
from windtunnel.diagnosis.thresholds.confidences import KERNEL
from windtunnel.diagnosis.thresholds.precision_thresholds import KERNEL_ERROR, KERNEL_TIMES
from windtunnel.tflite import Accelerator


def kernel_causes(
    matching: Matching, local: Mapping[int, Local], other: Mapping[int, Local], used: Accelerator
) -> tuple[Cause, ...]:
    """Layers that are wrong on the kernels used and right on the others.

    Args:
        matching: the two models.
        local: isolated errors by the candidate's tensor index, on the kernels used.
        other: the same on the other kernels.
        used: the kernels used.

    Returns:
        The largest error first.
    """
    candidate = matching.candidate
    least = KERNEL_ERROR[precision_of(matching)]
    found = []
    for index, here in local.items():
        there = other.get(index)
        maker = candidate.makers.get(index)
        if there is None or there.nrmse is None or maker is None:
            continue
        # Without any error it holds NaN or infinity; a constant has an error, but no range to divide it by.
        error = here.nrmse or (math.inf if here.rmse is None else 0.0)
        if error > max(least, KERNEL_TIMES * there.nrmse):
            finding = KernelDiffers(
                local_nrmse=here.nrmse,
                local_nrmse_on_other_kernels=there.nrmse,
                kernels=spelled_in_comparisons(used),
                other_kernels=spelled_in_comparisons(OTHER_KERNELS[used]),
                non_finite=OpName(maker.name) if math.isinf(error) else None,
                op=maker.name,
            )
            name = candidate.facts.tensors[index].name
            cause = Cause(finding, KERNEL, name, maker.index, verified=True, rule="right_on_other_kernels")
            found.append((error, cause))
    return tuple(cause for _, cause in sorted(found, key=lambda one: -one[0]))


def kernels_excluded(
    local: Mapping[int, Local], other: Mapping[int, Local], used: Accelerator
) -> tuple[Exclusion, ...]:
    """The exclusion of kernels as a cause.

    Args:
        local: isolated errors by the candidate's tensor index, on the kernels used.
        other: the same on the other kernels.
        used: the kernels used.

    Returns:
        Empty if no layer was run on both.
    """
    both = [index for index, one in local.items() if one.nrmse is not None and index in other]
    if not both:
        return ()
    why = f"{len(both)} layers run in isolation have no larger error on {used} kernels than on {OTHER_KERNELS[used]}"
    return (Exclusion(CauseCode.KERNEL, why, rule="right_on_all_kernels"),)
