"""Runner over the real interpreter."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from support import graphs
from support.kernel_models import wide_model
from support.models import DigitsModels
from windtunnel.errors import InvalidInput, JobFailed, NotFound, Unsupported
from windtunnel.isolation import ChildPool
from windtunnel.tflite import Accelerator, Runner


def _expected(x: NDArray[np.float32]) -> NDArray[np.float64]:
    weights = graphs.DenseWeights.random()
    hidden = np.maximum(x @ weights.first.T.astype(np.float64), 0)
    hidden = np.maximum(hidden @ weights.second.T.astype(np.float64), 0)
    logits = hidden @ weights.third.T.astype(np.float64)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


@pytest.fixture
def sample() -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(1, 8)).astype(np.float32)


@pytest.mark.parametrize("accelerator", get_args(Accelerator))
def test_computes_what_numpy_does(dense: Path, sample: NDArray[np.float32], accelerator: Accelerator) -> None:
    outputs = Runner(dense, accelerator=accelerator).run({"input": sample})
    assert list(outputs) == ["probabilities"]
    assert np.allclose(outputs["probabilities"], _expected(sample), atol=1e-6)


@pytest.mark.parametrize("accelerator", ["xnnpack", "none"])
def test_layers_come_in_execution_order(dense: Path, sample: NDArray[np.float32], accelerator: Accelerator) -> None:
    runner = Runner(dense, accelerator=accelerator, preserve_all=True)
    runner.run({"in_0": sample})
    layers = list(runner.layers())
    assert [(layer.op_index, layer.name) for layer in layers] == [
        (0, "hidden_1"),
        (1, "hidden_2"),
        (2, "logits"),
        (3, "probabilities"),
    ]
    first = np.maximum(sample @ graphs.DenseWeights.random().first.T, 0)
    assert np.allclose(layers[0].array, first, atol=1e-6)
    assert np.allclose(layers[3].array, _expected(sample), atol=1e-6)


def test_layers_were_not_kept(dense: Path, sample: NDArray[np.float32]) -> None:
    runner = Runner(dense)
    runner.run({"input": sample})
    with pytest.raises(InvalidInput, match="not kept"):
        list(runner.layers())


def test_a_dynamic_batch_takes_the_samples_size(dense: Path, sample: NDArray[np.float32]) -> None:
    runner = Runner(dense)
    many = np.concatenate([sample, sample * 2, sample * 3])
    assert np.allclose(runner.run({"input": many})["probabilities"], _expected(many), atol=1e-6)
    assert np.allclose(runner.run({"input": sample})["probabilities"], _expected(sample), atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        ({"input": np.zeros((1, 9), np.float32)}, r"'input' takes the shape \[any, 8\], .* \[1, 9\]"),
        ({"input": np.zeros((8,), np.float32)}, r"takes the shape .* \[8\]"),
        ({"input": np.zeros((0, 8), np.float32)}, r"\[0, 8\]"),
        ({"input": np.zeros((1, 8), np.int32)}, "takes float32, but the sample is int32"),
        ({"input": np.full((1, 8), np.nan, np.float32)}, "NaN or infinity"),
        ({"image": np.zeros((1, 8), np.float32)}, "no input 'image'.*'input'"),
        ({}, "no value for the input 'input'"),
    ],
)
def test_wrong_inputs_are_named(dense: Path, inputs: dict[str, NDArray[np.float32]], match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        Runner(dense).run(inputs)


def _quantized_identity(path: Path) -> Path:
    """int8 input (scale 0.5, zero point -1) -> RELU -> int8 output of the same parameters."""
    writer = graphs.GraphWriter()
    source = writer.tensor("x", (1, 4), "int8", scales=[0.5], zeros=[-1])
    output = writer.tensor("y", (1, 4), "int8", scales=[0.5], zeros=[-1])
    writer.op("RELU", [source], [output], version=2)
    return writer.write(path, [source], [output])


def test_real_numbers_are_quantized_and_saturated(tmp_path: Path) -> None:
    runner = Runner(_quantized_identity(tmp_path / "q.tflite"))
    x = np.array([[1.2, 0.25, -3.0, 1000.0]])
    assert runner.run({"x": x})["y"].tolist() == [[1, -1, -1, 127]]
    assert runner.run({"x": x}, dequantized=True)["y"].tolist() == [[1.0, 0.0, 0.0, 64.0]]


def test_stored_integers_pass_as_they_are(tmp_path: Path) -> None:
    runner = Runner(_quantized_identity(tmp_path / "q.tflite"))
    assert runner.run({"x": np.array([[5, 127, -1, 0]], np.int8)})["y"].tolist() == [[5, 127, -1, 0]]
    with pytest.raises(InvalidInput, match="takes int8, but the sample is uint8"):
        runner.run({"x": np.zeros((1, 4), np.uint8)})


def test_what_constants_alone_decide_is_no_layer(tmp_path: Path) -> None:
    writer = graphs.GraphWriter()
    half = writer.tensor("half", (1, 4), "float16", data=np.ones(4))
    full, source, output = (writer.tensor(name, (1, 4)) for name in ("full", "x", "y"))
    writer.op("DEQUANTIZE", [half], [full])
    writer.op("ADD", [source, full], [output], schema.AddOptionsT())
    runner = Runner(writer.write(tmp_path / "m.tflite", [source], [output]), preserve_all=True)
    runner.run({"x": np.zeros((1, 4), np.float32)})
    assert [(layer.name, layer.array.tolist()) for layer in runner.layers()] == [("y", [[1, 1, 1, 1]])]


def test_what_the_runtime_refuses(tmp_path: Path, dense: Path) -> None:
    writer = graphs.GraphWriter()
    source, output = writer.tensor("x", (1, 4)), writer.tensor("y", (1, 4))
    writer.op("NobodyHasThis", [source], [output])
    path = writer.write(tmp_path / "m.tflite", [source], [output])
    with pytest.raises(Unsupported, match="NobodyHasThis"):
        Runner(path).run({"x": np.zeros((1, 4), np.float32)})
    with pytest.raises(NotFound):
        Runner(tmp_path / "none.tflite")
    with pytest.raises(InvalidInput, match="threads"):
        Runner(dense, threads=0)


@pytest.mark.heavy
@pytest.mark.parametrize("variant", ["float32", "float16", "dynamic_range", "int8", "int16x8"])
def test_delegate_and_plain_kernels_agree_on_every_layer(digits: DigitsModels, variant: str) -> None:
    x = np.load(digits.samples)["x"][:1]
    arrays = []
    choices: tuple[Accelerator, ...] = ("xnnpack", "builtin")
    for accelerator in choices:
        runner = Runner(digits.variants[variant], accelerator=accelerator, preserve_all=True)
        runner.run({"image": x})
        arrays.append(list(runner.layers()))
    assert len(arrays[0]) == len(arrays[1]) == 11
    for first, second in zip(*arrays, strict=True):
        a, b = first.array.astype(np.float64), second.array.astype(np.float64)
        assert np.abs(a - b).max() <= 0.03 * max(1.0, np.ptp(a)), first.name


def run_short_of_memory(model: Path, *, when: str) -> None:
    """A job: the process gets half of what the model's output takes, before it is allocated or before it is read."""
    runner, x = Runner(model, accelerator="none"), {"x": np.ones((1, 1), np.float32)}
    if when == "read":
        runner.run(x)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 120_000_000
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    runner.run(x)


@pytest.mark.heavy
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to measure how much memory is taken")
async def test_too_little_memory_is_named(tmp_path: Path) -> None:
    model = wide_model(tmp_path / "wide.tflite", 60_000_000)
    # Each job's limit lasts as long as its process.
    async with ChildPool(size=1, timeout_s=60, memory_mb=4000, max_jobs=1) as pool:
        with pytest.raises(JobFailed, match=r"not enough memory to run wide\.tflite") as failed:
            await pool.run(run_short_of_memory, model, when="read")
        assert failed.value.how == "memory"
        with pytest.raises(
            InvalidInput, match=r"refuses wide\.tflite: it gives no reason, as where .* memory"
        ) as refused:
            await pool.run(run_short_of_memory, model, when="allocate")
        assert "more memory" in refused.value.hint
