"""The layer log: bit for bit, cut anywhere, read by another runtime; statistics within their stated error."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from support.graphs import DenseWeights, GraphWriter, dense_model
from support.models import DigitsModels
from windtunnel.diagnosis.layer_log.codec import SKETCH, Sketcher, Statistics, Torn, pack, unpack
from windtunnel.diagnosis.layer_log.compare_logs import compare_logs
from windtunnel.diagnosis.layer_log.log_file import LayerLog, LogWriter, Mode, read_log
from windtunnel.errors import InvalidInput, NotFound
from windtunnel.tflite import Runner, dequantize

DTYPES = ("float32", "float16", "float64", "int8", "uint8", "int16", "int32", "int64", "bool", "complex64")


def _bits(array: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(array).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("prediction", ["none", "near", "far", "other shape"])
def test_packing_is_bit_exact(dtype: str, prediction: str) -> None:
    draw = np.random.default_rng(1)
    raw = draw.integers(0, 256, 3 * 50 * np.dtype(dtype).itemsize, dtype=np.uint8)
    # All bit patterns, NaN with payloads and denormals among them.
    array = (raw & 1 if dtype == "bool" else raw).view(dtype)[:150].reshape(3, 50)
    near = array.copy()
    near.reshape(-1).view(np.uint8)[: np.dtype(dtype).itemsize] ^= 1
    predicted = {"none": None, "near": near, "far": np.zeros_like(array), "other shape": np.zeros((2, 2), dtype)}[
        prediction
    ]
    data = b"xy" + pack(array, predicted) + b"z"
    found, end = unpack(data, 2, dtype, predicted)
    assert found is not None
    assert (found.shape, found.dtype, end) == ((3, 50), np.dtype(dtype), len(data) - 1)
    assert _bits(found) == _bits(array)


@given(
    arrays.arrays(
        np.float32, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5), elements=st.floats(width=32)
    )
)
def test_any_floats_pack_with_and_without_a_prediction(array: NDArray[np.float32]) -> None:
    array = np.asarray(array)
    for predicted in (None, np.zeros_like(array), array):
        found, _ = unpack(pack(array, predicted), 0, "float32", predicted)
        assert found is not None
        assert found.shape == array.shape
        assert _bits(found) == _bits(array)


def test_a_right_prediction_costs_five_bytes_and_a_near_one_little() -> None:
    array = np.random.default_rng(2).normal(size=10_000).astype(np.float32)
    near = np.nextafter(array, np.float32(np.inf), dtype=np.float32)
    assert len(pack(array, array.copy())) == 5
    assert len(pack(array, near)) < 200
    assert len(pack(array, None)) > 30_000


def test_another_prediction_than_the_writers_is_noticed() -> None:
    array = np.arange(8, dtype=np.float32)
    exact, residual = pack(array, array), pack(array, array + 1)
    assert len(residual) > len(exact)
    for packed, predicted in ((exact, array), (residual, array + 1)):
        found, _ = unpack(packed, 0, "float32", predicted)
        assert found is not None and _bits(found) == _bits(array)
        assert unpack(packed, 0, "float32", predicted + 1) == (None, len(packed))
        assert unpack(packed, 0, "float32", None) == (None, len(packed))


@pytest.mark.parametrize("cut", [1, 5, 8, 12, -1])
def test_torn_bytes_are_named(cut: int) -> None:
    data = pack(np.arange(50, dtype=np.float32), None)
    with pytest.raises(Torn):
        unpack(data[:cut], 0, "float32", None)


def _write(path: Path, model: Path, mode: Mode, frames: int = 5, **settings: Any) -> list[dict[str, NDArray[Any]]]:
    """Logs seeded frames; returns what the layers held."""
    runner = Runner(model, preserve_all=True)
    draw = np.random.default_rng(3)
    name, shape = runner.facts.inputs[0].name, runner.facts.inputs[0].shape
    kept = []
    with LogWriter(path, runner, mode, **settings) as log:
        for _ in range(frames):
            runner.run({name: draw.uniform(-1, 1, shape).astype(np.float32)})
            log.add(runner)
            kept.append({layer.name: layer.array for layer in runner.layers()})
        assert log.frames == frames
    return kept


def test_a_lossless_log_gives_every_layer_back(tmp_path: Path, dense: Path) -> None:
    kept = _write(tmp_path / "l.log", dense, "lossless")
    log = LayerLog(tmp_path / "l.log", dense)
    assert (log.frames, log.tail, log.header["coding"], log.mode) == (5, None, "predicted", "lossless")
    for _ in range(2):
        frames = list(log)
        assert [frame.number for frame in frames] == [0, 1, 2, 3, 4]
        for frame, layers in zip(frames, kept, strict=True):
            assert frame.unreadable == ()
            assert list(frame.layers) == list(layers) == ["hidden_1", "hidden_2", "logits", "probabilities"]
            assert all(_bits(frame.layers[name]) == _bits(array) for name, array in layers.items())
            assert frame.inputs["input"].shape == (1, 8)


def test_the_header_says_what_was_logged(tmp_path: Path, dense: Path) -> None:
    _write(tmp_path / "l.log", dense, "statistics", frames=1)
    header = LayerLog(tmp_path / "l.log").header
    assert header["schema"] == "windtunnel.layer_log/1"
    assert header["model"]["name"] == dense.name
    assert len(header["model"]["sha256"]) == 64
    assert header["runtime"]["accelerator"] == "xnnpack"
    assert header["layers"][0] | {"index": 0} == {
        "index": 0,
        "name": "hidden_1",
        "op": "FULLY_CONNECTED",
        "op_index": 0,
        "dtype": "float32",
        "shape": [1, 16],
        "scales": [],
        "zero_points": [],
        "axis": 0,
    }


def test_a_log_is_read_with_its_own_model_only(tmp_path: Path, dense: Path) -> None:
    _write(tmp_path / "l.log", dense, "lossless")
    assert len(list(read_log(tmp_path / "l.log"))) == 5  # the model is next to it
    other = dense_model(tmp_path / "other.tflite", DenseWeights.random(1))
    with pytest.raises(InvalidInput, match=r"not the model that l\.log was written with"):
        LayerLog(tmp_path / "l.log", other)
    with pytest.raises(InvalidInput, match="read with its model"):
        LayerLog(tmp_path / "l.log", tmp_path / "gone.tflite")
    with pytest.raises(NotFound):
        LayerLog(tmp_path / "none.log")


def test_a_runtime_that_computes_other_values_is_told_layer_by_layer(
    tmp_path: Path, dense: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read with other weights under the name of the model: what another kernel would do."""
    kept = _write(tmp_path / "l.log", dense, "lossless", frames=1)
    weights = DenseWeights.random()
    weights.second[:] += 0.01
    other = dense_model(tmp_path / "other.tflite", weights)
    monkeypatch.setattr("windtunnel.diagnosis.layer_log.log_file._model_for", lambda log, model: other)
    (frame,) = LayerLog(tmp_path / "l.log")
    assert frame.unreadable == ("hidden_2", "logits", "probabilities")
    assert list(frame.layers) == ["hidden_1"]
    assert _bits(frame.layers["hidden_1"]) == _bits(kept[0]["hidden_1"])


@pytest.mark.parametrize("mode", ["lossless", "statistics"])
def test_a_log_cut_anywhere_reads_up_to_its_last_whole_frame(tmp_path: Path, dense: Path, mode: Mode) -> None:
    path = tmp_path / "l.log"
    _write(path, dense, mode, frames=3)
    data = path.read_bytes()
    ends = [
        (tmp_path / f"{n}.log", _write(tmp_path / f"{n}.log", dense, mode, frames=n))[0].stat().st_size
        for n in range(4)
    ]
    assert ends[3] == len(data)
    for cut in sorted({*ends, *range(ends[0], len(data), 7), len(data) - 1}):
        path.write_bytes(data[:cut])
        log = LayerLog(path, dense)
        whole = sum(cut >= end for end in ends[1:])
        assert (log.frames, len(list(log))) == (whole, whole)
        assert (log.tail is None) == (cut in ends)
    path.write_bytes(data[: ends[0] - 1])
    with pytest.raises(InvalidInput, match="cut within its header"):
        LayerLog(path, dense)


def test_a_flipped_byte_ends_the_log_there(tmp_path: Path, dense: Path) -> None:
    path = tmp_path / "l.log"
    _write(path, dense, "statistics", frames=3)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    log = LayerLog(path)
    assert log.frames == 2
    assert log.tail is not None
    assert "after frame 2" in log.tail and "is damaged" in log.tail


def test_appending_goes_on_after_the_last_whole_frame(tmp_path: Path, dense: Path) -> None:
    path = tmp_path / "l.log"
    kept = _write(path, dense, "lossless", frames=3)
    path.write_bytes(path.read_bytes()[:-1])
    runner = Runner(dense, preserve_all=True)
    with LogWriter(path, runner, append=True) as log:
        assert log.frames == 2
        runner.run({"input": np.ones((1, 8), np.float32)})
        log.add(runner)
        last = {layer.name: layer.array for layer in runner.layers()}
    frames = list(LayerLog(path, dense))
    for frame, layers in zip(frames, [*kept[:2], last], strict=True):
        assert all(_bits(frame.layers[name]) == _bits(array) for name, array in layers.items())
    # Another mode or model starts again, and so does a writer that does not append.
    with LogWriter(path, runner, "statistics", append=True) as log:
        assert log.frames == 0
    with LogWriter(path, runner, "statistics") as log:
        assert log.frames == 0


def _log_forever(path: Path, model: Path) -> None:
    runner = Runner(model, preserve_all=True)
    with LogWriter(path, runner) as log:
        draw = np.random.default_rng(5)
        while True:
            runner.run({"input": draw.normal(size=(1, 8)).astype(np.float32)})
            log.add(runner)


@pytest.mark.heavy
def test_a_log_cut_by_a_kill_is_read(tmp_path: Path, dense: Path) -> None:
    path = tmp_path / "l.log"
    child = multiprocessing.get_context("spawn").Process(target=_log_forever, args=(path, dense))
    child.start()
    deadline = time.monotonic() + 60
    while not path.exists() or path.stat().st_size < 50_000:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    log = LayerLog(path, dense)
    frames = list(log)
    assert len(frames) == log.frames > 100
    assert all(frame.unreadable == () and len(frame.layers) == 4 for frame in frames)


def test_values_that_do_not_follow_from_the_inputs_are_coded_plain(tmp_path: Path) -> None:
    writer = GraphWriter()
    source, noise, output = (writer.tensor(name, (1, 4)) for name in ("x", "noise", "y"))
    shape = writer.tensor("shape", (2,), "int32", data=np.array([1, 4]))
    options = schema.RandomOptionsT()
    options.seed, options.seed2 = 0, 0
    writer.op("RANDOM_UNIFORM", [shape], [noise], options)
    writer.op("ADD", [source, noise], [output], schema.AddOptionsT())
    model = writer.write(tmp_path / "m.tflite", [source], [output])
    kept = _write(tmp_path / "l.log", model, "lossless")
    log = LayerLog(tmp_path / "l.log")
    assert log.header["coding"] == "plain"
    for frame, layers in zip(log, kept, strict=True):
        assert all(_bits(frame.layers[name]) == _bits(array) for name, array in layers.items())


@pytest.mark.heavy
@pytest.mark.parametrize("variant", ["float32", "int8", "int16x8"])
def test_sizes_on_a_real_model(tmp_path: Path, digits: DigitsModels, variant: str) -> None:
    """Lossless at least 20 times smaller than text, statistics within 64 bytes per layer and frame."""
    model = digits.variants[variant]
    runner = Runner(model, preserve_all=True)
    text = 0
    x = np.load(digits.samples)["x"][:40]
    logs = {mode: LogWriter(tmp_path / f"{mode}.log", runner, mode) for mode in ("lossless", "statistics")}
    kept = []
    for one in x:
        runner.run({"image": one[None]})
        for log in logs.values():
            log.add(runner)
        kept.append({layer.name: layer.array for layer in runner.layers()})
        for layer in runner.layers():
            values = dequantize(layer.array, layer.tensor.quantization).ravel().tolist()
            text += len(" ".join(f"{value:.9g}" for value in values))
    for log in logs.values():
        log.close()
    assert text / (tmp_path / "lossless.log").stat().st_size >= 20
    assert (tmp_path / "statistics.log").stat().st_size / (40 * len(kept[0])) <= 64
    for frame, layers in zip(LayerLog(tmp_path / "lossless.log", model), kept, strict=True):
        assert frame.unreadable == ()
        assert all(_bits(frame.layers[name]) == _bits(array) for name, array in layers.items())


def test_statistics_are_those_of_numpy_and_survive_packing() -> None:
    values = np.random.default_rng(6).normal(3.0, 2.0, (5, 7, 11))
    made = Sketcher().statistics(values)
    found, end = Statistics.unpack(b"-" + made.pack(), 1)
    assert end == 57
    assert (found.count, found.non_finite) == (385, 0)
    expected = values.min(), values.max(), values.mean(), values.var()
    assert (found.low, found.high, found.mean, found.variance) == pytest.approx(expected, rel=1e-6)
    assert found.sketch == pytest.approx(made.sketch, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("values", [np.zeros(0), np.zeros(5), np.full(5, 7.0), np.array([1.0, np.nan, np.inf])])
def test_statistics_of_what_has_no_spread(values: NDArray[np.float64]) -> None:
    made = Sketcher().statistics(values)
    assert made.sketch.tolist() == [0.0] * SKETCH
    assert made.variance == 0.0
    assert made.non_finite == np.count_nonzero(~np.isfinite(values))


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (0, [0, 0, 55, 55, -60, 90, 35, -65, 65, -225, 0, 25, 0, 0, 15, -130]),
        (3, [-50, -85, 90, -60, 0, -15, 0, -10, 0, -45, 0, 0, 15, -95, 85, 0]),
    ],
)
def test_the_buckets_are_those_of_the_format(frame: int, expected: list[int]) -> None:
    """Frozen: another program, or a later one, must find the same sums."""
    found = Sketcher().statistics(np.arange(20.0), frame).sketch
    unit = np.sqrt(np.arange(20.0).var() * 20 / SKETCH)
    assert np.rint(found * unit * 10).astype(int).tolist() == expected


@pytest.mark.parametrize("kind", ["noise", "one channel", "offset", "heavy tails", "scaled"])
@pytest.mark.parametrize("frames", [1, 20])
def test_the_estimate_keeps_its_stated_error(kind: str, frames: int) -> None:
    """Bias and spread of sqrt(MSE) from sketches against the true one, over 300 independent layers."""
    draw = np.random.default_rng(7)
    sketcher, ratios = Sketcher(), []
    for _ in range(300):
        true = estimate = 0.0
        for frame in range(frames):
            a = draw.normal(0.5, 1.0, (6, 6, 17))
            error = draw.normal(0, 0.05, a.shape)
            if kind == "one channel":
                error *= np.eye(17)[3]
            elif kind == "offset":
                error += 0.05
            elif kind == "heavy tails":
                error = error**3 * 400
            b = a * 1.02 if kind == "scaled" else a + error
            sides = [Statistics.unpack(sketcher.statistics(one, frame).pack(), 0)[0] for one in (a, b)]
            true += ((b - a) ** 2).sum()
            estimate += sides[0].squared_distance(sides[1])
        ratios.append(np.sqrt(estimate / true))
    stated = 1 / np.sqrt(2 * SKETCH * frames)
    noise = 4 * stated / np.sqrt(300)
    assert -1 / (2 * SKETCH * frames) - noise <= np.mean(ratios) - 1 <= noise
    assert np.std(ratios) <= 1.15 * stated


def test_equal_layers_are_no_distance_apart() -> None:
    made = Sketcher().statistics(np.random.default_rng(8).normal(size=1000))
    assert made.squared_distance(made) == 0.0


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_rounding_alone_stays_below_what_is_stated(scale: float) -> None:
    draw, sketcher = np.random.default_rng(9), Sketcher()
    shares = []
    for _ in range(200):
        values = draw.normal(3.0, scale, 500)
        exact = sketcher.statistics(values)
        rounded = exact.rounded()
        shares.append(exact.squared_distance(rounded) / exact.squared_rounding(rounded))
    assert np.median(shares) > 0.001
    assert max(shares) < 1


def _two_logs(tmp_path: Path, dense: Path, modes: tuple[Mode, Mode], frames: int = 30) -> tuple[Path, Path, Path]:
    weights = DenseWeights.random()
    weights.first[:] *= np.float32(1.05)
    other = dense_model(tmp_path / "other.tflite", weights)
    paths = tmp_path / "a.log", tmp_path / "b.log"
    for path, model, mode in zip(paths, (dense, other), modes, strict=True):
        _write(path, model, mode, frames=frames)
    return *paths, other


def test_lossless_logs_compare_exactly_and_statistics_nearly(tmp_path: Path, dense: Path) -> None:
    first, second, other = _two_logs(tmp_path, dense, ("lossless", "lossless"))
    exact = compare_logs(first, second, models=(dense, other))
    a, b = (
        np.stack([frame.layers["hidden_1"] for frame in LayerLog(path, m)])
        for path, m in ((first, dense), (second, other))
    )
    expected = np.sqrt(((a.astype(np.float64) - b) ** 2).mean()) / max(np.ptp(a), np.ptp(b))
    assert exact[0].nrmse == pytest.approx(expected, rel=1e-5)
    assert [(one.first, one.relative_error) for one in exact][:2] == [("hidden_1", 0.0), ("hidden_2", 0.0)]
    for modes in (("statistics", "statistics"), ("lossless", "statistics")):
        first, second, _ = _two_logs(tmp_path, dense, modes)
        for estimate, one in zip(compare_logs(first, second, models=(dense, other)), exact, strict=True):
            assert estimate.nrmse is not None
            assert one.nrmse is not None
            assert 1 <= estimate.relative_error * np.sqrt(2 * 16 * 30) < 1.1
            assert abs(estimate.nrmse / one.nrmse - 1) < 5 * estimate.relative_error


def test_logs_that_cannot_be_compared_are_refused(tmp_path: Path, dense: Path) -> None:
    first, second, _ = _two_logs(tmp_path, dense, ("statistics", "statistics"), frames=3)
    _write(tmp_path / "short.log", dense, "statistics", frames=2)
    with pytest.raises(InvalidInput, match=r"has 3 frames, short\.log has 2"):
        compare_logs(first, tmp_path / "short.log")
    renamed = dense_model(tmp_path / "n.tflite", names=("p", "q", "r"))
    _write(tmp_path / "renamed.log", renamed, "statistics", frames=3)
    found = compare_logs(first, tmp_path / "renamed.log", pairs=[("hidden_1", "p")])
    assert [(one.first, one.second, one.is_bound) for one in found] == [("hidden_1", "p", True)]
    assert found[0].nrmse is not None and found[0].nrmse < 1e-3
    with pytest.raises(NotFound, match="no layer 'nothing'"):
        compare_logs(first, second, pairs=[("hidden_1", "nothing")])
