"""Models with dynamic dimensions are measured in the shapes that are given: with the real runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from support.graphs import GraphWriter, dense_model
from support.open_models import conv_model, sum_model
from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.farm_dispatcher.adapters.benchmark import measure_model as benchmark
from windtunnel.farm_dispatcher.adapters.benchmark.benchmark_log import render
from windtunnel.farm_dispatcher.adapters.benchmark.measure_model import Procedure
from windtunnel.farm_dispatcher.adapters.benchmark.measurement import Measured, Series

SHORT = Procedure(Series(1, 0.0, 3, 1.0), Series(9, 0.0, 20, 5.0))


def measure(model: Path, shapes: dict[str, tuple[int, ...]] | None = None, accelerator: str = "xnnpack") -> Measured:
    return benchmark.measure(model, accelerator, 1, shapes, SHORT)


@pytest.mark.heavy
@pytest.mark.parametrize("accelerator", ["xnnpack", "cpu"])
@pytest.mark.parametrize("name", ["image", "in_0", ""])
def test_an_open_model_runs_in_the_given_shape(tmp_path: Path, accelerator: str, name: str) -> None:
    model = conv_model(tmp_path / "m.tflite")
    small, large = measure(model, None, accelerator), measure(model, {name: (1, 64, 48, 3)}, accelerator)
    assert (small.input_shapes, small.shapes_known) == ({"image": (1, 1, 1, 3)}, False)
    assert (large.input_shapes, large.shapes_known) == ({"image": (1, 64, 48, 3)}, True)
    # 3072 times the work; other work on the machine may disturb either.
    assert sorted(large.inference_us)[0] > 5 * sorted(small.inference_us)[0]


@pytest.mark.heavy
def test_a_model_that_cannot_run_with_open_dimensions_of_one_asks_for_a_shape(tmp_path: Path) -> None:
    model = conv_model(tmp_path / "m.tflite", padding="VALID")
    with pytest.raises(InvalidInput, match=r"input shape 1x1x1x3 \(dynamic dimensions taken as 1\)") as refused:
        measure(model)
    assert "--shape" in refused.value.hint
    assert measure(model, {"image": (1, 20, 30, 3)}).shapes_known


@pytest.mark.heavy
def test_names_that_the_converter_wraps_are_found(tmp_path: Path) -> None:
    model = conv_model(tmp_path / "m.tflite", name="serving_default_photo:0")
    assert measure(model, {"photo": (1, 8, 8, 3)}).input_shapes == {"serving_default_photo:0": (1, 8, 8, 3)}


@pytest.mark.heavy
def test_an_open_batch_alone_is_one_sample(tmp_path: Path) -> None:
    found = measure(dense_model(tmp_path / "m.tflite"))
    assert (found.input_shapes, found.shapes_known) == ({"input": (1, 8)}, True)


@pytest.mark.heavy
def test_one_open_input_of_several(tmp_path: Path) -> None:
    model = sum_model(tmp_path / "m.tflite", {"signal": (1, -1), "scale": (1, 1)})
    assert not measure(model).shapes_known
    found = measure(model, {"signal": (1, 4000)})
    assert (found.input_shapes, found.shapes_known) == ({"signal": (1, 4000), "scale": (1, 1)}, True)


@pytest.mark.heavy
def test_an_input_of_one_open_dimension(tmp_path: Path) -> None:
    model = sum_model(tmp_path / "m.tflite", {"signal": (-1,), "scale": (1,)}, out=(1,))
    assert not measure(model).shapes_known
    assert measure(model, {"signal": (16000,)}).input_shapes["signal"] == (16000,)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (
            {"image": (1, 8, 8)},
            r"'image' the shape \[1, 8, 8\]; the input takes \[1, any, any, 3\]: 4 dimensions, not 3",
        ),
        ({"image": (1, 8, 8, 4)}, r"the input takes \[1, any, any, 3\]: dimension 4 must be 3, not 4"),
        ({"photo": (1, 8, 8, 3)}, "'photo', which is not an input"),
        ({"image": (1, 8, 8, 3), "in_0": (1, 9, 9, 3)}, "two shapes"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(tmp_path: Path, shapes: dict[str, tuple[int, ...]], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        measure(conv_model(tmp_path / "m.tflite"), shapes)


def test_a_shape_that_the_model_cannot_run_with_is_named(tmp_path: Path) -> None:
    model = sum_model(tmp_path / "m.tflite", {"left": (1, -1), "right": (1, 4)})
    with pytest.raises(InvalidInput, match="refuses the model with input shape left 1x3, right 1x4"):
        measure(model, {"left": (1, 3)}, "cpu")


def test_an_input_that_takes_text_is_named(tmp_path: Path) -> None:
    writer = GraphWriter()
    text, output = writer.tensor("sentence", (1,), "string"), writer.tensor("out", (1,), "string")
    writer.op("RESHAPE", [text], [output])
    model = writer.write(tmp_path / "m.tflite", [text], [output])
    with pytest.raises(Unsupported, match="input 'sentence' takes text"):
        measure(model, None, "cpu")


@pytest.mark.heavy
def test_a_small_table_is_read_at_its_first_row(tmp_path: Path) -> None:
    writer = GraphWriter()
    tokens = writer.tensor("tokens", (1, 32), "int32")
    table = writer.tensor("table", (5, 4), data=np.ones((5, 4), np.float32))
    output = writer.tensor("rows", (1, 32, 4))
    writer.op("GATHER", [table, tokens], [output], schema.GatherOptionsT())
    found = measure(writer.write(tmp_path / "m.tflite", [tokens], [output]), None, "cpu")
    assert found.inference_us
    assert found.zeroed_inputs == ("tokens",)
    assert "inputs of 0: tokens" in render(found)


@pytest.mark.heavy
def test_a_table_with_a_row_for_every_index_is_read_at_random(tmp_path: Path) -> None:
    writer = GraphWriter()
    tokens = writer.tensor("tokens", (1, 32), "int32")
    table = writer.tensor("table", (100, 4), data=np.ones((100, 4), np.float32))
    output = writer.tensor("rows", (1, 32, 4))
    writer.op("GATHER", [table, tokens], [output], schema.GatherOptionsT())
    found = measure(writer.write(tmp_path / "m.tflite", [tokens], [output]), None, "cpu")
    assert found.zeroed_inputs == ()
    assert "inputs of 0" not in render(found)
