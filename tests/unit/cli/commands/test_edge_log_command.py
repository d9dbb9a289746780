"""`windtunnel log`: shown, compared and exported, with exit codes and documents that keep their schemas."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import click
import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result

from support import edge_logs
from support.edge_logs import LogFile, frame, reading, tensor, timing
from support.promised_formats import problems, unseen
from windtunnel import schemas
from windtunnel.cli.main import cli
from windtunnel.diagnosis.recording import read_recording
from windtunnel.v1 import edge_pb2 as pb

RANDOM = np.random.default_rng(20261130)


def _frame(number: int, noise: float = 0.0) -> pb.EdgeFrame:
    own = np.random.default_rng(number)
    image = own.integers(0, 256, (6 + number % 2, 6, 3), dtype=np.uint8)
    fed = own.uniform(-1, 1, (1, 4, 4, 3)).astype(np.float32)
    given = own.uniform(0, 1, (1, 5)).astype(np.float32)
    return frame(
        number,
        tensor("raw", image),
        tensor("input", fed + np.float32(noise), "image"),
        tensor("output", given, "scores"),
        tensor("layer", own.integers(-9, 9, (1, 4), dtype=np.int8), "conv", scale=0.5, zero_point=1),
        timings=[
            timing(pb.EDGE_TIMING_KIND_STAGE, "resize", 0, 1.5),
            timing(pb.EDGE_TIMING_KIND_INFERENCE, "", 1.5, 4 + number),
            timing(pb.EDGE_TIMING_KIND_LAYER, "conv", 1.5, 3, "CONV_2D"),
            timing(pb.EDGE_TIMING_KIND_FRAME, "", 0, 10),
        ],
        memory_bytes=100_000_000 + number,
        values={"camera": "back"},
        label=number % 5,
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    LogFile([*map(_frame, range(4)), reading(1, "orientation", 0, 90, 1)]).write(tmp_path / "log")
    return tmp_path / "log"


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["log", *map(str, arguments)], standalone_mode=False)


def _json(*arguments: str | Path) -> Any:
    done = _run(*arguments)
    assert done.exception is None, done.output
    return json.loads(done.stdout)


def test_show(log: Path) -> None:
    document = _json("show", log, "--json")
    jsonschema.validate(document, schemas.load("edge_log"))
    assert (problems("edge_log", document), unseen("edge_log", [document])) == ([], [])
    session = document["sessions"][0]
    assert session["frames"]["count"] == 4 and session["device"]["device"] == "Pixel 9" and session["gaps"] == []
    by_role = {row["role"]: row for row in session["tensors"]}
    assert by_role["raw"]["shapes"] == [[6, 6, 3], [7, 6, 3]] and by_role["layer"]["scale"] == 0.5
    inference = next(row for row in session["times"] if row["of"] == "inference")
    assert (inference["p50_ms"], inference["max_ms"]) == (5.5, 7.0)
    done = _run("show", log)
    for said in ("Pixel 9", "scores", "4 of 4", "CONV_2D", "camera = back", "orientation"):
        assert said in done.output


def test_show_says_what_is_missing(log: Path) -> None:
    file = next(log.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:-300])
    done = _run("show", log)
    assert (
        done.return_value == 0
        and "missing" in done.output
        and "ended without closing" in done.output.replace("\n", " ")
    )


@pytest.mark.parametrize(("noise", "code"), [(0.0, 0), (0.5, 1)])
def test_diff(log: Path, tmp_path: Path, noise: float, code: int) -> None:
    other = LogFile([_frame(number, noise) for number in range(4)]).write(tmp_path / "other")
    done = _run("diff", log, other, "--json")
    document = json.loads(done.stdout)
    assert done.return_value == code
    jsonschema.validate(document, schemas.load("edge_log_diff"))
    assert (problems("edge_log_diff", document), unseen("edge_log_diff", [document])) == ([], [])
    diverging = [row["name"] for row in document["tensors"] if row["diverges"]]
    assert diverging == (["image"] if noise else []) and document["exact"]
    assert (document["first_over"] or {}).get("name") == ("image" if noise else None)
    assert ("DEGRADED" if noise else "HEALTHY") in _run("diff", log, other).output


def test_diff_that_compares_nothing_could_not_run(log: Path, tmp_path: Path) -> None:
    other = LogFile([frame(0, tensor("input", np.zeros(3), "another"))]).write(tmp_path / "other")
    assert _run("diff", log, other).return_value == 2


def test_export(log: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / f"out.{name}" for name in ("npz", "csv", "json", "perfetto")}
    done = _run("export", log, *(part for name, file in files.items() for part in (f"--{name}", file)))
    assert done.return_value == 0, done.output
    document = json.loads(files["json"].read_text())
    jsonschema.validate(document, schemas.load("edge_log_frames"))
    assert (
        len(document["sessions"][0]["frames"]) == 4 and "data" not in document["sessions"][0]["frames"][0]["tensors"][0]
    )
    with files["csv"].open() as file:
        rows = list(csv.DictReader(file))
    kinds = {row["kind"] for row in rows}
    assert kinds == {"time", "statistics", "memory", "label", "value", "sensor"}
    assert [row["elapsed_ms"] for row in rows if row["of"] == "inference"] == ["4", "5", "6", "7"]
    fed = next(row for row in rows if row["of"] == "input")
    assert float(fed["min"]) == pytest.approx(float(np.min(read_recording(log).inputs["image"][0])))
    assert files["perfetto"].stat().st_size > 500
    _equal(log, files["npz"])


def _equal(log: Path, npz: Path) -> None:
    first, second = read_recording(log), read_recording(npz)
    for name in ("inputs", "outputs", "layers"):
        for key, rows in getattr(first, name).items():
            assert np.array_equal(rows, getattr(second, name)[key])
    assert all(np.array_equal(a, b) for a, b in zip(first.raw[""], second.raw[""], strict=True))
    assert first.device == second.device and first.gaps == second.gaps
    assert first.layer_quantization == second.layer_quantization
    assert first.labels is not None and second.labels is not None and first.labels.tolist() == second.labels.tolist()
    assert first.times.total is not None and second.times.total is not None
    assert first.times.total.tolist() == second.times.total.tolist()
    assert first.times.layers["conv"].tolist() == second.times.layers["conv"].tolist()


def test_wrong_usage(log: Path, tmp_path: Path) -> None:
    assert isinstance(_run("export", log).exception, click.UsageError)
    LogFile([_frame(0)], session="second").write(log)
    done = _run("export", log, "--npz", tmp_path / "a.npz")
    assert isinstance(done.exception, click.UsageError) and "second" in str(done.exception)
    assert _run("export", log, "--npz", tmp_path / "a.npz", "--session", "second").return_value == 0
    done = _run("export", log, "--npz", tmp_path / "a.npz", "--session", "second")
    assert "a.npz" in str(done.exception), "a file that exists is not replaced"
    assert "2 sessions" in str(_run("diff", log, log).exception)
    assert "no session 'x'" in str(_run("show", log, "--session", "x").exception)
    assert "no edge log" in str(_run("show", tmp_path / "absent").exception)


def test_statistics_alone_cannot_become_an_npz(tmp_path: Path) -> None:
    one = frame(0, tensor("input", np.zeros(3), with_values=False), level=pb.EDGE_LEVEL_STATISTICS)
    log = LogFile([one], device={**edge_logs.DEVICE, "level": "statistics"}).write(tmp_path / "log")
    assert "--csv" in str(_run("export", log, "--npz", tmp_path / "a.npz").exception)
    assert not (tmp_path / "a.npz").exists()
    assert _run("export", log, "--csv", tmp_path / "a.csv").return_value == 0
