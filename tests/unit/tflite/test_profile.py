"""Times of ops: by the runtime's profiler and by cutting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.graphs import GraphWriter, dense_model
from support.latency_models import depthwise_chain
from windtunnel.diagnosis.latency.delegate_ops import align
from windtunnel.diagnosis.latency.op_profile import Profile, profile_model, time_op
from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.isolation import ChildPool
from windtunnel.tflite import OpFacts


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return depthwise_chain(tmp_path_factory.mktemp("profile") / "chain.tflite", kernels={3: 9})


async def measured(path: Path, **how: Any) -> Profile:
    async with ChildPool(size=1, timeout_s=120.0, memory_mb=2000) as pool:
        return await pool.run(profile_model, path, **how)


def adds_up(profile: Profile) -> bool:
    return profile.ops_ms == pytest.approx(profile.total_ms, rel=0.5)


@pytest.mark.heavy
@pytest.mark.parametrize("accelerator", ["xnnpack", "cpu"])
@pytest.mark.parametrize("method", ["profiler", "cutting"])
async def test_the_ops_times_add_up_to_the_whole(chain: Path, accelerator: str, method: str) -> None:
    profile = await measured(chain, accelerator=accelerator, method=method)
    for _ in range(3):
        # Other work on the machine may have come between.
        if not adds_up(profile):
            profile = await measured(chain, accelerator=accelerator, method=method)
    assert profile.method == method
    assert [op.op_index for op in profile.ops] == list(range(13))
    assert adds_up(profile)
    times = [op.ms or 0.0 for op in profile.ops]
    # 81 multiplications per value instead of 9.
    assert times.index(max(times)) == 6
    assert times[6] > 3 * times[4]


@pytest.mark.heavy
async def test_both_ways_agree(chain: Path) -> None:
    apart: list[Any] = []
    for _ in range(3):
        profiler = await measured(chain, accelerator="cpu", method="profiler")
        cutting = await measured(chain, accelerator="cpu", method="cutting")
        pairs = list(zip(profiler.ops[:12], cutting.ops[:12], strict=True))
        apart = [one for one, other in pairs if one.ms != pytest.approx(other.ms, rel=0.6)]
        # Else other work on the machine may have come between.
        if not apart:
            break
    assert not apart


@pytest.mark.heavy
async def test_a_delegates_operators_go_to_their_ops(chain: Path) -> None:
    profile = await measured(chain, accelerator="xnnpack", method="profiler")
    assert all(op.delegated for op in profile.ops)
    assert all("Convolution" in op.kernels[0] for op in profile.ops[:12:2])
    assert all("Fully Connected" in op.kernels[0] for op in profile.ops[1:12:2])
    assert "Mean" in profile.ops[12].kernels[0]


@pytest.mark.heavy
async def test_no_delegate_runs_where_none_is_asked_for(chain: Path) -> None:
    profile = await measured(chain, accelerator="cpu", method="profiler")
    assert [op.delegated for op in profile.ops] == [False] * 13
    assert not any(op.kernels for op in profile.ops)


@pytest.mark.heavy
async def test_more_work_takes_more_time(tmp_path: Path) -> None:
    small = await measured(depthwise_chain(tmp_path / "a.tflite", blocks=2), accelerator="cpu")
    large = await measured(depthwise_chain(tmp_path / "b.tflite", blocks=8), accelerator="cpu")
    assert large.ops_ms > 2.5 * small.ops_ms


@pytest.mark.heavy
async def test_dynamic_dimensions_take_the_samples_size(tmp_path: Path) -> None:
    path = dense_model(tmp_path / "dense.tflite")
    samples = tmp_path / "samples.npz"
    np.savez(samples, x=np.zeros((3, 8), np.float32))
    profile = await measured(path, method="profiler", samples=samples)
    assert len(profile.ops) == 4
    assert all(op.ms is not None for op in profile.ops)


@pytest.mark.heavy
async def test_one_op_alone(chain: Path) -> None:
    async with ChildPool(size=1, timeout_s=120.0, memory_mb=2000) as pool:
        heavy = await pool.run(time_op, chain, 6, accelerator="cpu")
        light = await pool.run(time_op, chain, 4, accelerator="cpu")
    assert heavy is not None and light is not None
    assert heavy > 3 * light


@pytest.mark.heavy
async def test_a_custom_op_of_no_runtime_is_refused(tmp_path: Path) -> None:
    writer = GraphWriter()
    source, output = writer.tensor("input", (1, 4)), writer.tensor("output", (1, 4))
    writer.op("Mystery", [source], [output])
    path = writer.write(tmp_path / "custom.tflite", [source], [output])
    with pytest.raises(Unsupported):
        await measured(path)


async def test_an_unknown_accelerator_is_refused(chain: Path) -> None:
    with pytest.raises(InvalidInput, match="unknown accelerator 'gpu'"):
        await measured(chain, accelerator="gpu")


def op(index: int, name: str) -> OpFacts:
    return OpFacts(index, name, 1, False, (), (index,), {})


@pytest.mark.parametrize(
    ("ops", "operators", "owners"),
    [
        (["CONV_2D", "ADD"], ["Convolution (NHWC, F32) IGEMM", "Add (ND)"], [0, 1]),
        # A conversion before and a reshape after belong to the op that they serve.
        (
            ["FULLY_CONNECTED", "SOFTMAX"],
            ["Convert (NC, F32, QD8)", "Fully Connected (NC, QD8, F32, QC8W) GEMM", "Softmax (NC, F32)"],
            [0, 0, 1],
        ),
        # The activation in the middle was fused away.
        (["CONV_2D", "RELU", "MEAN"], ["Convolution (NHWC, F32) IGEMM", "Mean (ND) Reduce2"], [0, 2]),
        (["MUL", "HARD_SWISH"], ["Multiply (ND)", "HardSwish (NC)"], [0, 1]),
    ],
)
def test_operators_are_aligned(ops: list[str], operators: list[str], owners: list[int]) -> None:
    assert align([op(index, name) for index, name in enumerate(ops)], operators, frozenset()) == owners


def test_operators_of_another_graph_do_not_fit() -> None:
    assert align([op(0, "CONV_2D")], ["Softmax (NC, F32)"], frozenset()) is None


def test_what_is_folded_needs_no_operator() -> None:
    ops = [op(0, "DEQUANTIZE"), op(1, "CONV_2D"), op(2, "CONV_2D")]
    names = ["Convolution (NHWC, F32) IGEMM", "Convolution (NHWC, F32) IGEMM"]
    assert align(ops, names, frozenset({0})) == [1, 2]
