"""What a model says of the values that it is made for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from support.graphs import GraphWriter
from support.linear_digits import linear_model
from windtunnel.datacheck.metadata import NAME, InputMetadata, input_metadata
from windtunnel.datacheck.ranges import ValueRange, expected_range, mismatch
from windtunnel.tflite import ModelFacts, read_model


def metadata(mean: list[float], std: list[float], low: list[float], high: list[float]) -> bytes:
    """TFLite metadata of one input, written as tflite-support writes it."""
    builder = flatbuffers.Builder()

    def numbers(values: list[float]) -> Any:
        return builder.CreateNumpyVector(np.asarray(values, np.float32))

    def table(slots: int, **fields: Any) -> Any:
        builder.StartObject(slots)
        for slot, value in fields.items():
            if isinstance(value, tuple):
                builder.PrependUint8Slot(int(slot[1:]), value[0], 0)
            else:
                builder.PrependUOffsetTRelativeSlot(int(slot[1:]), value, 0)
        return builder.EndObject()

    def vector(item: Any) -> Any:
        builder.StartVector(4, 1, 4)
        builder.PrependUOffsetTRelative(item)
        return builder.EndVector()

    options = table(2, _0=numbers(mean), _1=numbers(std)) if mean else None
    units = vector(table(2, _0=(1,), _1=options)) if options is not None else None
    stats = table(2, _0=numbers(high), _1=numbers(low)) if low else None
    fields = {"_4": units, "_5": stats}
    tensor = table(7, **{slot: value for slot, value in fields.items() if value is not None})
    graph = table(9, _2=vector(tensor))
    builder.Finish(table(8, _3=vector(graph)), b"M001")
    return bytes(builder.Output())


def with_metadata(path: Path, content: bytes) -> ModelFacts:
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer = NAME, len(model.buffers)
    buffer.data = np.frombuffer(content, np.uint8)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return read_model(path)


def test_normalization_of_the_metadata(tmp_path: Path) -> None:
    model = with_metadata(linear_model(tmp_path, 1 / 127.5, -1.0), metadata([127.5], [127.5], [], []))

    assert input_metadata(model) == [InputMetadata((127.5,), (127.5,))]
    found = expected_range(model, model.inputs[0])
    assert found is not None
    assert (found.values, "metadata" in found.source) == (ValueRange(-1.0, 1.0), True)


def test_observed_values_of_the_metadata(tmp_path: Path) -> None:
    model = with_metadata(linear_model(tmp_path, 1 / 255, 0.0), metadata([], [], [0.0], [1.0]))

    found = expected_range(model, model.inputs[0])
    assert found is not None
    assert found.values == ValueRange(0.0, 1.0)


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, metadata([1.0], [2.0], [], [])[:40]])
def test_damaged_metadata_says_nothing(content: bytes, tmp_path: Path) -> None:
    model = with_metadata(linear_model(tmp_path, 1 / 255, 0.0), content)
    assert expected_range(model, model.inputs[0]) is None


@pytest.mark.parametrize(
    ("scale", "offset", "values"),
    [
        (1 / 255, 0.0, ValueRange(0.0, 255.0)),
        (1 / 127.5, -1.0, ValueRange(0.0, 255.0)),
        # Caffe's mean, ImageNet's normalization of 0 to 1.
        (1.0, -117.0, ValueRange(0.0, 255.0)),
        (1 / 0.225, -0.45 / 0.225, ValueRange(0.0, 1.0)),
        # Not a rescaling of images.
        (0.5, 0.0, None),
        (1.0, 0.01, None),
    ],
)
def test_a_leading_rescaling(scale: float, offset: float, values: ValueRange | None, tmp_path: Path) -> None:
    model = read_model(linear_model(tmp_path, scale, offset, leading=True))

    found = expected_range(model, model.inputs[0])

    if values is None:
        assert found is None
    else:
        assert found is not None
        assert (found.values.low, found.values.high) == pytest.approx((values.low, values.high), rel=1e-4)


@pytest.mark.parametrize("behind", [False, True])
def test_the_range_of_a_quantized_input(behind: bool, tmp_path: Path) -> None:
    graph = GraphWriter()
    source = graph.tensor("image", (1, 4)) if behind else -1
    stored = graph.tensor("stored", (1, 4), "int8", scales=[1 / 127.5], zeros=[0])
    if behind:
        graph.op("QUANTIZE", [source], [stored], schema.QuantizeOptionsT())
    out = graph.tensor("out", (1, 4))
    graph.op("DEQUANTIZE", [stored], [out], schema.DequantizeOptionsT())
    model = read_model(graph.write(tmp_path / "m.tflite", [source if behind else stored], [out]))

    found = expected_range(model, model.inputs[0])

    assert found is not None
    assert found.values.low == pytest.approx(-1.0, abs=0.01) and found.values.high == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("found", "expected", "strange"),
    [
        ((0, 255), (-1, 1), True),
        ((0, 1), (-1, 1), True),
        ((0, 1), (0, 255), True),
        ((-1, 1), (0, 255), True),
        ((-0.98, 1), (-1, 1), False),
        ((0, 255), (0, 255), False),
        ((0, 200), (0, 255), False),
        ((-2.1, 2.6), (-2.2, 2.7), False),
        # A few values out of what calibration has seen.
        ((-1.3, 1.2), (-1, 1), False),
    ],
)
def test_values_that_do_not_fit(found: tuple[float, float], expected: tuple[float, float], strange: bool) -> None:
    assert bool(mismatch(ValueRange(*found), ValueRange(*expected))) is strange


@pytest.mark.parametrize(
    ("mean", "std", "values"),
    [
        ([127.5], [127.5], ValueRange(-1.0, 1.0)),
        # One number holds for all channels.
        ([0.0, 51.0, 102.0], [51.0], ValueRange(-2.0, 5.0)),
        ([0.0], [51.0, 255.0], ValueRange(0.0, 5.0)),
        ([0.0, 51.0, 102.0], [51.0, 51.0, 51.0], ValueRange(-2.0, 5.0)),
        # Two of three channels say nothing of the third.
        ([0.0, 51.0, 102.0], [51.0, 255.0], None),
    ],
)
def test_mean_and_deviation_belong_to_the_same_channels(
    mean: list[float], std: list[float], values: ValueRange | None, tmp_path: Path
) -> None:
    model = with_metadata(linear_model(tmp_path, 1 / 255, 0.0), metadata(mean, std, [], []))
    found = expected_range(model, model.inputs[0])
    assert (None if found is None else found.values) == values
