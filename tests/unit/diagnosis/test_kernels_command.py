"""`windtunnel kernels` and `windtunnel arm doctor` as a user runs them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
import jsonschema
import numpy as np
import pytest

from support.kernel_models import crashing_model, long_model, overflowing_model
from windtunnel import schemas
from windtunnel.cli.commands.models.arm import arm
from windtunnel.cli.commands.models.kernels import kernels
from windtunnel.errors import InvalidInput


def run(*arguments: str | Path) -> int:
    code = kernels.main([str(one) for one in arguments], standalone_mode=False)
    assert isinstance(code, int)
    return code


@pytest.mark.heavy
def test_kernels_that_agree_end_with_0_and_a_diagnosis(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = long_model(tmp_path / "long.tflite", 6)
    np.savez(tmp_path / "x.npz", x=np.ones((2, 16), np.float32))
    assert run(model, "--samples", tmp_path / "x.npz", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, schemas.load("diagnosis"))
    assert document["verdict"] == "healthy"
    assert [one["name"] for one in document["kernels"]] == ["none", "reference", "xnnpack"]


@pytest.mark.heavy
def test_a_crash_ends_with_1_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = crashing_model(tmp_path / "softmax.tflite")
    np.savez(tmp_path / "flat.npz", x=np.zeros((1, 1024), np.float32))
    assert run(model, "--samples", tmp_path / "flat.npz") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "reference at op 1 (SOFTMAX, probabilities)" in said and "died of SIGABRT" in said


@pytest.mark.heavy
def test_a_kernel_set_that_was_asked_for_and_is_not_there_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing"))
    model = long_model(tmp_path / "long.tflite", 4)
    assert run(model, "--kernel", "none", "--kernel", "arm:cortex-a53") == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "arm:cortex-a53 not available" in said and "windtunnel arm setup" in said


@pytest.mark.heavy
def test_a_single_kernel_set_ends_with_2_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(long_model(tmp_path / "long.tflite", 4), "--kernel", "none") == 2
    assert "only one accelerator ran: it cannot be compared with another" in capsys.readouterr().out


@pytest.mark.heavy
def test_a_set_that_did_not_run_shows_no_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = overflowing_model(tmp_path / "small.tflite")
    run(model, "--kernel", "reference", "--kernel", "xnnpack")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["reference", "refused"] in rows


def test_a_path_that_the_runtime_cannot_open_is_refused(tmp_path: Path) -> None:
    model = long_model(tmp_path / "long.tflite", 4)
    odd = model.rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.tflite"))
    with pytest.raises(InvalidInput, match=r"\\xff.tflite is not UTF-8"):
        run(odd)


def test_unknown_kernels_and_a_pipeline_without_samples_are_refused(tmp_path: Path) -> None:
    model = long_model(tmp_path / "long.tflite", 4)
    (tmp_path / "p.json").write_text("{}")
    with pytest.raises(click.BadParameter, match="'gpu': use builtin, reference"):
        run(model, "--kernel", "gpu")
    with pytest.raises(InvalidInput, match="without samples"):
        run(model, "--pipeline", tmp_path / "p.json")


def test_the_doctor_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert arm.main(["doctor", "--json"], standalone_mode=False) == 2
    todo = [one["todo"] for one in json.loads(capsys.readouterr().out)["missing"]]
    assert todo == ["apt-get install qemu-user", "windtunnel arm setup"]
