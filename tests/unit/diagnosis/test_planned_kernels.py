"""A plan's emulated devices become accelerators, and what these show becomes part of the comparison."""

from __future__ import annotations

import pytest

from support.cause_findings import sample_of
from windtunnel.diagnosis.findings.causes import Cause, Exclusion
from windtunnel.diagnosis.findings.comparison import Comparison, Verdict
from windtunnel.diagnosis.findings.comparison_settings import ComparisonSettings
from windtunnel.diagnosis.findings.coverage import Coverage
from windtunnel.diagnosis.findings.divergence import Limit
from windtunnel.diagnosis.findings.output_diff import OutputDiff
from windtunnel.diagnosis.kernels.kernel_report import KernelReport, KernelRun
from windtunnel.diagnosis.kernels.planned_processors import joined, planned_kernels
from windtunnel.plan import parse_plan_text

_WHOLE = Coverage(3, 3)


@pytest.mark.parametrize(
    ("devices", "names"),
    [
        ("[{farm: local}]", ()),
        ("[{farm: arm}]", ("arm:cortex-a53", "arm:cortex-a76")),
        ("[{farm: arm, device: cortex-a76, accelerator: cpu}]", ("arm:cortex-a76:none",)),
        (
            "[{farm: arm, device: cortex-a53, accelerator: [xnnpack, cpu], threads: [1, 2]}]",
            ("arm:cortex-a53", "arm:cortex-a53:none"),
        ),
        ("[{farm: arm, device: cortex-a53}, {farm: arm}]", ("arm:cortex-a53", "arm:cortex-a76")),
        # What is not there is a skipped cell of the run.
        ("[{farm: arm, device: [cortex-x9]}, {farm: arm, device: cortex-a53, accelerator: gpu}]", ()),
        ("[{farm: adb, device: cortex-a53}]", ()),
    ],
)
def test_kernel_sets_of_a_plan(devices: str, names: tuple[str, ...]) -> None:
    plan = parse_plan_text(f"apiVersion: windtunnel/v1\nvariants: [int8]\ndevices: {devices}\n")
    assert planned_kernels(plan) == names


def compared(verdict: Verdict, *causes: Cause) -> Comparison:
    output = OutputDiff(None, None, None, 0.01)
    calm = (Exclusion("kernel", "3 layers agree on this host"),)
    return Comparison(verdict, (), _WHOLE, (), output, Limit(0.1), 8, causes, calm, ComparisonSettings(threads=1))


def on_kernels(verdict: Verdict, *causes: Cause) -> KernelReport:
    runs = (KernelRun("none", "ran"), KernelRun("arm:cortex-a53", "ran"))
    calm = () if causes else (Exclusion("kernel", "none and arm:cortex-a53 agree"),)
    reasons = tuple(f"diverges at op {cause.op_index}" for cause in causes)
    return KernelReport(verdict, "none", 8, runs, (), _WHOLE, causes, calm, reasons)


def test_kernels_that_agree_are_excluded_beside_those_of_the_host() -> None:
    found = joined(compared("healthy"), on_kernels("healthy"))
    assert (found.verdict, found.causes, found.reasons) == ("healthy", (), ())
    assert [one.why for one in found.excluded] == ["3 layers agree on this host", "none and arm:cortex-a53 agree"]
    assert [run["name"] for run in found.settings.kernels or ()] == ["none", "arm:cortex-a53"]
    assert found.settings.threads == 1 and found.settings.kernels_problem == ""


def test_a_kernel_that_departs_is_a_cause_behind_those_of_the_file() -> None:
    own = Cause(sample_of("conversion.weights"), 0.97, "a", 1)
    kernel = Cause(sample_of("kernel"), 0.9, "b", 2)
    found = joined(compared("degraded", own), on_kernels("broken", kernel))
    assert (found.verdict, found.causes, found.reasons) == ("broken", (own, kernel), ("diverges at op 2",))
    assert found.excluded == ()
    assert joined(compared("broken"), on_kernels("degraded", kernel)).verdict == "broken"


def test_a_processor_that_is_not_here_is_said() -> None:
    report = on_kernels("healthy")
    lacking = KernelRun("arm:cortex-a76", "not_available", "missing: qemu-aarch64", "apt-get install qemu-user")
    runs = (*report.runs, lacking)
    found = joined(compared("healthy"), KernelReport("healthy", "none", 8, runs, (), _WHOLE))
    assert found.settings.kernels_problem == "missing: qemu-aarch64"
