"""One model on several accelerators, in real child processes; faults are put into one of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from support.kernel_models import crashing_model, long_model, ops_model, overflowing_model, wide_model
from support.wrong_kernels import WrongPool, rectify, scale_constant
from windtunnel import schemas
from windtunnel.diagnosis.kernels import KernelReport, compare_kernels, parse_kernels
from windtunnel.errors import InvalidInput
from windtunnel.isolation import ChildPool

OWN = ("none", "reference", "xnnpack")


@pytest.fixture
async def pool() -> AsyncIterator[ChildPool]:
    preload = ("windtunnel.diagnosis.kernels.kernel_jobs", "ai_edge_litert.interpreter")
    async with ChildPool(preload=preload, timeout_s=60, memory_mb=4000) as opened:
        yield opened


def samples(path: Path, *shape: int, scale: float = 1.0) -> Path:
    np.savez(path, x=np.random.default_rng(4).normal(0.0, scale, shape).astype(np.float32))
    return path


async def run(pool: ChildPool | WrongPool, model: Path, given: Path | None, *names: str) -> KernelReport:
    report = await compare_kernels(model, given, None, parse_kernels(names), pool, max_samples=4)
    document = report.to_json()
    jsonschema.validate(document, schemas.load("diagnosis"))
    json.dumps(document, allow_nan=False)
    return report


@pytest.mark.heavy
@pytest.mark.parametrize("dtype", ["float32", "int8", "int16"])
async def test_right_kernels_of_many_ops_are_healthy(pool: ChildPool, tmp_path: Path, dtype: str) -> None:
    model = ops_model(tmp_path / "ops.tflite", dtype)
    report = await run(pool, model, samples(tmp_path / "x.npz", 4, 8, 8, 4, scale=1.5), *OWN)
    assert report.verdict == "healthy" and report.causes == ()
    assert report.coverage.compared == report.coverage.total == len(report.ops)


@pytest.mark.heavy
@pytest.mark.parametrize("layer", ["op_0", "op_3", "op_19"])
async def test_the_op_of_a_wrong_kernel_is_named_and_confirmed(pool: ChildPool, tmp_path: Path, layer: str) -> None:
    model = long_model(tmp_path / "long.tflite", 20)
    wrong = WrongPool(pool, "xnnpack", rectify(layer))
    report = await run(wrong, model, samples(tmp_path / "x.npz", 4, 16), *OWN)
    (cause,) = report.causes
    assert (cause.code, cause.layer, cause.verified) == ("kernel", layer, True)
    assert cause.op_index == int(layer.removeprefix("op_"))
    assert cause.evidence["departs"] == ["xnnpack"]
    assert set(cause.evidence["agree"]) == {"none", "reference"}
    assert report.verdict != "healthy"


@pytest.mark.heavy
async def test_a_small_fault_of_the_base_itself_is_told_from_the_others(pool: ChildPool, tmp_path: Path) -> None:
    model = long_model(tmp_path / "long.tflite", 12)
    wrong = WrongPool(pool, "none", scale_constant("op_5/weights", 1.001))
    report = await run(wrong, model, samples(tmp_path / "x.npz", 4, 16), *OWN)
    (cause,) = report.causes
    assert (cause.layer, cause.evidence["departs"]) == ("op_5", ["none"])


@pytest.mark.heavy
async def test_nan_of_one_kernel_makes_the_model_broken(pool: ChildPool, tmp_path: Path) -> None:
    model = long_model(tmp_path / "long.tflite", 8)
    wrong = WrongPool(pool, "reference", scale_constant("op_2/weights", float("nan")))
    report = await run(wrong, model, samples(tmp_path / "x.npz", 4, 16), *OWN)
    (cause,) = report.causes
    assert cause.layer == "op_2" and cause.evidence["non_finite"] > 0
    assert report.verdict == "broken"


@pytest.mark.heavy
async def test_a_fault_that_shows_only_in_the_whole_model_is_named(pool: ChildPool, tmp_path: Path) -> None:
    model = long_model(tmp_path / "long.tflite", 12)
    wrong = WrongPool(pool, "xnnpack", rectify("op_7"), only_whole=True)
    report = await run(wrong, model, samples(tmp_path / "x.npz", 4, 16), *OWN)
    (cause,) = report.causes
    assert cause.layer == "op_7" and cause.evidence["in_whole_model_only"] is True
    assert cause.evidence["departs"] == ["xnnpack"]


@pytest.mark.heavy
async def test_two_kernels_alone_leave_open_which_is_wrong(pool: ChildPool, tmp_path: Path) -> None:
    model = long_model(tmp_path / "long.tflite", 8)
    wrong = WrongPool(pool, "xnnpack", rectify("op_4"))
    (cause,) = (await run(wrong, model, samples(tmp_path / "x.npz", 4, 16), "none", "xnnpack")).causes
    assert cause.layer == "op_4" and cause.evidence["sides_equal"] is True
    assert cause.confidence < 0.7


@pytest.mark.heavy
async def test_the_softmax_that_ends_the_reference_kernels_process_is_survived_and_named(
    pool: ChildPool, tmp_path: Path
) -> None:
    model = crashing_model(tmp_path / "softmax.tflite")
    np.savez(tmp_path / "flat.npz", x=np.zeros((2, 1024), np.float32))
    report = await run(pool, model, tmp_path / "flat.npz", *OWN)
    (cause,) = report.causes
    assert (cause.code, cause.layer, cause.op_index, cause.verified) == ("kernel", "probabilities", 1, True)
    assert cause.evidence["crash"] == "signal" and "SIGABRT" in cause.evidence["said"]
    assert report.verdict == "broken"
    states = {one.name: one.status for one in report.runs}
    assert states == {"none": "ran", "reference": "crashed", "xnnpack": "ran"}
    after = report.ops[-1]
    assert "reference" in after.local, "what comes after the crash is compared all the same"


@pytest.mark.heavy
async def test_an_op_that_a_kernel_set_lacks_is_named_and_the_others_are_compared(
    pool: ChildPool, tmp_path: Path
) -> None:
    model = ops_model(tmp_path / "ops.tflite", "float32")
    report = await run(pool, model, samples(tmp_path / "x.npz", 2, 8, 8, 4), *OWN)
    lacking = next(one for one in report.runs if one.name == "reference")
    assert lacking.status == "refused" and "CEIL" in lacking.reason
    compared = {op.op for op in report.ops if "reference" in op.local}
    assert "CEIL" not in compared and {"EXP", "MUL", "SOFTMAX", "LOGISTIC"} <= compared


@pytest.mark.heavy
async def test_arm_kernels_that_are_not_there_are_named_with_what_to_do(
    pool: ChildPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing"))
    model = long_model(tmp_path / "long.tflite", 4)
    report = await run(pool, model, samples(tmp_path / "x.npz", 2, 16), "none", "arm:cortex-a53")
    arm = next(one for one in report.runs if one.name == "arm:cortex-a53")
    assert arm.status == "not_available" and "windtunnel arm setup" in arm.todo
    assert any("arm:cortex-a53 did not run" in reason for reason in report.reasons)


async def test_a_model_that_no_kernel_runs_is_refused(pool: ChildPool, tmp_path: Path) -> None:
    model = tmp_path / "bad.tflite"
    model.write_bytes(b"no model at all, but long enough")
    with pytest.raises(InvalidInput, match=r"bad\.tflite"):
        await run(pool, model, None, *OWN)


@pytest.mark.heavy
async def test_a_machine_with_too_little_memory_is_no_kernels_fault(tmp_path: Path) -> None:
    model = wide_model(tmp_path / "wide.tflite", 250_000_000)
    given = samples(tmp_path / "x.npz", 1, 1)
    async with ChildPool(preload=("windtunnel.diagnosis.kernels.kernel_jobs",), timeout_s=60, memory_mb=500) as small:
        with pytest.raises(
            InvalidInput, match=r"no accelerator runs wide.tflite: not enough memory .* with none"
        ) as error:
            await compare_kernels(model, given, None, parse_kernels(OWN), small)
    assert "more memory" in error.value.hint


@pytest.mark.heavy
async def test_ops_that_the_runtime_refuses_are_told_in_its_own_words(pool: ChildPool, tmp_path: Path) -> None:
    model = overflowing_model(tmp_path / "small.tflite")
    report = await run(pool, model, samples(tmp_path / "x.npz", 1, 8, 8, 4), *OWN)
    (refused,) = [one for one in report.runs if one.name == "none"]
    assert refused.status == "refused"
    assert refused.reason.startswith("it refuses CONV_2D (1 op): ")
    assert "no_integer_overflow_from_quantization was not true" in refused.reason
    assert "lacks" not in refused.reason and "Node number" not in refused.reason
