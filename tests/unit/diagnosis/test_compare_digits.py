"""compare_models on a trained CNN and what litert-quantizer made of it."""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from support.models import VARIANTS, DigitsModels
from windtunnel.diagnosis import compare_models
from windtunnel.tflite import read_model

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_healthy_and_covered(digits: DigitsModels, variant: str) -> None:
    result = compare_models(digits.float32, digits.variants[variant], digits.samples)
    assert result.verdict == "healthy", result.reasons
    assert result.coverage.compared == result.coverage.total == 11
    assert result.coverage.unmatched_reference == ()
    assert result.output.reference is not None
    assert result.output.reference.top1 > 0.95
    assert result.output.accuracy_drop is not None
    assert abs(result.output.accuracy_drop) <= 0.02


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_healthy_on_random_inputs(digits: DigitsModels, variant: str) -> None:
    # Outside the calibrated [0, 1] an int8 model would clip what the float model does not.
    result = compare_models(digits.float32, digits.variants[variant], None)
    assert result.verdict == "healthy", result.reasons
    assert result.settings.synthetic is True
    assert result.settings.calibration_problem.startswith("random inputs") == (variant in ("int8", "int16x8"))
    if variant == "int8":
        assert "they fill the ranges of the models' inputs, 0 to " in result.settings.calibration_problem
    assert result.output.accuracy_drop is None


def test_calibration_is_judged_on_enough_samples_only(digits: DigitsModels) -> None:
    few, enough = (
        compare_models(digits.float32, digits.variants["int8"], digits.samples, max_samples=count) for count in (3, 4)
    )
    assert few.settings.calibration_problem.startswith("3 of at least 4 samples")
    assert enough.settings.calibration_problem == ""
    assert "quantization.calibration_wide" in {one.code for one in enough.excluded}
    assert "quantization.calibration_wide" not in {one.code for one in few.excluded}


@pytest.mark.parametrize("variant", ["int8", "float32"])
def test_delegates_give_the_same_picture(digits: DigitsModels, variant: str) -> None:
    candidate = digits.variants[variant]
    plain, fast = (
        compare_models(digits.float32, candidate, digits.samples, max_samples=50, accelerator=accelerator)
        for accelerator in ("none", "xnnpack")
    )
    for a, b in zip(plain.layers, fast.layers, strict=True):
        assert a.name == b.name
        assert a.nrmse == pytest.approx(b.nrmse, abs=0.015)


def test_a_broken_scale_is_found_where_it_is(digits: DigitsModels, tmp_path: Path) -> None:
    facts = read_model(digits.variants["int8"])
    depthwise = [op for op in facts.ops if op.name == "DEPTHWISE_CONV_2D"][1]
    broken = _scale_weights(digits.variants["int8"], depthwise.inputs[1], 4.0, tmp_path / "broken.tflite")
    result = compare_models(digits.float32, broken, digits.samples)
    assert result.verdict == "broken"
    assert result.first_over is not None
    assert result.first_over.op_index == depthwise.index
    assert result.output.accuracy_drop is not None
    assert result.output.accuracy_drop > 0.02


def _scale_weights(path: Path, tensor: int, factor: float, target: Path) -> Path:
    """The model with one constant's scales multiplied, and the bias scales that go with them left."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    quantization = model.subgraphs[0].tensors[tensor].quantization
    quantization.scale = np.asarray(quantization.scale) * np.float32(factor)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    target.write_bytes(bytes(builder.Output()))
    return target
