"""`windtunnel layers`: logs over samples, their sizes, and two of them compared."""

from __future__ import annotations

import json
import struct
import zlib
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from support.graphs import DenseWeights, GraphWriter, dense_model
from windtunnel.cli.commands.models.layers import _alone, _part, layers
from windtunnel.cli.report.text.layer_log_text import diff_document, exit_code
from windtunnel.diagnosis.layer_log.compare_logs import UNREADABLE, LoggedDiff, compare_logs
from windtunnel.diagnosis.layer_log.jobs import LogComparison, text_size
from windtunnel.diagnosis.layer_log.log_file import LayerLog
from windtunnel.errors import Conflict, InvalidInput, NotFound
from windtunnel.tflite import Runner

LAYERS = ["hidden_1", "hidden_2", "logits", "probabilities"]
NONSENSE: tuple[object, ...] = ([], 5, None, "text")


def _damaged() -> DenseWeights:
    """The weights of `dense_model`, with another second layer."""
    good = DenseWeights.random()
    return DenseWeights(good.first, good.second[::-1].copy(), good.third)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return dense_model(tmp_path / "good.tflite")


@pytest.fixture
def x(tmp_path: Path) -> NDArray[np.float32]:
    values = np.random.default_rng(1).normal(size=(20, 8)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", x=values)
    return values


def run(*arguments: str | Path) -> int:
    result = layers.main([str(one) for one in arguments], standalone_mode=False)
    assert isinstance(result, int)
    return result


def logged(model: Path, *options: str | Path) -> Path:
    """A log of the samples, next to the model."""
    out = model.with_suffix(".stat.log" if "--statistics" in options else ".log")
    samples = model.parent / "samples.npz"
    assert run("log", model, "--samples", samples, "--out", out, "--force", *options) == 0
    return out


def compared(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, Any]:
    capsys.readouterr()
    code = run("diff", *arguments, "--json")
    return code, json.loads(capsys.readouterr().out)


def _kept(model: Path, x: NDArray[np.float32]) -> list[dict[str, NDArray[Any]]]:
    runner, kept = Runner(model, preserve_all=True), []
    for one in x:
        runner.run({"input": one[None]})
        kept.append({layer.name: layer.array for layer in runner.layers()})
    return kept


def _text(values: NDArray[np.float32], path: Path) -> int:
    """Bytes that numpy.savetxt writes for these values."""
    np.savetxt(path, values.reshape(1, -1), fmt="%.9g")
    return path.stat().st_size


@pytest.mark.heavy
def test_every_value_is_logged(good: Path, x: NDArray[np.float32], capsys: pytest.CaptureFixture[str]) -> None:
    out = logged(good, "--json")
    document = json.loads(capsys.readouterr().out)
    assert (document["frames"], document["resumed"], document["layers"]) == (20, 0, 4)
    assert (document["mode"], document["coding"]) == ("lossless", "predicted")
    kept = _kept(good, x)
    for frame, expected in zip(LayerLog(out, good), kept, strict=True):
        assert list(frame.layers) == LAYERS
        assert all(frame.layers[name].tobytes() == expected[name].tobytes() for name in LAYERS)
        assert frame.inputs["input"].tobytes() == x[frame.number][None].tobytes()
    size = out.stat().st_size
    assert document["size_bytes"] == size
    assert document["bytes_per_frame"] == pytest.approx(size / 20)
    assert document["bytes_per_layer_and_frame"] == pytest.approx(size / 80)
    text = sum(_text(kept[0][name], out.with_suffix(".txt")) for name in LAYERS)
    assert document["text_bytes_per_frame"] == text
    assert document["times_smaller_than_text"] == pytest.approx(20 * text / size)


def test_the_size_of_a_large_layer_as_text_is_estimated(tmp_path: Path) -> None:
    writer = GraphWriter()
    source, output = writer.tensor("input", (1, 150, 201)), writer.tensor("y", (1, 150, 201))
    writer.op("NEG", [source], [output])
    runner = Runner(writer.write(tmp_path / "m.tflite", [source], [output]), preserve_all=True)
    values = np.random.default_rng(2).normal(size=(1, 150, 201)).astype(np.float32)
    runner.run({"input": values})
    assert text_size(runner) == pytest.approx(_text(-values, tmp_path / "t.txt"), rel=0.01)


@pytest.mark.heavy
def test_what_was_logged_is_said(good: Path, x: NDArray[np.float32], capsys: pytest.CaptureFixture[str]) -> None:
    logged(good, "--max-samples", "3", "--accelerator", "none")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "good.tflite: 3 frames, 4 layers, lossless"
    assert "per layer and frame" in lines[1]
    assert "times smaller than the same values as text" in lines[2]
    assert "keep the model" in lines[3]
    log = LayerLog(good.with_suffix(".log"), good)
    assert (log.frames, log.header["runtime"]["accelerator"]) == (3, "none")


@pytest.mark.heavy
def test_statistics_take_little_and_need_no_model(
    good: Path, x: NDArray[np.float32], capsys: pytest.CaptureFixture[str]
) -> None:
    out = logged(good, "--statistics", "--json")
    document = json.loads(capsys.readouterr().out)
    assert (document["mode"], document["coding"]) == ("statistics", "statistics")
    assert document["size_bytes"] < 20 * 4 * 64 + 1000
    good.unlink()
    assert next(iter(LayerLog(out))).statistics["hidden_1"].count == 16


@pytest.mark.heavy
def test_a_log_is_not_replaced_unasked_and_nothing_is_left_of_one_that_failed(
    good: Path, x: NDArray[np.float32], tmp_path: Path
) -> None:
    out = tmp_path / "kept.log"
    out.write_text("mine")
    with pytest.raises(Conflict, match=r"kept\.log already exists"):
        run("log", good, "--samples", tmp_path / "samples.npz", "--out", out)
    np.savez(tmp_path / "shape.npz", x=np.zeros((4, 9), np.float32))
    with pytest.raises(InvalidInput, match=r"\[any, 8\]"):
        run("log", good, "--samples", tmp_path / "shape.npz", "--out", out, "--force")
    np.savez(tmp_path / "nan.npz", x=np.full((4, 8), np.nan, np.float32))
    with pytest.raises(InvalidInput, match="NaN"):
        run("log", good, "--samples", tmp_path / "nan.npz", "--out", out, "--force")
    assert out.read_text() == "mine"
    assert not list(tmp_path.glob("*.part"))
    with pytest.raises(NotFound, match="gone"):
        run("log", tmp_path / "gone.tflite", "--samples", tmp_path / "samples.npz", "--out", tmp_path / "o.log")


def test_frames_of_another_command_are_not_gone_on_with(good: Path, x: NDArray[np.float32], tmp_path: Path) -> None:
    np.savez(tmp_path / "others.npz", x=x + 1)
    other = dense_model(tmp_path / "bad.tflite", _damaged())
    samples, out = tmp_path / "samples.npz", tmp_path / "o.log"
    photos = tmp_path / "photos" / "cat"
    photos.mkdir(parents=True)
    parts = [
        _part(out, good, samples, [None, False, "xnnpack"]),
        _part(out, good, samples, [{"steps": []}, False, "xnnpack"]),
        _part(out, good, samples, [None, True, "xnnpack"]),
        _part(out, good, tmp_path / "others.npz", [None, False, "xnnpack"]),
        _part(out, other, samples, [None, False, "xnnpack"]),
        _part(out, good, photos.parent, [None, False, "xnnpack"]),
    ]
    (photos / "1.png").write_bytes(b"1")
    parts.append(_part(out, good, photos.parent, [None, False, "xnnpack"]))
    assert len(set(parts)) == len(parts)
    assert _part(out, good, samples, [None, False, "xnnpack"]) == parts[0]
    assert parts[0].name.startswith("o.log.") and parts[0].suffix == ".part"


@pytest.mark.heavy
def test_a_damaged_layer_is_over_from_there_on(
    good: Path, x: NDArray[np.float32], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = dense_model(tmp_path / "bad.tflite", _damaged())
    logs = logged(good), logged(bad)
    code, document = compared(capsys, *logs)
    assert (code, document["verdict"], document["exact"], document["frames"]) == (1, "degraded", True, 20)
    assert document["first_over"] == "hidden_2"
    assert document["coverage"] == {"compared": 4, "total": 4, "unmatched": [], "unreadable": [], "undecided": []}
    rows = {row["layer"]: row for row in document["layers"]}
    assert list(rows) == LAYERS
    assert rows["hidden_1"]["nrmse"] == 0
    a = np.stack([one["hidden_2"] for one in _kept(good, x)]).astype(np.float64)
    b = np.stack([one["hidden_2"] for one in _kept(bad, x)]).astype(np.float64)
    rmse = np.sqrt(np.square(a - b).mean())
    assert rows["hidden_2"]["rmse"] == pytest.approx(rmse, rel=1e-5)
    assert rows["hidden_2"]["nrmse"] == pytest.approx(rmse / max(np.ptp(a), np.ptp(b)), rel=1e-5)
    assert rows["hidden_2"]["relative_error"] == 0
    assert (rows["hidden_2"]["op"], rows["hidden_2"]["op_index"]) == ("FULLY_CONNECTED", 1)
    figures = [rows[name]["nrmse"] for name in document["worst"]]
    assert figures == sorted(figures, reverse=True)
    assert compared(capsys, *logs, "--threshold", "5")[0] == 0
    assert compared(capsys, logs[0], logs[0])[0] == 0


@pytest.mark.heavy
def test_the_table_shows_the_worst_first(
    good: Path, x: NDArray[np.float32], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = logged(good), logged(dense_model(tmp_path / "bad.tflite", _damaged()))
    capsys.readouterr()
    assert run("diff", *logs) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "! DEGRADED"
    assert lines[1].strip() == "4 of 4 layers compared over 20 frames, exact figures"
    assert lines[2].strip() == "diverges first (threshold 0.1): hidden_2"
    assert lines[-1].split()[-1] == "hidden_1"


@pytest.mark.heavy
def test_statistics_give_an_estimate_and_its_error(
    good: Path, x: NDArray[np.float32], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = dense_model(tmp_path / "bad.tflite", _damaged())
    exact = {one.second: one for one in compare_logs(logged(good), logged(bad))}
    code, document = compared(capsys, logged(good), logged(bad, "--statistics"))
    assert (code, document["exact"], document["same_inputs"]) == (1, False, None)
    rows = {row["layer"]: row for row in document["layers"]}
    assert rows["hidden_2"]["relative_error"] == pytest.approx(1 / np.sqrt(32 * 20), rel=1e-3)
    expected = exact["hidden_2"].nrmse
    assert expected is not None
    # Five standard deviations.
    assert rows["hidden_2"]["nrmse"] == pytest.approx(expected, rel=0.2)


@pytest.mark.heavy
def test_models_pair_layers_that_have_other_names(
    good: Path, x: NDArray[np.float32], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    renamed = dense_model(tmp_path / "renamed.tflite", _damaged(), names=("a", "b", "c"))
    for options in ((), ("--statistics",)):
        logs = logged(good, *options), logged(renamed, *options)
        code, document = compared(capsys, *logs)
        assert document["coverage"]["compared"] == 1
        assert [one["name"] for one in document["coverage"]["unmatched"]] == ["a", "b", "c"]
        code, document = compared(capsys, *logs, "--models", good, renamed)
        assert (code, document["first_over"]) == (1, "b")
        assert [(row["reference"], row["layer"]) for row in document["layers"]] == list(
            zip(LAYERS, ["a", "b", "c", "probabilities"], strict=True)
        )
        with pytest.raises(InvalidInput, match=r"renamed\.tflite is not the model"):
            run("diff", *logs, "--models", renamed, good)


def _reduced(path: Path, shape: tuple[int, ...]) -> Path:
    """input (1, 8) -> its negative, in a shape of eight values -> a dense layer."""
    writer = GraphWriter()
    source, negative = writer.tensor("input", (1, 8)), writer.tensor("negative", (1, 8))
    writer.op("NEG", [source], [negative])
    target = writer.tensor("shape", (len(shape),), "int32", data=np.array(shape))
    shaped, output = writer.tensor("shaped", shape), writer.tensor("output", shape)
    options = schema.ReshapeOptionsT()
    options.newShape = list(shape)
    writer.op("RESHAPE", [negative, target], [shaped], options)
    writer.op("TANH", [shaped], [output])
    return writer.write(path, [source], [output])


@pytest.mark.heavy
def test_layers_of_another_shape_are_named_with_the_reason(
    x: NDArray[np.float32], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = _reduced(tmp_path / "a.tflite", (2, 4)), _reduced(tmp_path / "b.tflite", (4, 2))
    code, document = compared(capsys, *map(logged, models), "--models", *models)
    assert code == 0
    assert [row["layer"] for row in document["layers"]] == ["negative"]
    (one,) = [one for one in document["coverage"]["unmatched"] if one["name"] == "output"]
    assert "its shape is [4, 2], that of output [2, 4]" in one["reason"]
    assert document["coverage"]["total"] == 1 + len(document["coverage"]["unmatched"])


@pytest.mark.heavy
def test_logs_without_a_layer_in_common_are_refused_with_the_way_out(x: NDArray[np.float32], tmp_path: Path) -> None:
    paths = []
    for name in ("a", "b"):
        writer = GraphWriter()
        source, output = writer.tensor("input", (1, 8)), writer.tensor(name, (1, 8))
        writer.op("NEG", [source], [output])
        paths.append(logged(writer.write(tmp_path / f"{name}.tflite", [source], [output])))
    with pytest.raises(InvalidInput, match="no layer in common") as refused:
        run("diff", *paths)
    assert "--models" in refused.value.hint


@pytest.mark.heavy
def test_what_is_no_log_of_the_same_frames_is_refused(good: Path, x: NDArray[np.float32], tmp_path: Path) -> None:
    whole = logged(good)
    three = tmp_path / "three.log"
    assert run("log", good, "--samples", tmp_path / "samples.npz", "--out", three, "--max-samples", "3") == 0
    with pytest.raises(InvalidInput, match=r"three\.log has 3 frames, good\.log has 20"):
        run("diff", three, whole)
    with pytest.raises(InvalidInput, match="not a layer log"):
        run("diff", good, whole)
    with pytest.raises(NotFound, match="gone"):
        run("diff", tmp_path / "gone.log", whole)
    empty = tmp_path / "empty.log"
    length = int.from_bytes(whole.read_bytes()[8:12], "little")
    empty.write_bytes(whole.read_bytes()[: 8 + 8 + length])
    with pytest.raises(InvalidInput, match=r"empty\.log holds no whole frame"):
        run("diff", empty, empty)


@pytest.mark.heavy
def test_a_cut_log_and_other_samples_are_said(
    good: Path, x: NDArray[np.float32], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, twenty = logged(good), tmp_path / "cut.log"
    np.savez(tmp_path / "more.npz", x=np.concatenate([x, x[:1]]))
    assert run("log", good, "--samples", tmp_path / "more.npz", "--out", twenty) == 0
    twenty.write_bytes(twenty.read_bytes()[:-1])
    code, document = compared(capsys, whole, twenty)
    assert (code, document["same_inputs"]) == (0, True)
    assert len(document["notes"]) == 1
    assert "cut.log: " in document["notes"][0] and "after frame 20" in document["notes"][0]
    np.savez(tmp_path / "samples.npz", x=x[::-1])
    backwards = logged(dense_model(tmp_path / "copy.tflite"))
    _, document = compared(capsys, whole, backwards)
    assert document["same_inputs"] is False
    assert "different inputs" in document["notes"][0]


@pytest.mark.heavy
def test_what_is_left_of_a_log_is_compared_and_said(
    good: Path, x: NDArray[np.float32], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, data = logged(good), good.with_suffix(".log").read_bytes()
    ends = LayerLog(whole, good)._ends
    cut, damaged, part = tmp_path / "cut.log", tmp_path / "damaged.log", tmp_path / "good.log.1234abcd.part"
    cut.write_bytes(data[: ends[13] - 1])
    damaged.write_bytes(data[: ends[5] + 20] + bytes([data[ends[5] + 20] ^ 1]) + data[ends[5] + 21 :])
    part.write_bytes(data[: ends[7]])
    for short, frames, why in ((cut, 12, ["was cut"]), (damaged, 5, ["is damaged, a checksum"]), (part, 7, [])):
        for logs in ((whole, short), (short, whole))[: 2 if short == cut else 1]:
            code, document = compared(capsys, *logs)
            assert (code, document["frames"], document["coverage"]["compared"]) == (0, frames, 4)
            assert document["frames_held"] == [20 if log == whole else frames for log in logs]
            said = document["notes"]
            assert f"only the first {frames} frames" in said[-1] and f"{short.name} is not complete" in said[-1]
            assert len(said) == 1 + len(why)
            assert [
                one.startswith(f"{short.name}: ") and words in one for one, words in zip(said, why, strict=False)
            ] == [True for _ in why]
    bad = logged(dense_model(tmp_path / "bad.tflite", _damaged()))
    assert compared(capsys, bad, cut)[0] == 1


@pytest.mark.heavy
def test_a_damaged_log_does_not_excuse_one_of_other_samples(good: Path, x: NDArray[np.float32], tmp_path: Path) -> None:
    three, long = tmp_path / "three.log", logged(good)
    assert run("log", good, "--samples", tmp_path / "samples.npz", "--out", three, "--max-samples", "3") == 0
    long.write_bytes(long.read_bytes()[:-1])
    with pytest.raises(InvalidInput, match=r"has 19 frames, three\.log has 3"):
        run("diff", long, three)


@pytest.mark.heavy
def test_what_statistics_cannot_tell_is_a_bound(
    good: Path, x: NDArray[np.float32], capsys: pytest.CaptureFixture[str]
) -> None:
    weights = DenseWeights.random()
    weights.second[:] *= np.float32(1.0 + 1e-6)
    near = dense_model(good.with_name("near.tflite"), weights)
    exact = {one.second: one for one in compare_logs(logged(good), logged(near))}
    for options in (("--statistics",), ()):
        _, document = compared(capsys, logged(good, "--statistics"), logged(near, *options))
        for row in document["layers"]:
            figure = exact[row["layer"]].nrmse
            assert figure is not None and 0 <= figure < 2e-6
            assert (row["is_bound"], row["relative_error"]) == (True, None)
            assert figure <= row["nrmse"] < 2e-3
            assert row["rmse"] > 0
    assert document["verdict"] == "healthy"
    capsys.readouterr()
    assert run("diff", good.with_suffix(".stat.log"), near.with_suffix(".log"), "--threshold", "1e-6") == 2
    shown = capsys.readouterr()
    assert shown.out.count("under ") == 8
    assert "4 layers could not be judged: statistics are too coarse" in shown.err


def _header_of(path: Path) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(zlib.decompress(path.read_bytes()[16:][: _length(path)]))
    return header


def _length(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[8:12], "little")


def _with_header(path: Path, header: object) -> None:
    data, frames = zlib.compress(json.dumps(header).encode()), path.read_bytes()[16 + _length(path) :]
    path.write_bytes(b"WTLAYERS" + struct.pack("<II", len(data), zlib.crc32(data)) + data + frames)


@pytest.mark.heavy
@pytest.mark.parametrize("statistics", [True, False])
def test_a_header_that_lacks_something_is_refused_by_name(
    good: Path, x: NDArray[np.float32], tmp_path: Path, statistics: bool
) -> None:
    log = logged(good, *(("--statistics",) if statistics else ()))
    header = _header_of(log)
    _with_header(log, header)
    assert LayerLog(log, good).frames == 20
    places: list[tuple[Any, ...]] = [(), ("model",), ("runtime",), ("inputs", 0), ("layers", 2)]
    told = {"schema": "None", "size_bytes": None, "sketch": None}
    for place in places:
        for name in reduce(lambda at, key: at[key], place, header):
            for change in ("gone", "wrong"):
                altered = json.loads(json.dumps(header))
                owner = reduce(lambda at, key: at[key], place, altered)
                if change == "gone":
                    del owner[name]
                else:
                    owner[name] = {"no": "such value"} if not isinstance(owner[name], dict) else 5
                _with_header(log, altered)
                if (place == ("runtime",) and name == "name") or told.get(name, name) is None:
                    continue
                with pytest.raises(InvalidInput, match=told.get(name) if change == "gone" else None) as refused:
                    LayerLog(log, good)
                assert refused.value.hint and log.name in refused.value.message
    for nonsense in NONSENSE:
        _with_header(log, nonsense)
        with pytest.raises(InvalidInput):
            LayerLog(log, good)


@pytest.mark.heavy
def test_two_runs_on_one_log(good: Path, x: NDArray[np.float32], tmp_path: Path) -> None:
    samples, out = tmp_path / "samples.npz", tmp_path / "o.log"
    part = _part(out, good, samples, [None, False, "xnnpack"])
    with _alone(part), pytest.raises(Conflict, match=rf"another run is writing {part.name}"):
        run("log", good, "--samples", samples, "--out", out)
    assert not part.exists() and not out.exists()
    assert run("log", good, "--samples", samples, "--out", out) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"good.tflite", "samples.npz", "o.log"}


@pytest.mark.heavy
def test_nan_is_no_figure_and_fails(
    good: Path, x: NDArray[np.float32], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = DenseWeights.random()
    weights.second[3, 3] = np.nan
    code, document = compared(capsys, logged(good), logged(dense_model(tmp_path / "nan.tflite", weights)))
    assert (code, document["first_over"]) == (1, "hidden_2")
    row = next(row for row in document["layers"] if row["layer"] == "hidden_2")
    assert (row["nrmse"], row["problem"]) == (None, "non_finite")
    assert document["worst"][-1] == "hidden_1"


@pytest.mark.parametrize(
    ("second", "verdict", "code"),
    [
        (LoggedDiff("b", "b", 0.05, 0.1, 0.0), "healthy", 0),
        (LoggedDiff("b", "b", 0.15, 0.1, 0.0), "degraded", 1),
        (LoggedDiff("b", "b", None, None, 0.0, "shape_differs"), "degraded", 1),
        (LoggedDiff("b", "b", None, None, 0.0, UNREADABLE), "could_not_run", 2),
        (LoggedDiff("b", "b", 0.05, 0.1, 0.0, is_bound=True), "healthy", 0),
        (LoggedDiff("b", "b", 0.15, 0.1, 0.0, is_bound=True), "could_not_run", 2),
    ],
)
def test_what_could_not_be_read_is_not_healthy(second: LoggedDiff, verdict: str, code: int) -> None:
    ops = {"a": (0, "ADD"), "b": (1, "ADD")}
    pairs = (LoggedDiff("a", "a", 0.01, 0.1, 0.0), second)
    found = LogComparison(pairs, ops, (), 1, True, True, (None, None), (1, 1))
    document = diff_document(found, ("1", "2"), 0.1)
    assert (document["verdict"], exit_code(document)) == (verdict, code)
    assert document["coverage"]["unreadable"] == (["b"] if second.problem == UNREADABLE else [])
    assert document["coverage"]["undecided"] == (["b"] if code == 2 and second.is_bound else [])
