"""The causes below the table of ops: each kind of finding with its time, its reasons and its fix."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from support.cause_findings import kind_of
from windtunnel.cli.report.formatting import UNKNOWN
from windtunnel.cli.report.text.op_times_text import _cause
from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.kinds.latency import DelegateFallback, LatencyStraggler, WideOpsSlow

STRAGGLER = replace(kind_of(LatencyStraggler), measured_ms=8.0, expected_ms=0.5, share=0.25, reason="dilation 2")
WIDE = replace(kind_of(WideOpsSlow), measured_ms=8.0, share=None, reason="16 bits")
FALLBACK = replace(
    kind_of(DelegateFallback), measured_ms=None, share=None, reasons=("no kernel", "rank 5"), kinds=("TOPK_V2", "NMS")
)


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (
            STRAGGLER,
            [
                "latency.straggler at op 6 (conv): 8.00 ms, 25% of the inference; expected from similar ops: 0.5 ms",
                "  why: dilation 2",
            ],
        ),
        (WIDE, ["latency.straggler at op 6 (conv): 8.00 ms", "  why: 16 bits"]),
        (
            FALLBACK,
            [
                f"latency.fallback at op 6 (conv): {UNKNOWN} ms",
                "  why: no kernel",
                "  why: rank 5",
                "  ops: TOPK_V2, NMS",
            ],
        ),
        (
            replace(FALLBACK, reasons=(), kinds=(), share=0.5),
            [f"latency.fallback at op 6 (conv): {UNKNOWN} ms, 50% of the inference"],
        ),
    ],
    ids=["straggler", "wide ops", "fallback", "fallback without a reason"],
)
def test_a_cause_has_its_time_and_its_reasons(finding: CauseFinding, expected: list[str]) -> None:
    written = StringIO()
    cause = Cause(finding, 0.9, "conv", 6).to_json()
    _cause(cause, Console(file=written, width=200))
    assert written.getvalue().splitlines() == [*expected, f"  fix: {cause['fix']['action']}"]
