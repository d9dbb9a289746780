"""`windtunnel bench` on models with dynamic dimensions, under load, and if the delegate takes no node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from rich.console import Console

from support.graphs import dense_model
from support.open_models import CHANNELS, conv_model, sum_model
from windtunnel.cli.commands.models.bench import bench
from windtunnel.cli.local.documents import bench_document
from windtunnel.cli.report.text.measurement_text import render_bench
from windtunnel.errors import InvalidInput
from windtunnel.farm_dispatcher.domain.device_runs import DeviceRun, Samples
from windtunnel.farm_dispatcher.domain.devices import DeviceFacts
from windtunnel.run_conditions import RunConditions


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDTUNNEL_HOME", str(tmp_path / "home"))


def run(*arguments: str) -> int:
    result = bench.main(list(arguments), standalone_mode=False)
    assert isinstance(result, int)
    return result


def document_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(*arguments, "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.heavy
def test_the_shape_is_the_samples_or_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(conv_model(tmp_path / "m.tflite"))
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 20, 30, CHANNELS), np.float32))
    sampled = document_of(capsys, model, "--samples", str(tmp_path / "x.npz"))
    assert (sampled["input_shapes"], sampled["shapes_known"]) == ({"image": [1, 20, 30, 3]}, True)
    given = document_of(capsys, model, "--shape", "1,40,30,3", "--samples", str(tmp_path / "x.npz"))
    assert given["input_shapes"] == {"image": [1, 40, 30, 3]}


@pytest.mark.heavy
def test_a_size_that_nobody_gives_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(conv_model(tmp_path / "m.tflite"))) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "input 1x1x1x3 (dynamic dimensions taken as 1)" in shown
    assert (
        "warning: the input shape is not known: dynamic dimensions were taken as 1 (give --shape or --samples)" in shown
    )


@pytest.mark.heavy
def test_a_fixed_model_has_its_own_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document_of(capsys, str(dense_model(tmp_path / "m.tflite")))
    assert (found["input_shapes"], found["shapes_known"]) == ({"input": [1, 8]}, True)
    assert (found["nodes_delegated"], found["nodes_total"]) == (4, 4)


@pytest.mark.heavy
def test_shapes_of_several_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(sum_model(tmp_path / "m.tflite", {"left": (1, -1), "right": (1, -1)}))
    found = document_of(capsys, model, "--shape", "left=1,9", "--shape", "right=1,9")
    assert found["input_shapes"] == {"left": [1, 9], "right": [1, 9]}
    with pytest.raises(InvalidInput, match="names none of the 2 inputs"):
        run(model, "--shape", "1,9")
    with pytest.raises(InvalidInput, match="refuses the model with input shape left 1x9, right 1x8"):
        run(model, "--accelerator", "cpu", "--shape", "left=1,9", "--shape", "right=1,8")


@pytest.mark.parametrize("shape", ["", "x", "1,0", "1,-1", "1,,2", "image=", "1x2"])
def test_what_is_not_a_shape_is_wrong_usage(tmp_path: Path, shape: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a shape"):
        run(str(dense_model(tmp_path / "m.tflite")), "--shape", shape)


@pytest.mark.heavy
def test_a_busy_host_is_told_and_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(conv_model(tmp_path / "m.tflite"))
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in os.sched_getaffinity(0)]
    try:
        found = document_of(capsys, model, "--shape", "1,64,64,3")
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    assert found["unstable"] is True and found["conditions"]["repeats"] == 2
    assert found["conditions"]["other_load_cores"] > 0.5
    assert "measured 3 times, this was the quietest" in found["warnings"][0]


@pytest.mark.parametrize(("accelerator", "warned"), [("xnnpack", True), ("cpu", False)])
def test_a_delegate_that_took_nothing_is_a_warning(accelerator: str, warned: bool) -> None:
    facts = DeviceFacts("host", nodes_delegated=0, nodes_total=65)
    quiet = RunConditions(other_load_cores=0.1, spread=0.02)
    measured = DeviceRun("", Samples((9.0,), (9.0, 9.5)), facts, {"image": (1, 8)}, True, quiet)
    document = bench_document(measured, "m.tflite", accelerator, 1)
    output = StringIO()
    render_bench(document, Console(file=output, width=200))
    assert ("warning: xnnpack ran 0 of 65 nodes" in output.getvalue()) is warned
    assert "others used 0.1 cores, spread 2%" in output.getvalue()


@pytest.mark.parametrize("zeroed", [(), ("tokens", "segments")])
def test_indices_that_were_0_are_a_warning(zeroed: tuple[str, ...]) -> None:
    quiet = RunConditions(other_load_cores=0.1, spread=0.02)
    facts = DeviceFacts("host")
    measured = DeviceRun("", Samples((9.0,), (9.0, 9.5)), facts, {"tokens": (1, 8)}, True, quiet, zeroed)
    warnings = bench_document(measured, "m.tflite", "cpu", 1)["warnings"]
    assert ["tokens, segments were 0" in text for text in warnings] == [True] * bool(zeroed)
