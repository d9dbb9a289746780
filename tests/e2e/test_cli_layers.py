"""`windtunnel layers` as people run it: a process, files, exit codes, an interrupt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from support.graphs import dense_model
from support.models import DigitsModels, digits_model
from windtunnel.diagnosis.layer_log.log_file import LayerLog


def _start(*arguments: str | Path, cwd: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "windtunnel.cli", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "100"}
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def _run(*arguments: str | Path, cwd: Path) -> tuple[int, str, str]:
    with _start(*arguments, cwd=cwd) as process:
        out, err = process.communicate(timeout=240)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("mode", [(), ("--statistics",)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_log_goes_on(tmp_path: Path, number: signal.Signals, mode: tuple[str, ...]) -> None:
    model = dense_model(tmp_path / "m.tflite")
    x = np.random.default_rng(4).normal(size=(200_000, 8)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", x=x)
    command: tuple[str | Path, ...] = ("layers", "log", model, "--samples", "samples.npz", "--out", "m.log", *mode)
    with _start(*command, cwd=tmp_path) as process:
        deadline = time.monotonic() + 100
        while not (parts := list(tmp_path.glob("m.log.*.part"))) or parts[0].stat().st_size < 20_000:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        error = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130
    assert "run the same command again to continue" in error
    assert not (tmp_path / "m.log").exists()
    (part,) = tmp_path.glob("m.log.*.part")
    assert part.name in error
    kept = LayerLog(part, model).frames
    assert 50 < kept < len(x)

    count = str(kept + 100)
    code, out, error = _run(*command, "--max-samples", count, "--json", cwd=tmp_path)
    assert code == 0, error
    assert "continuing" in error
    document = json.loads(out)
    assert (document["resumed"], document["frames"]) == (kept, kept + 100)
    assert document["text_bytes_per_frame"] > 0
    assert not list(tmp_path.glob("*.part"))

    uninterrupted: tuple[str | Path, ...] = (
        "layers",
        "log",
        model,
        "--samples",
        "samples.npz",
        "--out",
        "whole.log",
        *mode,
    )
    assert _run(*uninterrupted, "--max-samples", count, cwd=tmp_path)[0] == 0
    assert (tmp_path / "m.log").read_bytes() == (tmp_path / "whole.log").read_bytes()


def test_exit_codes_and_streams(tmp_path: Path) -> None:
    model = dense_model(tmp_path / "m.tflite")
    np.savez(tmp_path / "samples.npz", x=np.random.default_rng(4).normal(size=(5, 8)).astype(np.float32))
    log = ("layers", "log", model, "--samples", "samples.npz", "--out", "m.log")
    code, out, error = _run(*log, cwd=tmp_path)
    assert (code, error) == (0, "wrote m.log\n")
    assert out.startswith("m.tflite: 5 frames, 4 layers, lossless\n")
    code, out, error = _run(*log, cwd=tmp_path)
    assert (code, out) == (2, "")
    assert error.startswith("error: m.log already exists") and "--force" in error
    code, out, error = _run("layers", "diff", "m.log", "m.log", cwd=tmp_path)
    assert (code, error) == (0, "")
    assert "\x1b" not in out and "HEALTHY" in out
    model.rename(tmp_path / "other.tflite")
    code, out, error = _run("layers", "diff", "m.log", "m.log", cwd=tmp_path)
    assert (code, out) == (2, "")
    assert error.startswith("error: m.log is read with its model")
    for usage in (
        ("log", "m.tflite"),
        ("diff", "m.log"),
        ("diff", "m.log", "m.log", "--models", "m.tflite"),
        ("none",),
    ):
        assert _run("layers", *usage, cwd=tmp_path)[0] == 64, usage


@pytest.mark.parametrize("command", [("layers",), ("layers", "log"), ("layers", "diff")])
def test_help_has_examples(command: tuple[str, ...], tmp_path: Path) -> None:
    code, out, _ = _run(*command, "--help", cwd=tmp_path)
    assert code == 0
    assert f"  windtunnel {' '.join(command)} " in out


@pytest.mark.heavy
def test_a_float_model_and_its_int8_variant(tmp_path: Path) -> None:
    digits: DigitsModels = digits_model()
    models = digits.float32, digits.variants["int8"]
    given = ("--samples", digits.samples, "--max-samples", "60", "--json")
    for name, model in zip(("f", "q"), models, strict=True):
        code, out, error = _run("layers", "log", model, *given, "--out", f"{name}.log", cwd=tmp_path)
        assert code == 0, error
        assert json.loads(out)["times_smaller_than_text"] > 20
        code, out, error = _run("layers", "log", model, *given, "--out", f"{name}s.log", "--statistics", cwd=tmp_path)
        assert code == 0, error
        assert json.loads(out)["bytes_per_layer_and_frame"] < 64
    code, out, _ = _run("diff", *models, *given, cwd=tmp_path)
    drift = {layer["name"]: layer["nrmse"] for layer in json.loads(out)["layers"]}
    for logs, tolerance in ((("f.log", "q.log"), 1e-4), (("fs.log", "qs.log"), 0.15)):
        code, out, error = _run("layers", "diff", *logs, "--models", *models, "--json", cwd=tmp_path)
        assert code == 0, error
        rows = {row["layer"]: row["nrmse"] for row in json.loads(out)["layers"]}
        assert set(rows) == set(drift)
        for name, figure in rows.items():
            assert figure == pytest.approx(drift[name], rel=tolerance)
