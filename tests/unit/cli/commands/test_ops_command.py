"""`windtunnel ops`: the table, its JSON, its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from support.latency_models import depthwise_chain
from support.open_models import CHANNELS, FILTERS, conv_model
from windtunnel import schemas
from windtunnel.cli.commands.models.ops import ops
from windtunnel.errors import InvalidInput, NotFound
from windtunnel.tflite import read_model

HEAD = """STARTING!
Log parameter values verbosely: [0]
Graph: [chain.tflite]
Loaded model chain.tflite
Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=50 first=1000 curr=1000 min=1000 max=1000 avg=1000 std=0

============================== Run Order ==============================
\t[node type]\t[first]\t[avg ms]\t[%]\t[cdf%]\t[mem KB]\t[times called]\t[Name]
"""


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return depthwise_chain(tmp_path_factory.mktemp("ops") / "chain.tflite")


def run(*arguments: str) -> int:
    result = ops.main(list(arguments), standalone_mode=False)
    assert isinstance(result, int)
    return result


def log_of(chain: Path, path: Path, slow: int) -> Path:
    rows = "".join(
        f"\t{op.name}\t0.07\t{1.2 if op.index == slow else 0.07}\t5%\t5%\t0\t1\t[layer {op.index}]:{op.index}\n"
        for op in read_model(chain).ops
    )
    path.write_text(HEAD + rows + "\nNumber of nodes executed: 13\n")
    return path


@pytest.mark.heavy
def test_times_are_measured_here(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(chain), "--accelerator", "cpu", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, schemas.load("diagnosis"))
    assert document["verdict"] == "healthy"
    assert document["latency"]["method"] == "profiler"
    assert len(document["ops"]) == document["coverage"]["compared"] == 13
    assert sum(row["share"] for row in document["ops"]) == pytest.approx(1.0, abs=0.5)


def test_times_come_from_a_log(chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = log_of(chain, tmp_path / "log.txt", slow=5)
    assert run(str(chain), "--log", str(log), "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert [cause["place"]["op_index"] for cause in document["causes"]] == [5]
    assert document["causes"][0]["evidence"]["measured_ms"] == 1.2
    assert document["latency"]["method"] == "log"


def test_times_come_from_a_log_that_has_only_the_slowest_ops(
    chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = log_of(chain, tmp_path / "log.txt", slow=5)
    log.write_text(log.read_text().replace("= Run Order =", "= Top by Computation Time ="))
    assert run(str(chain), "--log", str(log), "--json") == 1
    assert [cause["place"]["op_index"] for cause in json.loads(capsys.readouterr().out)["causes"]] == [5]


def test_the_table_names_the_straggler_first(chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(chain), "--log", str(log_of(chain, tmp_path / "log.txt", slow=5))) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("degraded")
    table = [line for line in lines if ("CONV_2D" in line and "fine" in line) or "straggler" in line]
    assert table[0].startswith("5 CONV_2D")
    assert any(line.startswith("latency.straggler at op 5 (pointwise_2)") for line in lines)


def test_a_log_without_a_table_is_refused(chain: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text(HEAD.split("=====")[0])
    with pytest.raises(InvalidInput, match="no table of ops"):
        run(str(chain), "--log", str(log))


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises((InvalidInput, NotFound), match="gone"):
        run(str(tmp_path / "gone.tflite"))


@pytest.mark.heavy
def test_work_is_that_of_the_samples_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = conv_model(tmp_path / "m.tflite")
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 20, 30, CHANNELS), np.float32))
    assert run(str(model), "--samples", str(tmp_path / "x.npz"), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, schemas.load("diagnosis"))
    assert document["ops"][0]["macs"] == 20 * 30 * FILTERS * 9 * CHANNELS
    assert document["latency"]["input_shapes"] == {"image": [1, 20, 30, CHANNELS]}
    assert document["latency"]["shapes_known"] is True


@pytest.mark.heavy
def test_a_shape_can_be_given_and_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(conv_model(tmp_path / "m.tflite"))
    assert run(model, "--shape", "image=1,20,30,3", "--json") == 0
    assert json.loads(capsys.readouterr().out)["ops"][0]["macs"] == 20 * 30 * FILTERS * 9 * CHANNELS
    assert run(model, "--shape", "1,20,30,3") == 0
    shown = capsys.readouterr().out
    assert "input 1x20x30x3" in shown and "warning" not in shown
    assert run(model) == 0
    assert "warning: the model leaves the size of its input open" in capsys.readouterr().out
    with pytest.raises(InvalidInput, match="the input takes"):
        run(model, "--shape", "1,20,30,4")
