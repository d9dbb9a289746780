"""`windtunnel diff` of models as trained, and of the first samples only."""

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
from support.trained import trained_models
from windtunnel import schemas

RANDOM_GRAPH = """
import sys
import tensorflow as tf
v1 = tf.compat.v1
with tf.Graph().as_default() as graph:
    x = v1.placeholder(tf.float32, (1, 8), name="x")
    tf.add(tf.nn.tanh(x), tf.random.normal((1, 8), stddev=0.2), name="y")
open(sys.argv[1], "wb").write(graph.as_graph_def().SerializeToString())
"""


def _run(*arguments: str | Path, cwd: Path, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cwd / "cache"), "COLUMNS": "100", **(env or {})}
    command = [sys.executable, "-m", "windtunnel.cli", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, env=environment, timeout=240)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def _json(text: str) -> Any:
    document = json.loads(text)
    jsonschema.validate(document, schemas.load("diagnosis"))
    return document


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return dense_model(tmp_path / "good.tflite")


def test_only_the_first_samples_are_compared(good: Path, tmp_path: Path) -> None:
    weights = DenseWeights.random()
    # The sixth unit answers to a negative seventh input alone, which only the last sample has.
    weights.first[5] = [0, 0, 0, 0, 0, 0, -1, 0]
    lost = DenseWeights(weights.first.copy(), weights.second, weights.third)
    lost.first[5] = 0
    models = dense_model(tmp_path / "a.tflite", weights), dense_model(tmp_path / "b.tflite", lost)
    x = np.abs(np.random.default_rng(1).normal(size=(9, 8))).astype(np.float32)
    x[8, 6] = -5
    np.savez(tmp_path / "samples.npz", x=x)
    given = ("diff", *models, "--samples", "samples.npz", "--json")
    document = _json(_run(*given, "--max-samples", "8", cwd=tmp_path)[1])
    assert (document["samples"], document["max_nrmse"]) == (8, 0)
    document = _json(_run(*given, cwd=tmp_path)[1])
    assert document["samples"] == 9
    assert document["max_nrmse"] > 0.05
    assert _run(*given, "--max-samples", "0", cwd=tmp_path)[0] == 64


@pytest.mark.parametrize("name", ["notes.txt", "model.keras", "model.h5", "model.zip", "saved_model"])
def test_what_is_no_model_is_refused_as_convert_refuses_it(good: Path, tmp_path: Path, name: str) -> None:
    if name == "saved_model":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text("hello, this is not a model")
    converted = _run("convert", name, "-o", "c.tflite", cwd=tmp_path)
    assert converted[0] == 2
    for pair in ((name, good), (good, name)):
        code, out, error = _run("diff", *pair, "--json", cwd=tmp_path)
        assert (code, out) == (2, "")
        # After the text on the samples.
        assert error.partition("error: ")[2] == converted[2].partition("error: ")[2] != ""
        assert "Traceback" not in error


def test_pytorch_is_refused_with_the_way_out(good: Path, tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(b"no matter what")
    code, _, error = _run("diff", "m.pt", good, cwd=tmp_path)
    assert code == 2
    assert "PyTorch" in error and "litert-torch" in error


def test_a_missing_candidate_is_found_before_the_reference_is_converted(tmp_path: Path) -> None:
    (tmp_path / "m.keras").write_text("hello, this is not a model")
    code, _, error = _run("diff", "m.keras", "gone.tflite", cwd=tmp_path)
    assert code == 2
    assert "gone.tflite" in error


def test_without_the_converter_the_package_to_install_is_named(good: Path, tmp_path: Path) -> None:
    """As in an installation of the command line alone."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'tensorflow' else find(name, *more)\n"
    )
    (tmp_path / "m.keras").write_bytes(b"PK")
    patched = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    code, out, error = _run("diff", "m.keras", good, cwd=tmp_path, env=patched)
    assert (code, out) == (2, "")
    assert "`windtunnel diff m.keras` needs tensorflow, which is not installed" in error
    assert "windtunnel-cli[up]" in error
    assert _run("diff", good, good, cwd=tmp_path, env=patched)[0] == 0


@pytest.mark.heavy
def test_a_keras_model_is_converted_first(tmp_path: Path) -> None:
    home = trained_models()
    assert _run("convert", home / "model.keras", "-o", "c.tflite", cwd=tmp_path)[0] == 0
    given = ("--samples", home / "samples.npz", "--json")
    code, out, error = _run("diff", home / "model.keras", "c.tflite", *given, "--node-data", "n.json", cwd=tmp_path)
    assert code == 0, error
    assert "model.keras is not a .tflite: it is converted to float32 first" in error
    document = _json(out)
    assert (document["samples"], document["max_nrmse"]) == (60, 0)
    assert list(document["converted"]) == ["reference"]
    assert document["converted"]["reference"]["check"]["passed"] is True
    assert document["converted"]["reference"]["check"]["samples"] == 60
    assert (tmp_path / "n.json").is_file()


@pytest.mark.heavy
def test_both_sides_are_converted_and_compared(tmp_path: Path) -> None:
    """Two networks that take the same images and compute something else."""
    home = trained_models()
    given = ("--samples", home / "samples.npz", "--json", "--node-data", "n.json")
    code, out, error = _run("diff", home / "saved_model", home / "frozen.pb", *given, cwd=tmp_path)
    assert code == 1, error
    document = _json(out)
    assert list(document["converted"]) == ["reference", "candidate"]
    assert document["verdict"] != "healthy"
    assert document["first_over"] is not None
    # Of the candidate as converted, after the comparison.
    assert "results" in (tmp_path / "n.json").read_text()


@pytest.mark.heavy
def test_a_conversion_that_changes_the_model_is_not_healthy(tmp_path: Path) -> None:
    """Random numbers in a graph: what is converted draws others than the original."""
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    subprocess.run([sys.executable, "-c", RANDOM_GRAPH, "r.pb"], cwd=tmp_path, env=quiet, check=True, timeout=200)
    np.savez(tmp_path / "samples.npz", x=np.random.default_rng(1).normal(size=(9, 8)).astype(np.float32))
    assert _run("convert", "r.pb", "-o", "r.tflite", "--samples", "samples.npz", cwd=tmp_path)[0] == 1
    given = ("--samples", "samples.npz", "--json", "--threshold", "1")
    code, out, error = _run("diff", "r.pb", "r.tflite", *given, cwd=tmp_path)
    assert "the conversion of r.pb is faulty: the converted model's output differs" in error
    assert code == 1
    document = _json(out)
    assert document["verdict"] == "healthy"
    assert document["converted"]["reference"]["check"]["passed"] is False


def _stored(good: Path, tmp_path: Path) -> tuple[str, Path]:
    """The JSON of a comparison that was stored, and the stored run."""
    bad = dense_model(tmp_path / "bad.tflite", DenseWeights.random(9))
    np.savez(tmp_path / "s.npz", x=np.random.default_rng(1).normal(size=(8, 8)).astype(np.float32))
    arguments = ("--samples", tmp_path / "s.npz", "--save", tmp_path / "run.wtr", "--json")
    code, out, _ = _run("diff", good, bad, *arguments, cwd=tmp_path)
    assert code == 1
    for one in (good, bad, tmp_path / "s.npz"):
        one.unlink()
    return out, tmp_path / "run.wtr"


def test_a_stored_run_is_judged_again_without_its_models(good: Path, tmp_path: Path) -> None:
    live, run = _stored(good, tmp_path)
    code, out, err = _run("diff", "--from", run, "--json", cwd=tmp_path)
    assert (code, out) == (1, live)
    assert f"bad.tflite compared with {good.name} on 8 samples (s.npz)" in " ".join(err.split())
    code, out, _ = _run("diff", "--from", run, "--json", "--threshold", "0.01", "--html", "d.html", cwd=tmp_path)
    assert _json(out)["threshold"] == 0.01
    assert good.name in (tmp_path / "d.html").read_text()
    code, out, _ = _run("diff", "--from", run, "--json", "--metric", "cosine", "--threshold", "0.9", cwd=tmp_path)
    assert _json(out)["limit"] == {"metric": "cosine", "threshold": 0.9, "better": "higher"}
    code, out, _ = _run("diff", "--from", run, "--without-rule", "proven_by_files", "--json", cwd=tmp_path)
    assert {one["rule"] for one in _json(out)["causes"]}.isdisjoint({"proven_by_files"})


@pytest.mark.parametrize(
    ("place", "value"),
    [("count", "x"), ("count", {}), ("evidence", {"float": "nan"})],
)
def test_a_stored_run_that_cannot_be_judged_is_named(good: Path, tmp_path: Path, place: str, value: object) -> None:
    _, run = _stored(good, tmp_path)
    with zipfile.ZipFile(run) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    document = json.loads(content["run.json"])
    if place == "count":
        document["run"]["settings"]["count"] = value
    else:
        document["run"]["data"] = [{"code": "a", "message": "b", "fix": "c", "evidence": {"d": value}}]
    content["run.json"] = json.dumps(document).encode()
    with zipfile.ZipFile(run, "w") as archive:
        for name, one in content.items():
            archive.writestr(name, one)
    code, out, err = _run("diff", "--from", run, cwd=tmp_path)
    assert (code, out) == (2, "")
    assert "run.wtr cannot be judged" in " ".join(err.split())
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--samples", "s.npz"), 64, "--samples runs models"),
        (("--accelerator", "builtin"), 64, "--accelerator runs models"),
        (("--max-samples", "3"), 64, "--max-samples runs models"),
        (("--case", "c.zip"), 64, "--case runs models"),
        (("--save", "other.wtr"), 64, "--save runs models"),
        (("a.tflite",), 64, "give both REFERENCE and CANDIDATE"),
        (("--metric", "cosine"), 64, "--metric cosine needs --threshold"),
        (("--metric", "guess", "--threshold", "1"), 64, "the metric 'guess' cannot be limited"),
        (("--without-rule", "guess"), 64, "there is no rule 'guess'"),
        (("--json", "--html", "run.wtr"), 64, "run.wtr"),
        (("a.tflite", "b.tflite"), 2, "a.tflite does not exist"),
    ],
)
def test_what_does_not_go_with_a_stored_run_is_refused(
    good: Path, tmp_path: Path, options: tuple[str, ...], code: int, message: str
) -> None:
    _, run = _stored(good, tmp_path)
    found, _, err = _run("diff", "--from", run, *options, cwd=tmp_path)
    assert found == code
    assert message in " ".join(err.split())
