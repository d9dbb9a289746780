"""What a comparison says of labels, samples and outputs that hold NaN."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.graphs import GraphWriter
from support.linear_digits import TEST, digits, linear_model
from windtunnel.diagnosis.comparison.compare_models import compare_models
from windtunnel.tflite import TensorFacts, read_model

RNG = np.random.default_rng(3)


def mask_model(path: Path, bias: float = 0.0) -> Path:
    """4 elements of 3 classes: the scores are the input, the first of each element plus `bias`."""
    graph = GraphWriter()
    source = graph.tensor("image", (1, 12))
    shift = np.asarray([bias, 0, 0] * 4, np.float32)
    flat = graph.dense("flat", source, np.eye(12, dtype=np.float32), shift)
    size = graph.tensor("size", (3,), "int32", data=np.asarray([1, 4, 3], np.int32))
    out = graph.tensor("mask", (1, 4, 3))
    graph.op("RESHAPE", [flat, size], [out])
    return graph.write(path, [source], [out])


def masks(folder: Path) -> Path:
    x = RNG.uniform(size=(8, 4, 3)).astype(np.float32)
    np.savez(folder / "samples.npz", x=x.reshape(8, 12), y=x.argmax(axis=-1))
    return folder / "samples.npz"


def test_masks_are_compared_element_by_element(tmp_path: Path) -> None:
    right, wrong = mask_model(tmp_path / "right.tflite"), mask_model(tmp_path / "wrong.tflite", bias=10.0)
    samples = masks(tmp_path)

    found = compare_models(right, wrong, samples)

    first = float((np.load(samples)["y"] == 0).mean())
    assert found.output.elements[0] == 1.0
    assert found.output.elements[1] == pytest.approx(first)
    assert found.to_json()["element_accuracy"] == {"reference": 1.0, "candidate": pytest.approx(first)}
    assert found.findings == ()


def test_a_candidate_that_gives_nan_is_said_with_its_place(tmp_path: Path) -> None:
    well, sick = mask_model(tmp_path / "well.tflite"), mask_model(tmp_path / "sick.tflite", bias=float("nan"))

    found = compare_models(well, sick, masks(tmp_path))

    finding = next(one for one in found.findings if one.code == "output.non_finite")
    assert "holds NaN or infinity" in finding.message and "FULLY_CONNECTED 'flat'" in finding.message
    assert found.non_finite == 2 and found.output.elements[1] is None


def test_what_both_models_have_is_no_fault_of_the_candidate(tmp_path: Path) -> None:
    sick = mask_model(tmp_path / "sick.tflite", bias=float("-inf"))

    found = compare_models(sick, sick, masks(tmp_path))

    assert found.non_finite == 0
    assert "output.non_finite" not in {one.code for one in found.findings}


def half_model(path: Path, largest: float, *, half: bool) -> Path:
    graph = GraphWriter()
    source = graph.tensor("image", (1, 4))
    weights = np.full((3, 4), largest, np.float32)
    with np.errstate(over="ignore"):
        stored = weights.astype(np.float16) if half else weights
    read = graph.tensor("weights", weights.shape, stored.dtype.name, data=stored)
    if half:
        read, packed = graph.tensor("weights_dequant", weights.shape), read
        graph.op("DEQUANTIZE", [packed], [read])
    out = graph.tensor("out", (1, 3))
    graph.op("FULLY_CONNECTED", [source, read, -1], [out])
    return graph.write(path, [source], [out])


@pytest.mark.parametrize("try_fixes", [False, True])
def test_weights_that_float16_cannot_hold_have_one_fix(try_fixes: bool, tmp_path: Path) -> None:
    well = half_model(tmp_path / "well.tflite", 2e5, half=False)
    sick = half_model(tmp_path / "sick.tflite", 2e5, half=True)

    found = compare_models(well, sick, None, try_fixes=try_fixes)

    finding = next(one for one in found.findings if one.code == "output.non_finite")
    fixes = [cause.fix["action"] for cause in found.causes if cause.code == "conversion.weights"]
    assert fixes == ["keep the constant in float32: float16 ends at 65504"]
    assert finding.fix.startswith(fixes[0]) and "inputs" not in finding.fix


def test_samples_that_do_not_fit_head_the_reasons(tmp_path: Path) -> None:
    model, sick = linear_model(tmp_path, 1 / 127.5, -1.0), tmp_path / "sick.tflite"
    content = bytearray(model.read_bytes())
    weights = np.asarray(read_model(model).constant(largest_constant(model)), np.float32).tobytes()
    at = bytes(content).index(weights)
    content[at : at + len(weights)] = (-np.frombuffer(weights, np.float32)).tobytes()
    sick.write_bytes(content)
    found = digits()
    np.savez(tmp_path / "samples.npz", x=(found.raw[TEST] / 255.0).astype(np.float32), y=found.y[TEST])

    comparison = compare_models(model, sick, tmp_path / "samples.npz", look=True, max_samples=300)

    assert comparison.verdict == "broken"
    assert comparison.reasons[0].startswith("input.range: the samples do not fit the reference")
    same = compare_models(model, model, tmp_path / "samples.npz", look=True, max_samples=300)
    finding = next(one for one in same.findings if one.code == "input.range")
    assert same.verdict == "healthy" and same.reasons == () and "--pipeline" in finding.fix


def largest_constant(model: Path) -> TensorFacts:
    return max((one for one in read_model(model).tensors if one.is_constant), key=lambda one: int(np.prod(one.shape)))


@pytest.mark.parametrize("look", [False, True])
def test_samples_are_looked_at_where_that_is_asked_for(look: bool, tmp_path: Path) -> None:
    model = linear_model(tmp_path, 1 / 127.5, -1.0)
    found = digits()
    np.savez(tmp_path / "samples.npz", x=(found.raw[TEST] / 255.0).astype(np.float32), y=found.y[TEST])

    comparison = compare_models(model, model, tmp_path / "samples.npz", look=look, max_samples=300)

    codes = [one.code for one in comparison.findings]
    assert ("input.range" in codes) is look
    if look:
        finding = next(one for one in comparison.findings if one.code == "input.range")
        assert finding.evidence["pipeline"]["steps"] == [{"op": "normalize", "scale": 2.0, "offset": -1.0}]


def test_labels_that_nothing_uses_are_said(tmp_path: Path) -> None:
    model = mask_model(tmp_path / "m.tflite")
    np.savez(tmp_path / "samples.npz", x=RNG.uniform(size=(8, 12)).astype(np.float32), y=RNG.uniform(size=(8, 5)))

    found = compare_models(model, model, tmp_path / "samples.npz")

    assert [one.code for one in found.findings] == ["labels.unused"]
