"""Real ARM64 kernels under qemu-user: the digits models, a crash, limits, and a processor that XNNPACK gets wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.kernel_models import crashing_model, long_model, ops_model
from support.models import digits_model
from windtunnel.arm_emulator import CPUS, ArmHome, run_arm
from windtunnel.diagnosis.kernels import Kernel, KernelReport, compare_kernels, parse_kernels
from windtunnel.diagnosis.kernels.kernel_jobs import Order, execute, prepare
from windtunnel.diagnosis.kernels.single_op_models import whole
from windtunnel.errors import InvalidInput, JobFailed, NotFound
from windtunnel.isolation import ChildPool
from windtunnel.tflite import read_model

pytestmark = pytest.mark.heavy
CHOSEN = ("none", "reference", "xnnpack", *(f"arm:{cpu}" for cpu in CPUS))


@pytest.fixture
async def pool(arm_home: ArmHome) -> AsyncIterator[ChildPool]:
    preload = ("windtunnel.diagnosis.kernels.kernel_jobs", "ai_edge_litert.interpreter")
    async with ChildPool(preload=preload, timeout_s=280, memory_mb=8000) as opened:
        yield opened


async def run(pool: ChildPool, model: Path, samples: Path, *names: str) -> KernelReport:
    return await compare_kernels(model, samples, None, parse_kernels(names), pool, max_samples=2)


@pytest.mark.parametrize("variant", ["float32", "float16", "dynamic_range", "int8", "int16x8"])
async def test_the_digits_models_are_healthy_on_both_cpus(pool: ChildPool, variant: str) -> None:
    digits = digits_model()
    report = await run(pool, digits.variants[variant], digits.samples, *CHOSEN)
    assert report.verdict == "healthy" and report.causes == ()
    assert {one.name: one.status for one in report.runs} == dict.fromkeys(CHOSEN, "ran")
    assert report.coverage.compared == report.coverage.total
    if variant == "int8":
        # The comparison is a real one: ARM rounds differently, by one step on the same inputs.
        arm = next(one for one in report.runs if one.name == "arm:cortex-a53")
        assert arm.local_steps == 1.0
        assert arm.differing_layers is not None and arm.differing_layers >= 5


@pytest.mark.parametrize("dtype", ["float32", "int8", "int16"])
async def test_many_kinds_of_ops_agree_with_arm(pool: ChildPool, tmp_path: Path, dtype: str) -> None:
    model = ops_model(tmp_path / "ops.tflite", dtype)
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(0, 1.5, (2, 8, 8, 4)).astype(np.float32))
    report = await run(pool, model, tmp_path / "x.npz", "none", "arm:cortex-a53:none")
    assert report.causes == ()


async def test_a_crash_under_emulation_is_survived_and_named(pool: ChildPool, tmp_path: Path) -> None:
    model = crashing_model(tmp_path / "softmax.tflite")
    np.savez(tmp_path / "flat.npz", x=np.zeros((1, 1024), np.float32))
    report = await run(pool, model, tmp_path / "flat.npz", "none", "arm:cortex-a53:reference")
    (cause,) = report.causes
    assert (cause.layer, cause.verified) == ("probabilities", True)
    assert cause.evidence["departs"] == ["arm:cortex-a53:reference"]
    assert "SIGABRT" in cause.evidence["said"]


async def test_the_wrong_numbers_of_xnnpack_on_cpu_max_are_found(
    pool: ChildPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of real kernels: hybrid 1x1 convolutions are wrong on `-cpu max`, which is why it is not offered."""
    monkeypatch.setattr("windtunnel.arm_emulator.run.CPUS", (*CPUS, "max"))
    digits = digits_model()
    kernels = (*parse_kernels(("none", "reference", "xnnpack")), Kernel("arm:max", "xnnpack", "max"))
    report = await compare_kernels(
        digits.variants["dynamic_range"], digits.samples, None, kernels, _Here(pool), max_samples=2
    )
    (cause,) = report.causes
    assert report.verdict == "broken"
    assert (cause.op_index, cause.evidence["ops"], cause.verified) == (2, [2, 4, 7], True)
    assert cause.evidence["departs"] == ["arm:max"] and len(cause.evidence["agree"]) == 3


class _Here:
    """Emulated runs from this process, in which an unoffered CPU is allowed; all else in the pool."""

    def __init__(self, pool: ChildPool) -> None:
        self._pool = pool

    async def run(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        if args and isinstance(args[0], Order) and args[0].kernel.cpu is not None:
            execute(args[0])
            return None
        return await self._pool.run(function, *args, **kwargs)


def job(tmp_path: Path, model: Path) -> dict[str, object]:
    np.savez(tmp_path / "x.npz", x=np.ones((1, 16), np.float32))
    feeds = prepare(model, tmp_path / "x.npz", None, 1, tmp_path)
    derived = whole(read_model(model))
    return {
        "model": str(model),
        "resolver": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
        "threads": 1,
        "preserve_all": True,
        "inputs": [(here, str(there)) for here, there in derived.inputs],
        "tensors": [(here, str(there)) for here, there in derived.outputs],
        "feeds": [str(feeds[0])],
        "results": [str(tmp_path / "result.npz")],
    }


def test_limits_and_refusals_are_errors_of_the_job_alone(arm_home: ArmHome, tmp_path: Path) -> None:
    model = long_model(tmp_path / "long.tflite", 4)
    with pytest.raises(JobFailed, match="time limit") as late:
        run_arm(job(tmp_path, model), "cortex-a53", timeout_s=0.2)
    assert late.value.how == "timeout"
    with pytest.raises(JobFailed, match="memory limit"):
        run_arm(job(tmp_path, model), "cortex-a53", memory_mb=20)
    broken = {**job(tmp_path, model), "model": str(tmp_path / "x.npz")}
    with pytest.raises(InvalidInput, match="cortex-a53"):
        run_arm(broken, "cortex-a53")
    done: list[int] = []
    run_arm(job(tmp_path, model), "cortex-a76", on_sample=done.append)
    assert done == [1] and (tmp_path / "result.npz").exists()


def test_a_missing_system_and_an_unoffered_cpu_are_named(tmp_path: Path) -> None:
    model = long_model(tmp_path / "long.tflite", 4)
    with pytest.raises(NotFound, match="windtunnel arm setup"):
        run_arm(job(tmp_path, model), "cortex-a53", home=ArmHome(tmp_path / "nothing"))
    with pytest.raises(InvalidInput, match="max"):
        run_arm(job(tmp_path, model), "max")
