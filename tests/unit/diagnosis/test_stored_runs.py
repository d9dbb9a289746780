"""A stored run is judged again without the models, with the same answer; a damaged or hostile file is refused."""

from __future__ import annotations

import io
import json
import math
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from support import quantized
from support.graphs import DenseWeights, dense_model
from support.layers import Layers, random_samples, random_weights
from windtunnel import schemas
from windtunnel.diagnosis import compare_models
from windtunnel.diagnosis.comparison import run_archive
from windtunnel.diagnosis.comparison.criteria import Criteria, criteria_of
from windtunnel.diagnosis.comparison.judge_run import layers_to_judge
from windtunnel.diagnosis.comparison.run_archive import stored_run
from windtunnel.diagnosis.comparison.run_codec import plain_json, with_floats
from windtunnel.diagnosis.comparison.run_result import MatchedRun, RunResult
from windtunnel.diagnosis.execution.recorded_trials import patched_sha256
from windtunnel.diagnosis.static.suspect import Patch
from windtunnel.errors import InvalidInput, NotFound
from windtunnel.tflite import read_model

Models = tuple[Path, Path, Path | None]


def _weights_differ(folder: Path) -> Models:
    weights = DenseWeights.random()
    bad = dense_model(folder / "c.tflite", replace(weights, second=-weights.second))
    return dense_model(folder / "r.tflite", weights), bad, random_samples(folder / "s.npz", (8,))


def _without_samples(folder: Path) -> Models:
    return (*_weights_differ(folder)[:2], None)


def _int8(folder: Path) -> Models:
    quantized.written(folder)
    return folder / "float32.tflite", folder / "int8.tflite", folder / "samples.npz"


def _clipped(folder: Path) -> Models:
    reference, good, samples = _int8(folder)
    names = _scaled_layers(good)
    name = names[len(names) // 2]
    return reference, quantized.change_range(good, folder / "bad.tflite", [name], factor=0.1), samples


def _scaled_layers(model: Path) -> list[str]:
    """The names of the layers of a model that have a scale."""
    facts = read_model(model)
    made = [index for op in facts.ops for index in op.outputs]
    return [facts.tensors[index].name for index in made if facts.tensors[index].quantization is not None]


def _few_classes(folder: Path) -> Models:
    """A finding on the labels, whose evidence has several keys."""
    reference, bad, samples = _weights_differ(folder)
    assert samples is not None
    rows = np.load(samples)["x"]
    np.savez(folder / "labels.npz", x=rows, y=np.arange(len(rows)) % 4)
    return reference, bad, folder / "labels.npz"


def _outputs_exchanged(folder: Path) -> Models:
    def heads(path: Path, order: tuple[int, int]) -> Path:
        net = Layers()
        source = net.tensor("input", (1, 8))
        made = [
            net.fully_connected(f"head_{place}", source, random_weights((6, 8), seed=place + 1), None, 1)
            for place in (0, 1)
        ]
        return net.write(path, [source], [made[place] for place in order], signature=False)

    models = heads(folder / "r.tflite", (0, 1)), heads(folder / "c.tflite", (1, 0))
    return (*models, random_samples(folder / "s.npz", (8,)))


CASES: list[Callable[[Path], Models]] = [
    _weights_differ,
    _without_samples,
    _int8,
    _clipped,
    _few_classes,
    _outputs_exchanged,
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A stored run with a cause."""
    reference, candidate, samples = _weights_differ(tmp_path)
    compare_models(reference, candidate, samples, save=tmp_path / "run.wtr")
    return tmp_path / "run.wtr"


@pytest.mark.parametrize("case", CASES)
def test_the_same_threshold_gives_the_same_document(tmp_path: Path, case: Callable[[Path], Models]) -> None:
    reference, candidate, samples = case(tmp_path)
    live = compare_models(reference, candidate, samples, look=samples is not None, save=tmp_path / "run.wtr")
    for one in (reference, candidate):
        one.unlink()
    with stored_run(tmp_path / "run.wtr") as stored:
        assert json.dumps(stored.judge().to_json()) == json.dumps(live.to_json())
        document = json.loads(zipfile.ZipFile(tmp_path / "run.wtr").read("run.json"))
    jsonschema.validate(document, schemas.load("run_result"))


def test_saving_changes_no_answer(tmp_path: Path) -> None:
    models = _clipped(tmp_path)
    assert compare_models(*models, save=tmp_path / "run.wtr").to_json() == compare_models(*models).to_json()


def test_another_threshold_gives_the_answer_of_another_run(tmp_path: Path) -> None:
    models = _int8(tmp_path)
    compare_models(*models, save=tmp_path / "run.wtr")
    with stored_run(tmp_path / "run.wtr") as stored:
        for threshold in (1e-4, 0.02, 5.0):
            live = compare_models(*models, threshold=threshold)
            again = stored.judge(criteria_of(threshold))
            assert (again.verdict, [one.code for one in again.causes]) == (
                live.verdict,
                [one.code for one in live.causes],
            )
            assert [one.to_json() for one in again.layers] == [one.to_json() for one in live.layers]
        assert {stored.judge(criteria_of(one)).verdict for one in (1e-4, 5.0)} == {"degraded", "healthy"}


@pytest.mark.heavy
def test_judging_loads_no_interpreter(run: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from windtunnel.diagnosis.comparison.run_archive import stored_run\n"
        "with stored_run(pathlib.Path(sys.argv[1])) as stored:\n"
        "    found = stored.judge()\n"
        "assert found.causes and found.causes[0].verified\n"
        "assert 'ai_edge_litert.interpreter' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(run)], check=True, timeout=120)


def test_a_test_that_is_not_in_the_run_leaves_the_cause_unverified_and_says_so(run: Path) -> None:
    def forget(document: dict[str, Any]) -> None:
        tried = [key for key in document["answers"] if key.startswith("try_")]
        assert tried
        for key in tried:
            del document["answers"][key]

    _rewritten(run, forget)
    with stored_run(run) as stored:
        found = stored.judge(criteria_of(0.1))
    assert [(str(one.code), one.verified) for one in found.causes] == [("conversion.weights", False)]
    assert "run diff again with the models" in found.reasons[-1]


def test_equal_patches_have_one_name_and_others_another(tmp_path: Path) -> None:
    model = dense_model(tmp_path / "m.tflite")
    facts = read_model(model)
    weights = facts.tensors[facts.ops[0].inputs[1]]
    values = facts.constant(weights)
    assert values is not None

    def scaled(factor: float) -> Patch:
        return lambda editor: editor.set_constant(weights.index, values * np.float32(factor))

    names = [patched_sha256(model, scaled(factor)) for factor in (2.0, 2.0, 3.0)]
    assert names[0] == names[1] != names[2]


def test_a_large_model_is_named_and_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_archive, "STORED_MODEL_BYTES", 100)
    reference, candidate, samples = _weights_differ(tmp_path)
    live = compare_models(reference, candidate, samples, save=tmp_path / "run.wtr")
    with pytest.raises(NotFound, match=r"does not store the reference r\.tflite"), stored_run(tmp_path / "run.wtr"):
        pass
    with stored_run(tmp_path / "run.wtr", reference, candidate) as stored:
        assert stored.judge(criteria_of(0.1)).to_json() == live.to_json()
    with (
        pytest.raises(InvalidInput, match="is not the model of"),
        stored_run(tmp_path / "run.wtr", candidate, reference),
    ):
        pass


def test_a_run_that_cannot_be_written_leaves_the_old_file(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run.read_bytes()
    monkeypatch.setattr(np, "savez_compressed", _full_disk)
    models = run.parent / "r.tflite", run.parent / "c.tflite", run.parent / "s.npz"
    with pytest.raises(InvalidInput, match="cannot be stored: the disk is full"):
        compare_models(*models, save=run)
    assert run.read_bytes() == before
    assert not list(run.parent.glob(".run.wtr-*"))


def test_another_metric_gives_the_answer_of_another_run(tmp_path: Path) -> None:
    models = _int8(tmp_path)
    compare_models(*models, save=tmp_path / "run.wtr")
    with stored_run(tmp_path / "run.wtr") as stored:
        for metric, threshold, diverging in (
            ("cosine", 0.999999, True),
            ("cosine", 0.5, False),
            ("snr_db", 10.0, False),
        ):
            again = stored.judge(criteria_of(threshold, metric))
            live = compare_models(*models, threshold=threshold, metric=metric)
            assert again.to_json() == live.to_json()
            assert (again.first_over is not None) is diverging
            assert again.to_json()["threshold"] == 0.1
            jsonschema.validate(again.to_json(), schemas.load("diagnosis"))


def test_the_reason_names_the_metric(run: Path) -> None:
    with stored_run(run) as stored:
        reasons = " ".join(stored.judge(criteria_of(0.9, "cosine")).reasons)
    assert "layers diverge (cosine below 0.9), first FULLY_CONNECTED" in reasons


def test_without_a_rule_the_next_one_decides_and_the_settings_say_so(run: Path) -> None:
    with stored_run(run) as stored:
        before, after = (stored.judge(criteria_of(left_out=names)) for names in ((), ("proven_by_files",)))
    assert [one.rule for one in before.causes] == ["proven_by_files"]
    assert [one.rule for one in after.causes] == ["fix_helps"]
    assert "rules_left_out" not in before.settings.to_json()
    assert after.settings.to_json()["rules_left_out"] == ["proven_by_files"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metric": "guess"}, "'guess' cannot be limited"),
        ({"metric": "range"}, "'range' cannot be limited"),
        ({"metric": "nrmse_ci"}, "'nrmse_ci' cannot be limited"),
        ({"threshold": 0.0}, "0.0 is not positive"),
        ({"threshold": math.nan}, "nan is not positive"),
        ({"threshold": math.inf, "metric": "cosine"}, "inf is not finite"),
        ({"left_out": ["guess"]}, "there is no rule 'guess'"),
        ({"left_out": ["fix_does_not_help"]}, "cannot be left out"),
    ],
)
def test_criteria_that_cannot_be_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        criteria_of(**given)


def test_what_fails_while_judging_is_not_called_a_damaged_file(run: Path) -> None:
    with pytest.raises(KeyError, match="ours"), stored_run(run) as stored:
        assert stored.judge(criteria_of(0.1)).causes
        raise KeyError("ours")


def test_layers_that_only_this_threshold_judges_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = _weights_differ(tmp_path)
    compare_models(*models, threshold=0.2, save=tmp_path / "run.wtr")
    judged = layers_to_judge

    def without_first(run: RunResult, criteria: Criteria) -> MatchedRun:
        """The threshold of the run leaves the first layer out."""
        found = judged(run, criteria)
        if criteria.limit.threshold != 0.2:
            return found
        matching = replace(found.matching, pairs=found.matching.pairs[1:])
        return replace(found, matching=matching, figures=found.figures[1:])

    monkeypatch.setattr(run_archive, "layers_to_judge", without_first)
    with stored_run(tmp_path / "run.wtr") as stored:
        assert "1 layer has no isolated error" in stored.judge(criteria_of(0.1)).reasons[-1]
        assert not any("no isolated error" in reason for reason in stored.judge(criteria_of(0.2)).reasons)


def test_numbers_that_are_not_finite_survive() -> None:
    values = {"a": [1.5, math.inf, -math.inf], "b": (math.nan, None, "x")}
    again = with_floats(json.loads(json.dumps(plain_json(values), allow_nan=False)))
    assert again["a"] == [1.5, math.inf, -math.inf]
    assert math.isnan(again["b"][0])


def _full_disk(*_: object, **__: object) -> None:
    raise OSError("the disk is full")


def _rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes `run.json`."""
    document = json.loads(zipfile.ZipFile(path).read("run.json"))
    change(document)
    _replaced(path, {"run.json": json.dumps(document).encode()})


def _replaced(path: Path, members: dict[str, bytes | None], *more: zipfile.ZipInfo) -> None:
    """Replaces members; None: leaves one out."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()} | members
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in content.items():
            if value is not None:
                archive.writestr(name, value)
        for one in more:
            archive.writestr(one, b"/etc/passwd")


def _link() -> zipfile.ZipInfo:
    found = zipfile.ZipInfo("command.json")
    found.external_attr = (stat.S_IFLNK | 0o777) << 16
    return found


def _npz(array: np.ndarray[Any, Any]) -> bytes:
    content = io.BytesIO()
    np.savez(content, layers=array)
    return content.getvalue()


def _lying_array() -> bytes:
    """An array of 8 bytes whose header states 8 GB."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**9,)})
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("layers.npy", header.getvalue() + b"12345678")
    return content.getvalue()


def _field(*path: str, value: Any) -> Callable[[Path], None]:
    def change(document: dict[str, Any]) -> None:
        for name in path[:-1]:
            document = document[name]
        document[path[-1]] = value

    return lambda run: _rewritten(run, change)


def _histogram(**value: Any) -> Callable[[Path], None]:
    return _field("answers", value={"histogram 16 6 6": {"is": value}})


def _with_sums(path: Path, changed: dict[str, np.ndarray[Any, Any]]) -> None:
    with np.load(io.BytesIO(zipfile.ZipFile(path).read("sums.npz"))) as kept:
        arrays = {name: kept[name] for name in kept.files} | changed
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    _replaced(path, {"sums.npz": content.getvalue()})


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _huge(path: Path) -> None:
    os.truncate(path, 2**41)


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "not a zip": (lambda run: run.write_bytes(b"no zip at all"), "is not a run of diff --save"),
    "empty": (lambda run: run.write_bytes(b""), "is not a run of diff --save"),
    "a FIFO": (_fifo, "is not a regular file"),
    "a device": (_device, "is not a regular file"),
    "2 TB": (_huge, "at most"),
    "truncated": (lambda run: run.write_bytes(run.read_bytes()[:-200]), "cut off"),
    "a byte changed": (lambda run: run.write_bytes(_flipped(run.read_bytes())), "cut off|cannot be read|damaged"),
    "no sums": (lambda run: _replaced(run, {"sums.npz": None}), r"has no sums\.npz"),
    "no run": (lambda run: _replaced(run, {"run.json": None}), r"has no run\.json"),
    "no models": (lambda run: _without_models(run), "does not store the reference"),
    "a foreign member": (lambda run: _replaced(run, {"../evil": b""}), "which a run does not have"),
    "a link": (lambda run: _replaced(run, {}, _link()), "which a run does not have"),
    "a bomb": (lambda run: _replaced(run, {"command.json": b" " * (65 * 2**20)}), "at most"),
    "NaN": (lambda run: _replaced(run, {"run.json": b'{"schema": NaN}'}), "NaN is not a JSON number"),
    "a list": (lambda run: _replaced(run, {"run.json": b"[]"}), "is not a JSON object"),
    "not JSON": (lambda run: _replaced(run, {"run.json": b"{"}), "is not JSON"),
    "deep": (lambda run: _replaced(run, {"run.json": b"[" * 100_000}), "is not JSON|is not a JSON"),
    "another format": (_field("schema", value="windtunnel.run_result/2"), "the format of"),
    "pickles": (lambda run: _replaced(run, {"sums.npz": _npz(np.array([{}], dtype=object))}), "damaged"),
    "a lying array": (lambda run: _replaced(run, {"sums.npz": _lying_array()}), "damaged"),
    "other sums": (lambda run: _replaced(run, {"sums.npz": _npz(np.array([99]))}), "damaged"),
    "a tensor that is not there": (_field("run", "pairs", value=[[10**6, 1, None, "structure"]]), "damaged"),
    "settings": (_field("run", "settings", value={"threads": 1}), "damaged"),
    "a word": (_field("run", "lost", value={"float": "much"}), "damaged"),
    "a path": (_field("models", "reference", "name", value="../../evil"), "damaged"),
    "answers": (_field("answers", value=[]), "damaged"),
    "an unknown question": (_field("answers", value={"guess 16": {"is": 1}}), "damaged"),
    "a short answer": (_field("answers", value={"layers 16": {"is": [[1, 0.5]]}}), "damaged"),
    "an answer of words": (_field("answers", value={"try_output 0": {"is": ["a", "b"]}}), "damaged"),
    "a layer of words": (_field("answers", value={"layers 16": {"is": [[1, 8, "a", *[0.0] * 8]]}}), "not a number"),
    "a layer of lists": (_field("answers", value={"layers 16": {"is": [[1, 8, *[0.0] * 8, []]]}}), "not a number"),
    "a histogram of words": (_histogram(edges=[0, 1], reference=["a"], candidate=[1]), "not a number"),
    "a histogram to infinity": (_histogram(edges=[0, {"float": "inf"}], reference=[1], candidate=[1]), "cannot be"),
    "a short histogram": (_histogram(edges=[0, 1], reference=[], candidate=[1]), "that cannot be"),
    "decisions of words": (lambda run: _with_sums(run, {"outputs/1/decisions": np.array(["x"] * 8)}), "not numbers"),
    "decisions in rows": (lambda run: _with_sums(run, {"outputs/1/decisions": np.zeros((2, 16))}), "in one row"),
    "few decisions": (lambda run: _with_sums(run, {"outputs/1/decisions": np.zeros(1)}), "another number of"),
    "decisions for a class of no model": (
        lambda run: _with_sums(run, {"outputs/1/decisions": np.full(8, 1e9)}),
        "a class that the model does not have",
    ),
    "leads of words": (lambda run: _with_sums(run, {"outputs/leads": np.array(["x"] * 16)}), "damaged"),
    "a metric": (_field("criteria", "metric", value="range"), "'range' cannot be limited"),
    "a rule": (_field("criteria", "left_out", value=["guess"]), "there is no rule 'guess'"),
    "a threshold": (_field("criteria", "threshold", value=-1), "-1.0 is not positive"),
}


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


def _without_models(path: Path) -> None:
    names = [name for name in zipfile.ZipFile(path).namelist() if name.startswith("models/")]
    _replaced(path, dict.fromkeys(names))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_damaged_or_hostile_file_is_refused(run: Path, name: str) -> None:
    spoil, message = HOSTILE[name]
    spoil(run)
    with pytest.raises((InvalidInput, NotFound), match=message), stored_run(run) as stored:
        stored.judge(criteria_of(0.1))
