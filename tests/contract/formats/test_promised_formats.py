"""The public formats of tests/data/promised_formats.yaml are still there, on real outputs and in the schemas."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import click
import jsonschema
import numpy as np
import pytest
from google.protobuf import json_format

from support.base_apk import apk_bytes
from support.graphs import DenseWeights, dense_model
from support.promised_formats import problems, promised_fields, promises, unseen
from support.run_events import RunEvents, as_event
from windtunnel import schemas
from windtunnel.bus import subjects
from windtunnel.cli.main import cli
from windtunnel.log_parser import parse_log
from windtunnel.metrics_store.domain import RunRecord, fold, judge
from windtunnel.metrics_store.messages.decode_events import read_event
from windtunnel.metrics_store.use_cases.build_report import Diagnoses, Ending, build_report
from windtunnel.pipeline import Pipeline
from windtunnel.plan import parse_plan
from windtunnel.v1 import events_pb2, types_pb2

ROOT = Path(__file__).parents[3]
LOGS = sorted((ROOT / "tests/unit/log_parser/logs").glob("*.txt"))


def run(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "windtunnel.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, cwd=cwd)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A small model, the same with a wrong second layer, and samples."""
    folder = tmp_path_factory.mktemp("formats")
    good = DenseWeights.random()
    bad = DenseWeights(good.first, good.second[::-1].copy(), good.third)
    x = np.random.default_rng(1).normal(size=(20, 8)).astype(np.float32)
    np.savez(folder / "samples.npz", x=x)
    return dense_model(folder / "good.tflite", good), dense_model(folder / "bad.tflite", bad), folder / "samples.npz"


@pytest.fixture(scope="module")
def diagnosis(pair: tuple[Path, Path, Path]) -> dict[str, Any]:
    good, bad, samples = pair
    done = run("diff", good, bad, "--samples", samples, "--json")
    assert done.returncode == 1, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_diagnosis(diagnosis: dict[str, Any]) -> None:
    assert problems("diagnosis", diagnosis) == []
    # The models have the same layers: nothing is without a counterpart.
    assert unseen("diagnosis", [diagnosis]) == ["coverage.unmatched[]"]


@pytest.mark.parametrize("arguments", [("kernels", "--max-samples", "1"), ("ops", "--accelerator", "cpu")])
def test_diagnosis_of_other_commands(pair: tuple[Path, Path, Path], arguments: tuple[str, ...]) -> None:
    done = run(arguments[0], pair[0], *arguments[1:], "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    # `ops` compares times: it has no layers to list.
    assert problems("diagnosis", document) == [] and bool(document["layers"]) == (arguments[0] == "kernels")


def printed(folder: Path, name: str, *arguments: str | Path, code: int = 0) -> Any:
    """What a command prints with --json, which keeps the promises of the format `name`."""
    done = run(*arguments, "--json", cwd=folder)
    assert done.returncode == code, done.stderr
    document = json.loads(done.stdout)
    assert (problems(name, document), unseen(name, [document])) == ([], [])
    return document


def test_bench(pair: tuple[Path, Path, Path], tmp_path: Path) -> None:
    printed(tmp_path, "bench", "bench", pair[0])


def test_variant(pair: tuple[Path, Path, Path], tmp_path: Path) -> None:
    printed(tmp_path, "variant", "quantize", pair[0], "--variant", "int8", "--calibration", pair[2], "-o", "q.tflite")


def test_built_app(pair: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDTUNNEL_HOME", str(tmp_path / "home"))
    (tmp_path / "base.apk").write_bytes(apk_bytes())
    printed(tmp_path, "built_app", "build-app", pair[0], "--base", "base.apk", "--out", "app.apk")


def test_layer_logs(pair: tuple[Path, Path, Path], tmp_path: Path) -> None:
    for model in pair[:2]:
        log = f"{model.stem}.log"
        printed(tmp_path, "layers_log", "layers", "log", model, "--samples", pair[2], "--out", log)
    compared = ("layers", "diff", "good.log", "bad.log", "--models", *pair[:2])
    printed(tmp_path, "layers_diff", *compared, code=1)


def test_a_dropped_field_is_noticed(diagnosis: dict[str, Any]) -> None:
    changed = deepcopy(diagnosis)
    del changed["coverage"]["total"]
    del changed["layers"][1]["local_nrmse"]
    changed["causes"][0]["code"] = "conversion.weight"
    changed["causes"][0]["verified"] = 1

    found = [problem.split(" ")[0] for problem in problems("diagnosis", changed)]

    assert sorted(found) == ["causes[].code", "causes[].verified", "coverage.total", "layers[].local_nrmse"]


def test_log() -> None:
    documents = [parse_log(path.read_bytes()).to_json() for path in LOGS]
    assert [(path.stem, problems("log", one)) for path, one in zip(LOGS, documents, strict=True)] == [
        (path.stem, []) for path in LOGS
    ]
    assert unseen("log", documents) == []


def test_the_command_prints_the_log_as_parsed() -> None:
    done = run("parse-log", LOGS[0], "--json")
    assert json.loads(done.stdout) == parse_log(LOGS[0].read_bytes()).to_json()


def test_report() -> None:
    events = RunEvents()
    messages = events.all()
    for message in messages:
        if isinstance(message, events_pb2.VariantReady):
            message.variant.facts.inputs.append(types_pb2.TensorInfo(name="image", shape=[1, 8], dtype="float32"))
            message.variant.facts.outputs.append(types_pb2.TensorInfo(name="scores", shape=[1, 2], dtype="float32"))
    record = RunRecord("run-1")
    for message in messages:
        record = fold(record, read_event(as_event(message)).facts)
    judgment = judge(record, events.plan)
    document = json.loads(json.dumps(build_report(record, judgment, Diagnoses(), Ending())))
    assert problems("report", document) == []
    assert unseen("report", [document]) == []


@pytest.mark.parametrize("name", sorted({*promises()["documents"]} & {*schemas.names()}))
def test_the_schema_has_what_is_promised(name: str) -> None:
    schema = schemas.load(name)
    lacking = [path for path in promised_fields(name) if not _described(schema, schema, path)]
    assert lacking == []


def _described(schema: dict[str, Any], root: dict[str, Any], path: str) -> bool:
    """Whether a schema describes a field."""
    nodes = [schema]
    for key in path.replace("[]", ".[]").lstrip(".").split("."):
        whole = [node for start in nodes for node in _alternatives(start, root)]
        if key == "[]":
            nodes = [node["items"] for node in whole if "items" in node]
        else:
            nodes = [node["properties"][key] for node in whole if key in node.get("properties", {})]
            nodes += [node["additionalProperties"] for node in whole if _is_open_to(node, key)]
    return bool(nodes)


def _is_open_to(node: dict[str, Any], key: str) -> bool:
    return key not in node.get("properties", {}) and isinstance(node.get("additionalProperties"), dict)


def _alternatives(node: dict[str, Any], root: dict[str, Any]) -> list[dict[str, Any]]:
    """A node with what it refers to."""
    found = [node]
    if "$ref" in node:
        target: Any = root
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        found += _alternatives(target, root)
    for word in ("oneOf", "anyOf", "allOf"):
        found += [one for inner in node.get(word, []) for one in _alternatives(inner, root)]
    return found


def test_every_promised_code_is_allowed() -> None:
    promised = promised_fields("diagnosis")["causes[].code"]
    assert set(promised) <= set(schemas.load("diagnosis")["$defs"]["code"]["enum"])


def test_events() -> None:
    assert {s: m.DESCRIPTOR.full_name for s, m in subjects.MESSAGES.items()}.items() >= promises()["events"].items()


@pytest.mark.parametrize("camel", [False, True])
def test_model_trained_is_read_in_both_mappings(camel: bool) -> None:
    promised = promises()["model_trained"]
    written = {_camel(key): value for key, value in promised.items()} if camel else promised
    message = json_format.ParseDict(written, events_pb2.ModelTrained())
    assert json_format.MessageToDict(message, preserving_proto_field_name=True) == promised


def _camel(name: str) -> str:
    return re.sub("_([a-z])", lambda found: found[1].upper(), name)


def test_plan() -> None:
    parse_plan(promises()["plan"])


@pytest.mark.parametrize("step", promises()["steps"], ids=lambda step: str(step["op"]))
def test_step(step: dict[str, Any]) -> None:
    pipeline = {"schema": "windtunnel.pipeline/1", "task": "classification", "steps": [step]}
    jsonschema.validate(pipeline, schemas.load("pipeline"))
    assert Pipeline.parse(pipeline).to_json()["steps"][0].items() >= step.items()


def test_settings() -> None:
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert set(promises()["settings"]) <= set(re.findall(r"WINDTUNNEL_[A-Z_]+[A-Z]", text))


@pytest.mark.parametrize("name", promises()["commands"])
def test_command(name: str) -> None:
    command: click.Command | None = cli
    for word in name.split():
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
    assert command is not None, f"the command {name} is gone"
    options = {option for parameter in command.params for option in parameter.opts}
    assert set(promises()["commands"][name]) <= options


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("parse-log", LOGS[0]), 0),
        (("parse-log", ROOT / "justfile"), 2),
        (("parse-log", "nowhere.txt"), 2),
        (("diff", "--nonsense"), 64),
        (("nonsense",), 64),
    ],
)
def test_exit_codes(arguments: tuple[str | Path, ...], code: int) -> None:
    assert run(*arguments).returncode == code
