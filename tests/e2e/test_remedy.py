"""`windtunnel remedy` as people run it: a process, files, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from support.damaged import Network, arrays, huge_weights_for_a_dead_channel, network, outlier_activation, samples
from windtunnel import schemas
from windtunnel.diagnosis.quantize import litert_quantizer as litert
from windtunnel.diagnosis.quantize.variants import Calibration
from windtunnel.plan import VariantSpec


@dataclass(frozen=True)
class Case:
    """A float model, its int8 variant, samples with labels."""

    model: Path
    variant: Path
    samples: Path


def case(net: Network, folder: Path, scale: float = 1.0) -> Case:
    model = net.write(folder / "float32.tflite")
    np.savez(folder / "c.npz", x=arrays()[0][:100] * scale)
    litert.quantize(model, folder / "int8.tflite", VariantSpec("int8"), Calibration(folder / "c.npz"), None)
    return Case(model, folder / "int8.tflite", samples(folder / "samples.npz"))


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "windtunnel.cli", *map(str, arguments)]


def environment(cwd: Path) -> dict[str, str]:
    return {**os.environ, "WINDTUNNEL_HOME": str(cwd / "home"), "COLUMNS": "100"}


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=cwd, capture_output=True, text=True, env=environment(cwd), timeout=240
    )


def test_a_remedy_is_found_written_and_made_again_by_its_recipe(tmp_path: Path) -> None:
    given = case(huge_weights_for_a_dead_channel(), tmp_path)
    files = ("-o", "fixed.tflite", "--recipe-out", "recipe.json")
    start = ("remedy", given.model, given.variant, "--samples", given.samples, "--gate", "accuracy_drop=0.02")
    done = run(*start, *files, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(document, schemas.load("remedy"))
    assert document["verdict"] == "proven"
    assert [kept["layer"] for kept in document["remedy"]["kept"]] == ["hidden_2"]
    # The layer diff ranks it first, so the first layer that is tried fixes it.
    layers = [trial for trial in document["tried"] if trial["kept_as"] == "float"]
    assert [trial["kept"] for trial in layers] == [["hidden_2"]]
    assert document["remedy"]["kept"][0]["weight"] > 0.1
    assert document["written"] == {
        "model": "fixed.tflite",
        "recipe": "recipe.json",
        "calibration": "recipe.calibration.npz",
    }
    assert "found t" in done.stderr
    again = run(
        "quantize",
        given.model,
        "--recipe",
        "recipe.json",
        "--calibration",
        "recipe.calibration.npz",
        "-o",
        "again.tflite",
        cwd=tmp_path,
    )
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again.tflite").read_bytes() == (tmp_path / "fixed.tflite").read_bytes()
    refused = run(*start, *files, cwd=tmp_path)
    assert refused.returncode == 2
    assert "fixed.tflite already exists" in refused.stderr


def test_people_read_what_was_kept_and_what_it_costs(tmp_path: Path) -> None:
    given = case(huge_weights_for_a_dead_channel(), tmp_path)
    done = run(
        "remedy", given.model, given.variant, "--samples", given.samples, "--gate", "accuracy_drop=0.02", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    for words in (
        "✓ a remedy, proven",
        "1 layer kept in float: FULLY_CONNECTED hidden_2",
        "quantized again, the drop is 0.",
        "95 % interval of the drop",
        "times the size and",
        "of the variant",
        "float16 weights",
        "100 to calibrate, 359 to search, 438 held back, drawn in equal shares of each class, seed 20261121",
    ):
        assert words in done.stdout, words


def test_no_remedy_fails_and_writes_nothing(tmp_path: Path) -> None:
    given = case(outlier_activation(), tmp_path)
    start = ("remedy", given.model, given.variant, "--samples", given.samples, "--gate", "size_mb=0.001")
    done = run(*start, "-o", "out.tflite", "--recipe-out", "r.json", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "✗ no remedy found" in done.stdout
    assert "✗ size_mb" in done.stdout
    assert not {"out.tflite", "r.json", "r.calibration.npz"} & {path.name for path in tmp_path.iterdir()}


def test_what_cannot_be_mended_is_refused_by_name(tmp_path: Path) -> None:
    given = case(network(), tmp_path)
    few = samples(tmp_path / "few.npz", count=30)
    for models, chosen, says in (
        ((given.variant, given.model), given.samples, "int8.tflite is quantized itself"),
        ((given.model, given.model), given.samples, "is not quantized"),
        ((given.model, given.variant), few, "30 samples are too few"),
        ((given.model, tmp_path / "none.tflite"), given.samples, "there is no model"),
    ):
        done = run("remedy", *models, "--samples", chosen, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: ")
        assert says in done.stderr


@pytest.mark.parametrize("gate", ["speed=1", "accuracy_drop", "size_mb=-1", "size_mb=nan", "latency_ms.p50=fast"])
def test_a_gate_that_is_none_is_wrong_usage(tmp_path: Path, gate: str) -> None:
    done = run("remedy", "a.tflite", "b.tflite", "--samples", "x.npz", "--gate", gate, cwd=tmp_path)
    assert done.returncode == 64, done.stderr
    assert gate.split("=")[-1] in done.stderr


def test_interrupted_it_says_the_best_so_far_and_leaves_nothing(tmp_path: Path) -> None:
    given = case(network(), tmp_path, scale=0.1)
    work = tmp_path / "tmp"
    work.mkdir()
    process = subprocess.Popen(
        command("remedy", given.model, given.variant, "--samples", given.samples, "-o", "out.tflite"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment(tmp_path), "TMPDIR": str(work)},
    )
    assert process.stderr is not None
    deadline = time.monotonic() + 120
    while "found t1" not in process.stderr.readline():
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert out == ""
    assert "best so far: t1: calibrated again" in error
    assert "interrupted" in error
    assert not (tmp_path / "out.tflite").exists()
    assert not list(work.rglob("*.tflite"))
