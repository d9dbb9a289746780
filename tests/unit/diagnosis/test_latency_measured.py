"""Real models on this machine's kernels: what is slow without need, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.latency_models import depthwise_chain
from support.models import digits_model
from windtunnel.diagnosis.latency import LatencyDiagnosis
from windtunnel.diagnosis.latency.time_ops import measure_latency
from windtunnel.isolation import ChildPool


async def diagnosed(path: Path, accelerator: str) -> LatencyDiagnosis:
    async with ChildPool(size=1, timeout_s=120.0, memory_mb=2000) as pool:
        return await pool.run(measure_latency, path, accelerator=accelerator)


@pytest.mark.heavy
@pytest.mark.parametrize("accelerator", ["xnnpack", "cpu"])
async def test_a_healthy_chain_has_no_straggler(tmp_path: Path, accelerator: str) -> None:
    found = await diagnosed(depthwise_chain(tmp_path / "chain.tflite"), accelerator)
    assert found.causes == ()


@pytest.mark.heavy
async def test_a_kernel_without_a_fast_path_is_named_and_the_other_kernels_are_tried(tmp_path: Path) -> None:
    # XNNPACK has no depthwise kernel for 225 taps and takes its general convolution.
    found = await diagnosed(depthwise_chain(tmp_path / "chain.tflite", kernels={3: 15}), "xnnpack")
    (cause,) = found.causes
    assert (cause.code, cause.layer, cause.op_index) == ("latency.straggler", "depthwise_3", 6)
    assert cause.verified
    assert cause.fix["kernels"] == "cpu"
    assert cause.fix["measured_ms"] < cause.evidence["measured_ms"] / 2


@pytest.mark.heavy
async def test_the_same_op_is_no_straggler_where_its_kernel_is_as_fast_as_others(tmp_path: Path) -> None:
    found = await diagnosed(depthwise_chain(tmp_path / "chain.tflite", kernels={3: 15}), "cpu")
    assert found.causes == ()
    assert max(found.ops, key=lambda row: row.time.ms or 0.0).cost.op_index == 6


@pytest.mark.heavy
@pytest.mark.parametrize("accelerator", ["xnnpack", "cpu"])
@pytest.mark.parametrize("variant", ["float32", "float16", "dynamic_range", "int8"])
async def test_healthy_variants_have_no_straggler(variant: str, accelerator: str) -> None:
    found = await diagnosed(digits_model().variants[variant], accelerator)
    assert found.causes == ()


@pytest.mark.heavy
@pytest.mark.parametrize(("accelerator", "code"), [("xnnpack", "latency.fallback"), ("cpu", "latency.straggler")])
async def test_int16x8_is_named_for_its_missing_kernels(accelerator: str, code: str) -> None:
    found = await diagnosed(digits_model().variants["int16x8"], accelerator)
    (cause,) = found.causes
    assert cause.code == code
    said = [cause.evidence.get("reason"), *cause.evidence.get("reasons", [])]
    assert any("int16x8" in str(one) for one in said)
    assert cause.evidence["share"] > 0.3
