"""What a file is, by its tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.graphs import GraphWriter, dense_model
from windtunnel.diagnosis.quantize import litert_quantizer as litert
from windtunnel.diagnosis.quantize.variants import Calibration
from windtunnel.plan import VariantSpec
from windtunnel.service.protobuf_values import facts_to_proto
from windtunnel.tflite import precision, read_model


@pytest.mark.parametrize("name", ["float32", "float16", "dynamic_range", "int8", "int16x8"])
def test_every_built_in_variant_is_recognized(name: str, tmp_path: Path) -> None:
    model = dense_model(tmp_path / "model.tflite")
    if name != "float32":
        np.savez(tmp_path / "x.npz", x=np.random.default_rng(1).normal(size=(10, 8)).astype(np.float32))
        calibration = Calibration(tmp_path / "x.npz") if name.startswith("int") else None
        litert.quantize(model, tmp_path / "made.tflite", VariantSpec(name), calibration, None)
        model = tmp_path / "made.tflite"
    assert precision(read_model(model)) == name
    assert facts_to_proto(read_model(model)).precision == name


def test_an_unsigned_model_is_int8_too(tmp_path: Path) -> None:
    graph = GraphWriter()
    source = graph.tensor("in", (1, 4), "uint8", scales=[0.1], zeros=[128])
    out = graph.tensor("out", (1, 4), "uint8", scales=[0.1], zeros=[128])
    graph.op("RELU", [source], [out])
    assert precision(read_model(graph.write(tmp_path / "m.tflite", [source], [out]))) == "int8"


def test_integers_without_a_scale_are_no_quantization(tmp_path: Path) -> None:
    graph = GraphWriter()
    source = graph.tensor("tokens", (1, 4), "int32")
    shape = graph.tensor("shape", (2,), "int32", data=np.array([4, 1], np.int32))
    out = graph.tensor("out", (4, 1), "int32")
    graph.op("RESHAPE", [source, shape], [out])
    assert precision(read_model(graph.write(tmp_path / "m.tflite", [source], [out]))) == "float32"
