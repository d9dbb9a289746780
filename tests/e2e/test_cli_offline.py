"""The offline commands as people run them: a process, files, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from support.graphs import DenseWeights, dense_model
from support.models import DigitsModels, digits_model
from support.trained import trained_models
from windtunnel import schemas
from windtunnel.cli.io.files import write_whole
from windtunnel.cli.io.output_guard import require_free
from windtunnel.errors import Conflict, InvalidInput, NotFound


def _run(*arguments: str | Path, cwd: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "WINDTUNNEL_HOME": str(cwd / "home"), "COLUMNS": "100"}
    command = [sys.executable, "-m", "windtunnel.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, env=environment, timeout=240)


def _json(done: subprocess.CompletedProcess[bytes], schema: str | None = None) -> Any:
    document = json.loads(done.stdout)
    if schema is not None:
        jsonschema.validate(document, schemas.load(schema))
    return document


def _refused(done: subprocess.CompletedProcess[bytes], *words: str) -> None:
    error = done.stderr.decode()
    assert done.returncode == 2, error
    assert done.stdout == b""
    assert error.startswith("error: ")
    assert "Traceback" not in error
    for word in words:
        assert word in error


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A small model, the same with a wrong second layer, and samples."""
    good = DenseWeights.random()
    # Rows in another order: each unit computes what another one should.
    bad = DenseWeights(good.first, good.second[::-1].copy(), good.third)
    x = np.random.default_rng(1).normal(size=(20, 8)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", x=x)
    return (
        dense_model(tmp_path / "good.tflite", good),
        dense_model(tmp_path / "bad.tflite", bad),
        tmp_path / "samples.npz",
    )


@pytest.fixture(scope="module")
def digits() -> DigitsModels:
    return digits_model()


def test_equal_models_are_healthy(pair: tuple[Path, Path, Path], tmp_path: Path) -> None:
    good, _, samples = pair
    done = _run("diff", good, good, "--samples", samples, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = _json(done, "diagnosis")
    assert document["verdict"] == "healthy"
    assert document["samples"] == 20
    assert document["synthetic_samples"] is False
    assert done.stderr == b""


def test_a_broken_layer_is_found_and_fails(pair: tuple[Path, Path, Path], tmp_path: Path) -> None:
    good, bad, samples = pair
    done = _run("diff", good, bad, "--samples", samples, "--json", "--html", "d.html", cwd=tmp_path)
    assert done.returncode == 1
    document = _json(done, "diagnosis")
    assert document["verdict"] == "broken"
    assert document["first_over"]["layer"] == "hidden_2"
    page = (tmp_path / "d.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "first diverges: hidden_2" in page
    words = _run("diff", good, bad, "--samples", samples, cwd=tmp_path)
    assert words.returncode == 1
    assert "hidden_2" in words.stdout.decode()
    assert b"\x1b" not in words.stdout + words.stderr


def test_a_higher_threshold_lets_more_pass(pair: tuple[Path, Path, Path], tmp_path: Path) -> None:
    good, bad, samples = pair
    options = ("--samples", samples, "--threshold", "5", "--json")
    document = _json(_run("diff", good, bad, *options, cwd=tmp_path), "diagnosis")
    assert document["first_over"] is None
    assert document["threshold"] == 5


def test_without_samples_random_inputs_stand_in_and_are_named(pair: tuple[Path, Path, Path], tmp_path: Path) -> None:
    good, _, _ = pair
    first, second = (_run("diff", good, good, "--json", cwd=tmp_path) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert "seeded random inputs" in first.stderr.decode()
    assert _json(first, "diagnosis")["synthetic_samples"] is True
    assert first.stdout == second.stdout


def test_diff_refuses_what_it_cannot_compare(pair: tuple[Path, Path, Path], tmp_path: Path) -> None:
    good, _, samples = pair
    (tmp_path / "text.tflite").write_text("this is not a model, it is a text")
    (tmp_path / "cut.tflite").write_bytes(good.read_bytes()[:200])
    (tmp_path / "list.json").write_text("[1, 2")
    x = np.zeros((4, 8), np.float32)
    x[2, 3] = np.nan
    np.savez(tmp_path / "nan.npz", x=x)
    np.savez(tmp_path / "shape.npz", x=np.zeros((4, 9), np.float32))
    given = ("--samples", samples, "--json")
    _refused(_run("diff", good, "none.tflite", *given, cwd=tmp_path), "none.tflite", "hint:")
    _refused(_run("diff", good, "text.tflite", *given, cwd=tmp_path), "text.tflite")
    _refused(_run("diff", good, "cut.tflite", *given, cwd=tmp_path), "cut.tflite")
    _refused(_run("diff", good, tmp_path, *given, cwd=tmp_path))
    _refused(_run("diff", good, good, "--samples", "nan.npz", cwd=tmp_path), "NaN")
    _refused(_run("diff", good, good, "--samples", "shape.npz", cwd=tmp_path), "[any, 8]", "[1, 9]")
    _refused(_run("diff", good, good, "--samples", "none.npz", cwd=tmp_path), "none.npz")
    _refused(_run("diff", good, good, *given, "--pipeline", "list.json", cwd=tmp_path), "list.json")


def test_wrong_usage_is_told_from_failure(tmp_path: Path) -> None:
    wrong = (
        ("diff", "one.tflite"),
        ("diff", "one.tflite", "two.tflite", "--threshold", "nan"),
        ("bench", "m", "--threads", "0"),
        ("quantize", "m"),
        ("convert",),
    )
    for arguments in wrong:
        done = _run(*arguments, cwd=tmp_path)
        assert done.returncode == 64, arguments
        assert done.stdout == b""


def test_a_page_is_not_overwritten(pair: tuple[Path, Path, Path], tmp_path: Path) -> None:
    good, _, samples = pair
    page = tmp_path / "d.html"
    page.write_text("mine")
    arguments = ("diff", good, good, "--samples", samples, "--html", page)
    _refused(_run(*arguments, cwd=tmp_path), "d.html", "--force")
    assert page.read_text() == "mine"
    assert _run(*arguments, "--force", cwd=tmp_path).returncode == 0
    assert "mine" not in page.read_text()
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_bench_measures_and_its_log_reads_back(pair: tuple[Path, Path, Path], tmp_path: Path) -> None:
    good, _, _ = pair
    done = _run("bench", good, "--accelerator", "cpu", "--json", "--log", "b.log", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = _json(done)
    latency = document["latency_ms"]
    assert 0 < latency["min"] <= latency["p50"] <= latency["p95"] <= latency["max"]
    assert latency["samples"] == len(document["samples_us"]["inference"])
    assert document["accelerator"] == "cpu"
    log = _json(_run("parse-log", "b.log", "--json", cwd=tmp_path), "log")
    assert log["unrecognized_lines"] == 0
    assert log["runs"][0]["inference"]["count"] == latency["samples"]
    words = _run("bench", good, cwd=tmp_path).stdout.decode()
    assert "good.tflite on xnnpack, 1 thread" in words


def test_bench_refuses_what_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "text.tflite").write_text("this is not a model, it is a text")
    _refused(_run("bench", "text.tflite", cwd=tmp_path))
    _refused(_run("bench", "none.tflite", "--json", cwd=tmp_path), "none.tflite")


def test_parse_log_reads_files_and_standard_input(tmp_path: Path) -> None:
    log = b"STARTING!\nNum threads: [2]\nINFO: Initialized session in 12.5ms.\nsome line\n"
    (tmp_path / "b.log").write_bytes(log)
    from_file = _json(_run("parse-log", "b.log", "--json", cwd=tmp_path), "log")
    from_stdin = _json(_run("parse-log", "-", "--json", cwd=tmp_path, stdin=log), "log")
    assert from_file == from_stdin
    assert from_file["runs"][0]["threads"] == 2
    assert from_file["runs"][0]["init_us"] == 12500
    assert from_file["unrecognized_lines"] == 1
    garbage = _run("parse-log", "-", "--json", cwd=tmp_path, stdin=bytes(range(256)) * 40)
    assert garbage.returncode == 2
    assert json.loads(garbage.stdout)["runs"] == []
    assert b"no benchmark run was found in standard input" in garbage.stderr
    (tmp_path / "notes.txt").write_text("make bench\nSegmentation fault\n")
    _refused(
        _run("parse-log", "notes.txt", cwd=tmp_path), "no benchmark run was found in notes.txt", "Segmentation fault"
    )
    _refused(_run("parse-log", "none.log", cwd=tmp_path), "none.log")


def test_parse_log_reads_folders_and_archives(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    _refused(_run("parse-log", "results", cwd=tmp_path), "no benchmark run was found in results")
    (tmp_path / "results/b.log").write_text("STARTING!\nNum threads: [2]\nsome line\n")
    with zipfile.ZipFile(tmp_path / "Customer_Artifacts.zip", "w") as archive:
        archive.write(tmp_path / "results/b.log", "Host_Machine_Files/$DEVICEFARM_LOG_DIR/b.log")
    document = _json(_run("parse-log", "results", "--json", "--unrecognized", cwd=tmp_path), "log")
    assert (document["runs"][0]["file"], document["runs"][0]["threads"]) == ("b.log", 2)
    assert document["unrecognized"] == [{"file": "b.log", "line": 3, "text": "some line"}]
    text = _run("parse-log", "Customer_Artifacts.zip", cwd=tmp_path)
    assert text.returncode == 0
    assert b"b.log:3: some line" in text.stdout
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../evil.log", "STARTING!\n")
    _refused(_run("parse-log", "evil.zip", cwd=tmp_path), "evil.zip", "could leave the target folder")


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    # What makes it slow, whatever the load of the machine is.
    heavy = "numpy grpc nats rich google.protobuf ai_edge_litert tensorflow litert_quantizer pydantic jinja2"
    program = f"import sys, windtunnel.cli.main; print([name for name in '{heavy}'.split() if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("command", ["parse-log", "diff", "bench", "convert", "quantize"])
def test_help_has_examples(command: str, tmp_path: Path) -> None:
    done = _run(command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"  windtunnel {command} " in done.stdout.decode()


@pytest.mark.heavy
def test_a_quantized_model_is_healthy(digits: DigitsModels, tmp_path: Path) -> None:
    made = _run(
        "quantize",
        digits.float32,
        "--variant",
        "int8",
        "--calibration",
        digits.calibration,
        "-o",
        "q.tflite",
        "--json",
        cwd=tmp_path,
    )
    assert made.returncode == 0, made.stderr
    document = _json(made)
    assert document["calibration_samples"] == 100
    assert document["size_bytes"] == (tmp_path / "q.tflite").stat().st_size
    done = _run("diff", digits.float32, "q.tflite", "--samples", digits.samples, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert _json(done, "diagnosis")["accuracy"]["drop"] < 0.02


@pytest.mark.heavy
def test_random_inputs_stay_in_the_range_that_was_calibrated(digits: DigitsModels, tmp_path: Path) -> None:
    done = _run("diff", digits.float32, digits.variants["int8"], "--json", cwd=tmp_path)
    # Rounding changes classes of random inputs, but that is not a fault.
    assert done.returncode == 0, done.stdout
    # Inputs in [-1, 1) would be clipped to the [0, 1] of the digits, and every layer would be far off.
    assert _json(done, "diagnosis")["max_nrmse"] < 0.10


@pytest.mark.heavy
def test_quantize_says_what_it_needs(digits: DigitsModels, tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", x=np.zeros((3, 5, 5, 1), np.float32))
    (tmp_path / "recipe.json").write_text('{"no": "list"}')
    source = digits.float32
    _refused(_run("quantize", source, "--variant", "int8", cwd=tmp_path), "--calibration")
    _refused(_run("quantize", source, "--variant", "int8", "--calibration", "bad.npz", cwd=tmp_path), "32")
    _refused(_run("quantize", source, "--recipe", "recipe.json", cwd=tmp_path), "recipe.json")
    assert _run("quantize", source, "--variant", "int7", cwd=tmp_path).returncode == 64
    assert not list(tmp_path.glob("*.tflite"))


@pytest.mark.heavy
def test_convert_checks_against_the_original(digits: DigitsModels, tmp_path: Path) -> None:
    arguments = ("convert", digits.saved_model, "-o", "m.tflite", "--samples", digits.samples, "--json")
    done = _run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = _json(done)
    assert document["check"]["passed"] is True
    assert document["check"]["samples"] == 397
    assert document["check"]["original"]["top1"] == pytest.approx(document["check"]["converted"]["top1"])
    assert document["size_bytes"] == (tmp_path / "m.tflite").stat().st_size
    _refused(_run(*arguments, cwd=tmp_path), "m.tflite", "--force")


@pytest.mark.heavy
def test_convert_takes_a_checkpoint_by_its_prefix(tmp_path: Path) -> None:
    (meta,) = (trained_models() / "checkpoint").glob("*.meta")
    done = _run("convert", meta.with_suffix(""), "-o", "m.tflite", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert _json(done)["check"]["passed"] is True
    wrong = _run("convert", meta.with_suffix(""), "--output", "nix", "-o", "n.tflite", cwd=tmp_path)
    assert b"model.ckpt has no tensor 'nix'" in wrong.stderr


def test_a_terminal_that_is_not_utf_8(
    pair: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    good, _, samples = pair
    done = _run("diff", good, good, "--samples", samples, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"\\u2713 HEALTHY")


def test_convert_refuses_what_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    _refused(_run("convert", "notes.txt", cwd=tmp_path), "notes.txt")
    _refused(_run("convert", "none.keras", cwd=tmp_path), "none.keras")
    assert not list(tmp_path.glob("*.tflite"))


def test_outputs_are_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "a.html"
    write_whole(target, b"one")
    write_whole(target, b"two")
    assert target.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(Conflict):
        require_free(target, force=False)
    with pytest.raises(InvalidInput):
        require_free(tmp_path, force=True)
    with pytest.raises(NotFound):
        require_free(tmp_path / "none" / "a.html", force=False)
    require_free(target, force=True)
    require_free(None, force=False)
