"""compare_models on real models with faults put into one of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from jsonschema import Draft202012Validator
from litert_quantizer import quantizer, recipe
from numpy.typing import NDArray

from support.graphs import DenseWeights, GraphWriter, dense_model
from windtunnel import schemas
from windtunnel.diagnosis import Comparison, compare_models
from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.divergence import Limit
from windtunnel.diagnosis.graph import match_layers
from windtunnel.diagnosis.rules.non_finite_causes import causes_of_non_finite
from windtunnel.errors import InvalidInput
from windtunnel.isolation import ChildPool, Progress
from windtunnel.tflite import read_model


def _check(result: Comparison) -> dict[str, object]:
    """The diagnosis as strict JSON that fits the schema."""
    text = json.dumps(result.to_json(), allow_nan=False)
    diagnosis: dict[str, object] = json.loads(text)
    Draft202012Validator(schemas.load("diagnosis")).validate(diagnosis)
    return diagnosis


def test_a_model_equals_itself(dense: Path, samples: Path) -> None:
    result = compare_models(dense, dense, samples)
    assert (result.verdict, result.reasons, result.causes) == ("healthy", (), ())
    assert [(layer.name, layer.op, layer.op_index, layer.nrmse) for layer in result.layers] == [
        ("hidden_1", "FULLY_CONNECTED", 0, 0.0),
        ("hidden_2", "FULLY_CONNECTED", 1, 0.0),
        ("logits", "FULLY_CONNECTED", 2, 0.0),
        ("probabilities", "SOFTMAX", 3, 0.0),
    ]
    assert (result.coverage.compared, result.coverage.total) == (4, 4)
    assert result.output.agreement == 1.0
    assert result.output.accuracy_drop == 0.0
    assert result.output.reference is not None
    assert result.output.reference.top1 == 1.0
    assert result.first_over is None
    diagnosis = _check(result)
    assert diagnosis["coverage"]["unmatched"] == []  # type: ignore[index]


def test_figures_are_those_of_the_definition(tmp_path: Path, dense: Path, samples: Path) -> None:
    weights = DenseWeights.random()
    changed = replace(weights, first=weights.first * np.float32(1.1))
    result = compare_models(dense, dense_model(tmp_path / "c.tflite", changed), samples, max_samples=7)
    x = np.load(samples)["x"][:7].astype(np.float64)
    a, b = (np.maximum(x @ w.first.T.astype(np.float64), 0) for w in (weights, changed))
    expected = np.sqrt(((a - b) ** 2).mean()) / max(np.ptp(a), np.ptp(b))
    assert result.samples == 7
    assert result.layers[0].nrmse == pytest.approx(expected, rel=1e-5)
    assert result.layers[0].metrics["max_abs"] == pytest.approx(np.abs(a - b).max(), rel=1e-5)


def test_the_first_bad_layer_is_found(tmp_path: Path, dense: Path, samples: Path) -> None:
    weights = DenseWeights.random()
    bad = replace(weights, second=-weights.second)
    result = compare_models(dense, dense_model(tmp_path / "c.tflite", bad), samples)
    assert result.verdict == "broken"
    assert result.first_over is not None
    assert (result.first_over.name, result.first_over.op_index) == ("hidden_2", 1)
    assert result.layers[0].nrmse == 0.0
    assert result.output.accuracy_drop is not None
    assert result.output.accuracy_drop > 0.1
    diagnosis = _check(result)
    assert diagnosis["first_over"] == {"layer": "hidden_2", "op_index": 1}


def test_the_threshold_decides(tmp_path: Path, dense: Path, samples: Path) -> None:
    weights = DenseWeights.random()
    candidate = dense_model(tmp_path / "c.tflite", replace(weights, first=weights.first * np.float32(1.02)))
    assert compare_models(dense, candidate, samples).first_over is None
    strict = compare_models(dense, candidate, samples, threshold=1e-4)
    assert strict.verdict == "degraded"
    assert strict.first_over is not None
    assert strict.first_over.name == "hidden_1"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_bad_constant_is_named(tmp_path: Path, dense: Path, samples: Path, value: float) -> None:
    weights = DenseWeights.random()
    third = weights.third.copy()
    third[1:3] = value
    result = compare_models(dense, dense_model(tmp_path / "n.tflite", replace(weights, third=third)), samples)
    assert result.verdict == "broken"
    (cause,) = result.causes
    assert (cause.code, cause.layer, cause.op_index) == ("conversion.weights", "logits", 2)
    assert cause.evidence["non_finite"]["values"] > 0
    # With the fix it is right, so the fault is proven; NaN is not a figure.
    assert (cause.evidence["local_nrmse"], cause.evidence["local_nrmse_mended"], cause.verified) == (None, 0.0, True)
    assert cause.evidence["constant"] == "logits/weights"
    assert (result.layers[2].nrmse, result.layers[2].problem) == (None, "non_finite")
    assert result.non_finite == sum(layer.problem == "non_finite" for layer in result.layers) >= 1
    # The output shows it if no layer was compared.
    assert replace(result, layers=()).non_finite == 1
    assert [layer.nrmse for layer in result.layers[:2]] == [0.0, 0.0]
    assert result.output.candidate is None
    assert result.output.reference is not None
    _check(result)


def test_a_fault_before_the_first_nan_is_not_blamed_on_the_kernel(tmp_path: Path, dense: Path, samples: Path) -> None:
    weights = DenseWeights.random()
    huge = replace(weights, second=np.full_like(weights.second, 3e38))
    result = compare_models(dense, dense_model(tmp_path / "h.tflite", huge), samples)
    assert result.verdict == "broken"
    assert [(cause.code, cause.layer) for cause in result.causes] == [("conversion.weights", "hidden_2")]
    assert result.first_over is not None
    assert result.first_over.name == "hidden_2"
    _check(result)


def _causes_of_nan_in_hidden_2(reference: Path, candidate: Path, samples: Path) -> tuple[Cause, ...]:
    """The causes if hidden_2 gave NaN, which no model of finite constants does on this machine's kernels."""
    ours, theirs = read_model(reference), read_model(candidate)
    layers = list(compare_models(reference, candidate, samples, max_samples=2).layers)
    layers[1] = replace(layers[1], metrics={"nrmse": None}, problem="non_finite", non_finite=3)
    return causes_of_non_finite(layers, match_layers(ours, theirs).pairs, ours, theirs, Limit(0.1))


def test_nan_with_another_constant_is_the_conversion(tmp_path: Path, dense: Path, samples: Path) -> None:
    weights = DenseWeights.random()
    doubled = dense_model(tmp_path / "d.tflite", replace(weights, second=weights.second * np.float32(2)))
    (cause,) = _causes_of_nan_in_hidden_2(dense, doubled, samples)
    assert (cause.code, cause.evidence["constant"]) == ("conversion.weights", "hidden_2/weights")


def test_nan_without_another_explanation_is_the_kernel(dense: Path, samples: Path) -> None:
    (cause,) = _causes_of_nan_in_hidden_2(dense, dense, samples)
    assert (cause.code, cause.layer, cause.op_index) == ("kernel", "hidden_2", 1)
    assert cause.evidence == {"non_finite": {"values": 3, "op": "FULLY_CONNECTED"}}


def test_non_finite_on_both_sides_is_no_cause(tmp_path: Path, samples: Path) -> None:
    weights = DenseWeights.random()
    bad = replace(weights, second=np.full_like(weights.second, np.nan))
    path = dense_model(tmp_path / "n.tflite", bad)
    result = compare_models(path, path, samples)
    assert result.causes == ()
    # There is nothing to judge these layers by.
    assert [layer.name for layer in result.layers] == ["hidden_1"]
    assert [one.name for one in result.coverage.unmatched] == ["hidden_2", "logits", "probabilities"]
    assert all("the reference holds NaN" in one.reason for one in result.coverage.unmatched)
    assert result.verdict == "degraded"
    assert "every output of the reference holds NaN" in result.reasons[0]


def _constant_model(path: Path, value: float) -> Path:
    writer = GraphWriter()
    source = writer.tensor("input", (1, 8))
    output = writer.dense("flat", source, np.zeros((4, 8)), np.full(4, value))
    return writer.write(path, [source], [output])


def test_layers_without_a_range(tmp_path: Path, samples: Path) -> None:
    one, same, two = (_constant_model(tmp_path / f"{n}.tflite", v) for n, v in enumerate((1.0, 1.0, 2.0)))
    equal, different = compare_models(one, same, samples), compare_models(one, two, samples)
    assert (equal.layers[0].nrmse, equal.layers[0].problem) == (0.0, None)
    assert (different.layers[0].nrmse, different.layers[0].problem) == (None, "constant_differs")
    assert different.verdict != "healthy"
    _check(different)


def test_labels_are_optional(tmp_path: Path, dense: Path, samples: Path) -> None:
    bare = tmp_path / "bare.npz"
    np.savez(bare, x=np.load(samples)["x"])
    result = compare_models(dense, dense, bare)
    assert (result.output.reference, result.output.candidate, result.output.accuracy_drop) == (None, None, None)
    assert result.output.agreement == 1.0
    _check(result)


def _quantized(path: Path, variant: str, x: NDArray[np.float32]) -> Path:
    recipes = {
        "dynamic_range": recipe.dynamic_wi8_afp32,
        "int8": recipe.static_wi8_ai8,
        "int16x8": recipe.static_wi8_ai16,
    }
    work = quantizer.Quantizer(str(path), recipes[variant]())
    statistics = None
    if work.need_calibration:
        statistics = work.calibrate({"serving_default": [{"in_0": one[None]} for one in x]})
    made = path.with_name(f"{variant}.tflite")
    made.write_bytes(work.quantize(statistics).quantized_model)
    return made


@pytest.mark.parametrize(("variant", "limit"), [("dynamic_range", 0.03), ("int8", 0.10), ("int16x8", 0.10)])
@pytest.mark.filterwarnings("ignore:Warning. Enabling `experimental_preserve_all_tensors`:UserWarning")
def test_quantized_variants_are_covered_fully(dense: Path, samples: Path, variant: str, limit: float) -> None:
    candidate = _quantized(dense, variant, np.load(samples)["x"])
    result = compare_models(dense, candidate, samples)
    assert (result.coverage.compared, result.coverage.total) == (4, 4)
    assert result.coverage.unmatched_reference == ()
    assert result.max_nrmse is not None
    assert 0.0 < result.max_nrmse < limit


def test_two_inputs_pair_by_name_not_by_place(tmp_path: Path) -> None:
    def subtract(path: Path, *, swapped: bool) -> Path:
        writer = GraphWriter()
        a, b, out = (writer.tensor(name, (1, 3)) for name in ("a", "b", "out"))
        writer.op("SUB", [a, b], [out], schema.SubOptionsT())
        return writer.write(path, [b, a] if swapped else [a, b], [out], signature=False)

    samples = tmp_path / "s.npz"
    draw = np.random.default_rng(0)
    arrays: dict[str, Any] = {f"x/{name}": draw.normal(size=(5, 3)).astype(np.float32) for name in "ab"}
    np.savez(samples, **arrays)
    first, second = (subtract(tmp_path / f"{s}.tflite", swapped=s) for s in (False, True))
    assert compare_models(first, second, samples).max_nrmse == 0.0


def test_stored_integers_are_taken_as_they_are(tmp_path: Path) -> None:
    """Samples of the quantized input's own type are stored values, also for the other, float model."""

    def relu(path: Path, dtype: str, scales: list[float]) -> Path:
        writer = GraphWriter()
        source = writer.tensor("a", (1, 4), dtype, scales=scales)
        output = writer.tensor("b", (1, 4), dtype, scales=scales)
        writer.op("RELU", [source], [output], version=2)
        return writer.write(path, [source], [output])

    whole, real = relu(tmp_path / "q.tflite", "int8", [0.5]), relu(tmp_path / "f.tflite", "float32", [])
    samples = tmp_path / "s.npz"
    np.savez(samples, x=np.random.default_rng(0).integers(-100, 100, (6, 4)).astype(np.int8))
    assert compare_models(whole, real, samples).max_nrmse == 0.0


def test_raw_images_go_through_the_pipeline(tmp_path: Path) -> None:
    writer = GraphWriter()
    source, output = writer.tensor("a", (1, 2, 2, 3)), writer.tensor("b", (1, 2, 2, 3))
    writer.op("RELU", [source], [output])
    model = writer.write(tmp_path / "m.tflite", [source], [output])
    samples = tmp_path / "s.npz"
    np.savez(samples, x=np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3)).astype(np.uint8))
    steps = [{"op": "resize", "size": [2, 2], "method": "bilinear"}, {"op": "normalize", "scale": 1.0, "offset": 1.0}]
    pipeline = {"schema": "windtunnel.pipeline/1", "task": "classification", "steps": steps}
    result = compare_models(model, model, samples, pipeline)
    assert result.layers[0].nrmse == 0.0
    assert result.layers[0].metrics["range"] is not None
    assert result.layers[0].metrics["range"] > 50
    with pytest.raises(InvalidInput, match="takes"):
        compare_models(model, model, samples)


def test_models_that_cannot_be_compared(tmp_path: Path, dense: Path, samples: Path) -> None:
    writer = GraphWriter()
    a, b, out = writer.tensor("a", (1, 8)), writer.tensor("b", (1, 8)), writer.tensor("out", (1, 8))
    writer.op("ADD", [a, b], [out], schema.AddOptionsT())
    two = writer.write(tmp_path / "two.tflite", [a, b], [out])
    with pytest.raises(InvalidInput, match="2 inputs"):
        compare_models(dense, two, samples)
    with pytest.raises(InvalidInput, match="threshold"):
        compare_models(dense, dense, samples, threshold=0.0)
    with pytest.raises(InvalidInput, match="max_samples"):
        compare_models(dense, dense, samples, max_samples=0)


@pytest.mark.heavy
async def test_runs_as_a_job_and_reports_progress(dense: Path, samples: Path) -> None:
    seen: list[Progress] = []
    async with ChildPool(timeout_s=60, memory_mb=1000) as pool:
        result = await pool.run(compare_models, dense, dense, samples, max_samples=5, on_progress=seen.append)
    assert result.verdict == "healthy"
    assert [one.fraction for one in seen] == [0.2, 0.4, 0.6, 0.8, 1.0]


def test_without_samples_seeded_random_inputs_stand_in(dense: Path) -> None:
    result = compare_models(dense, dense, None)
    assert result == compare_models(dense, dense, None)
    assert (result.verdict, result.samples, result.settings.synthetic) == ("healthy", 16, True)
    assert result.output.reference is None
    assert compare_models(dense, dense, None, max_samples=3).samples == 3
