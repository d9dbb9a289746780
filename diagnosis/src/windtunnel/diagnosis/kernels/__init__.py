"""One model on several accelerators: a kernel's fault, distinguished from rounding that adds up.

`compare_kernels` runs the optimized, reference, XNNPACK and ARM64 kernels on the same samples, feeds each op with the
same inputs, and names what diverges. `bisect` finds the op on an accelerator of which only outputs can be read.
`output_causes` and `fallback_cause` judge outputs that were measured elsewhere.
"""

from __future__ import annotations

from windtunnel.diagnosis.kernels.first_op_search import Found, bisect
from windtunnel.diagnosis.kernels.kernel_matrix import compare_kernels
from windtunnel.diagnosis.kernels.kernel_report import KernelReport, KernelRun
from windtunnel.diagnosis.kernels.kernel_sets import Kernel, parse_kernel, parse_kernels
from windtunnel.diagnosis.kernels.output_checks import agree_within, fallback_cause, output_causes

__all__ = [
    "Found",
    "Kernel",
    "KernelReport",
    "KernelRun",
    "agree_within",
    "bisect",
    "compare_kernels",
    "fallback_cause",
    "output_causes",
    "parse_kernel",
    "parse_kernels",
]
