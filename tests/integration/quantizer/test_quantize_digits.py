"""A trained classifier keeps its accuracy in every built-in variant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.models import DigitsModels, digits_model
from windtunnel.diagnosis.quantize.make_variant import quantize
from windtunnel.diagnosis.quantize.variants import Calibration
from windtunnel.isolation import ChildPool
from windtunnel.plan import VariantSpec
from windtunnel.tflite import Runner

pytestmark = pytest.mark.heavy
VARIANTS = ("float16", "dynamic_range", "int8", "int16x8")


@pytest.fixture(scope="module")
def digits() -> DigitsModels:
    return digits_model()


def accuracy(model: Path, samples: Path) -> float:
    data = np.load(samples)
    runner = Runner(model)
    source, target = runner.facts.inputs[0].name, runner.facts.outputs[0].name
    found = [int(runner.run({source: x[None]}, dequantized=True)[target].argmax()) for x in data["x"]]
    return float(np.mean(np.asarray(found) == data["y"]))


async def test_variants_of_a_trained_model_are_about_as_right(digits: DigitsModels, tmp_path: Path) -> None:
    as_trained = accuracy(digits.float32, digits.samples)
    async with ChildPool(
        preload=("windtunnel.diagnosis.quantize.litert_quantizer",), timeout_s=120, memory_mb=4000
    ) as pool:
        for name in VARIANTS:
            calibration = Calibration(digits.calibration)
            made = await quantize(digits.float32, VariantSpec(name), tmp_path, pool, calibration=calibration)
            assert made.calibration_samples == (100 if name.startswith("int") else 0)
            assert made.model.stat().st_size < digits.float32.stat().st_size
            assert accuracy(made.model, digits.samples) == pytest.approx(as_trained, abs=0.02)
