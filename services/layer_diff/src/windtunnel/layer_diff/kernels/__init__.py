"""One model under several kernel sets: a kernel's fault, told from rounding that adds up.

`compare_kernels` runs the optimised, reference, XNNPACK and ARM64 kernels on the same samples, feeds each op alike and
names what departs; `bisect` finds the op on an accelerator of which only outputs can be read; `output_causes` and
`fallback_cause` judge outputs that were taken elsewhere.
"""

from __future__ import annotations

from windtunnel.layer_diff.kernels.checks import agree_within, fallback_cause, output_causes
from windtunnel.layer_diff.kernels.matrix import compare_kernels
from windtunnel.layer_diff.kernels.report import KernelReport, KernelRun
from windtunnel.layer_diff.kernels.search import Found, bisect
from windtunnel.layer_diff.kernels.spec import Kernel, parse_kernel, parse_kernels

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
