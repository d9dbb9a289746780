"""What can be made from what: rules of the quantizer without any native code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.graphs import GraphWriter, dense_model
from windtunnel.diagnosis.quantize import litert_quantizer as litert
from windtunnel.diagnosis.quantize.variants import (
    choose_calibration,
    needs_calibration,
    require_quantized,
)
from windtunnel.errors import InvalidInput
from windtunnel.plan import VariantSpec
from windtunnel.tflite import read_model

STATIC = {"compute_precision": "INTEGER", "activation_tensor_config": {"num_bits": 8}}
DYNAMIC = {"compute_precision": "INTEGER", "weight_tensor_config": {"num_bits": 8}}


def recipe(algorithm: str, config: Any) -> VariantSpec:
    rule = {"regex": ".*", "operation": "*", "algorithm_key": algorithm, "op_config": config}
    return VariantSpec("made", recipe=({**rule, "op_config": DYNAMIC}, rule))


@pytest.mark.parametrize(
    ("variant", "needed"),
    [
        (VariantSpec("float32"), False),
        (VariantSpec("float16"), False),
        (VariantSpec("dynamic_range"), False),
        (VariantSpec("int8"), True),
        (VariantSpec("int16x8"), True),
        (recipe("min_max_uniform_quantize", DYNAMIC), False),
        (recipe("min_max_uniform_quantize", STATIC), True),
        (recipe("min_max_uniform_quantize", {**STATIC, "compute_precision": "FLOAT"}), False),
        (recipe("GPTQ", DYNAMIC), True),
        (recipe("no_quantize", None), False),
    ],
)
def test_static_quantization_needs_calibration(variant: VariantSpec, needed: bool) -> None:
    assert needs_calibration(variant) is needed


@pytest.mark.parametrize(
    ("variant", "calibration", "samples", "chosen"),
    [
        ("float16", "calibration", "samples", (None, False)),
        ("int8", "calibration", "samples", ("calibration", False)),
        ("int8", "calibration", None, ("calibration", False)),
        ("int8", None, "samples", ("samples", True)),
    ],
)
def test_calibration_is_drawn_from_the_samples_only_where_there_is_none(
    variant: str, calibration: str | None, samples: str | None, chosen: tuple[str | None, bool]
) -> None:
    assert choose_calibration(VariantSpec(variant), calibration, samples) == chosen


def test_no_calibration_at_all_says_what_to_give() -> None:
    with pytest.raises(InvalidInput, match="int16x8") as error:
        choose_calibration(VariantSpec("int16x8"), None, None)
    assert "data.calibration" in error.value.hint


def quantized_model(path: Path) -> Path:
    writer = GraphWriter()
    source = writer.tensor("in", (1, 4), "int8", scales=[0.1])
    output = writer.tensor("out", (1, 4), "int8", scales=[0.2])
    writer.op("RELU", [source], [output])
    return writer.write(path, [source], [output])


def half_model(path: Path) -> Path:
    writer = GraphWriter()
    source = writer.tensor("in", (1, 4))
    half = writer.tensor("half", (4,), "float16", data=np.ones(4))
    wide = writer.tensor("wide", (4,))
    output = writer.tensor("out", (1, 4))
    writer.op("DEQUANTIZE", [half], [wide])
    writer.op("ADD", [source, wide], [output])
    return writer.write(path, [source], [output])


@pytest.mark.parametrize("write", [quantized_model, half_model])
def test_what_is_quantized_counts_as_a_variant(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    require_quantized(read_model(write(tmp_path / "m.tflite")), VariantSpec("made"))


@pytest.mark.parametrize(("write", "tensor"), [(quantized_model, "in"), (half_model, "half")])
def test_a_quantized_model_cannot_be_quantized_again(
    tmp_path: Path, write: Callable[[Path], Path], tensor: str
) -> None:
    with pytest.raises(InvalidInput, match=rf"already \(tensor '{tensor}'.*'int8' cannot be made") as error:
        litert.quantize(write(tmp_path / "m.tflite"), tmp_path / "q.tflite", VariantSpec("int8"), None, None)
    assert "submit the float model" in error.value.hint
    assert error.value.code == "already_quantized"


def test_a_variant_that_changed_nothing_is_no_variant(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="'made' changed nothing"):
        require_quantized(read_model(dense_model(tmp_path / "float.tflite")), VariantSpec("made"))
