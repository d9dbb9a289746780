"""read_model: what a file says, and that no damaged file does more than raise InvalidInput."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.graphs import DenseWeights, GraphWriter, dense_model
from support.models import DigitsModels
from windtunnel.errors import InvalidInput, NotFound, Unsupported
from windtunnel.tflite import Quantization, read_model


def test_reads_ops_tensors_and_signature(dense: Path) -> None:
    model = read_model(dense)
    assert [op.name for op in model.ops] == ["FULLY_CONNECTED"] * 3 + ["SOFTMAX"]
    assert [op.index for op in model.ops] == [0, 1, 2, 3]
    assert [op.fused_activation for op in model.ops] == ["RELU", "RELU", "NONE", "NONE"]
    assert model.ops[3].options == {"beta": 1.0}
    (source,), (output,) = model.inputs, model.outputs
    assert (source.name, source.shape, source.shape_signature, source.dtype) == (
        "input",
        (1, 8),
        (-1, 8),
        "float32",
    )
    assert (output.name, output.shape, output.is_constant) == ("probabilities", (1, 4), False)
    assert model.signatures[0].inputs == {"in_0": source.index}
    assert model.signature_name(output) == "out_0"
    assert model.description == "written by a test"
    assert model.size_bytes == dense.stat().st_size


def test_facts_can_be_sent_to_another_process(dense: Path) -> None:
    model = read_model(dense)
    assert pickle.loads(pickle.dumps(model)) == model


@pytest.mark.parametrize("outside", [False, True])
def test_reads_constants_inside_and_behind_the_flatbuffer(tmp_path: Path, outside: bool) -> None:
    writer = GraphWriter(outside=outside)
    weights = np.arange(12, dtype=np.float32).reshape(3, 4)
    source = writer.tensor("x", (1, 4))
    output = writer.dense("y", source, weights, np.ones(3))
    model = read_model(writer.write(tmp_path / "m.tflite", [source], [output]))
    by_name = {tensor.name: tensor for tensor in model.tensors}
    assert by_name["y/weights"].is_constant
    assert np.array_equal(model.constant(by_name["y/weights"]), weights)
    assert np.array_equal(model.constant(by_name["y/bias"]), np.ones(3))
    with pytest.raises(InvalidInput, match="not a constant"):
        model.constant(by_name["y"])


def test_old_files_fill_only_the_deprecated_code(tmp_path: Path) -> None:
    writer = GraphWriter(old_codes=True)
    source = writer.tensor("x", (1, 4))
    output = writer.dense("y", source, np.ones((3, 4)), np.ones(3))
    model = read_model(writer.write(tmp_path / "m.tflite", [source], [output], signature=False))
    assert model.ops[0].name == "FULLY_CONNECTED"
    assert model.signatures == ()


def test_new_and_custom_codes(tmp_path: Path) -> None:
    writer = GraphWriter()
    source, middle, output = (writer.tensor(name, (1, 4)) for name in "abc")
    writer.op("GELU", [source], [middle], version=2)
    writer.op("MyOwnOp", [middle, -1], [output])
    model = read_model(writer.write(tmp_path / "m.tflite", [source], [output]))
    assert [(op.name, op.version, op.is_custom) for op in model.ops] == [
        ("GELU", 2, False),
        ("MyOwnOp", 1, True),
    ]
    assert model.ops[1].inputs == (middle, -1)


@pytest.mark.parametrize(
    ("dtype", "data", "expected"),
    [
        ("int4", bytes([0x21, 0x8F, 0x07]), [1, 2, -1, -8, 7]),
        ("int2", bytes([0b11_10_01_00, 0b01]), [0, 1, -2, -1, 1]),
        ("bfloat16", struct.pack("<5H", 0x3F80, 0xC000, 0, 0x4049, 0x7F80), [1, -2, 0, 3.140625, np.inf]),
        ("int8", bytes([1, 2, 255, 128, 7]), [1, 2, -1, -128, 7]),
    ],
)
def test_packed_constants(tmp_path: Path, dtype: str, data: bytes, expected: list[float]) -> None:
    writer = GraphWriter()
    source = writer.tensor("x", (1, 4))
    constant = writer.tensor("c", (5,), dtype, data=data)
    model = read_model(writer.write(tmp_path / "m.tflite", [source], [source]))
    assert model.constant(model.tensors[constant]).tolist() == expected


def test_constants_that_cannot_be_read(tmp_path: Path) -> None:
    writer = GraphWriter()
    source = writer.tensor("x", (1, 4))
    short = writer.tensor("short", (5,), data=np.ones(4))
    text = writer.tensor("text", (1,), "string", data=b"abc")
    model = read_model(writer.write(tmp_path / "m.tflite", [source], [source]))
    with pytest.raises(InvalidInput, match="'short' holds 16 bytes, but float32\\[5\\] takes 20"):
        model.constant(model.tensors[short])
    with pytest.raises(Unsupported, match="string"):
        model.constant(model.tensors[text])


def test_quantization_per_channel(tmp_path: Path) -> None:
    writer = GraphWriter()
    source = writer.tensor("x", (1, 2), "int8", scales=[0.5], zeros=[-3])
    writer.tensor("w", (2, 3), "int8", data=np.ones(6), scales=[0.25, 0.5, 1.0], axis=1)
    model = read_model(writer.write(tmp_path / "m.tflite", [source], [source]))
    assert model.inputs[0].quantization == Quantization((0.5,), (-3,), 0)
    assert model.tensors[1].quantization == Quantization((0.25, 0.5, 1.0), (0, 0, 0), 1)


def test_what_constants_alone_decide_is_fixed(tmp_path: Path) -> None:
    writer = GraphWriter()
    half = writer.tensor("half", (1, 4), "float16", data=np.ones(4))
    full, source, output = (writer.tensor(name, (1, 4)) for name in ("full", "x", "y"))
    writer.op("DEQUANTIZE", [half], [full])
    writer.op("ADD", [source, full], [output], schema.AddOptionsT())
    model = read_model(writer.write(tmp_path / "m.tflite", [source], [output]))
    assert model.main.fixed == {half, full}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty"),
        (b"just some text, and no model at all", "looks like text"),
        (b"PK\x03\x04" + bytes(100), "zip"),
        (bytes(4) + b"TFL2" + bytes(100), "TFL2"),
        (bytes(4) + b"TFL3", "no .tflite model"),
        (bytes(4) + b"TFL3" + bytes(100), "damaged"),
        (b"\xff" * 4 + b"TFL3" + b"\xff" * 100, "damaged"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=match):
        read_model(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no model file"):
        read_model(tmp_path / "none.tflite")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_model(tmp_path)


def test_indices_out_of_range_are_named(tmp_path: Path) -> None:
    writer = GraphWriter()
    source = writer.tensor("x", (1, 4))
    writer.op("RELU", [source], [77])
    with pytest.raises(InvalidInput, match="output of op 0 is tensor 77 of 1"):
        read_model(writer.write(tmp_path / "m.tflite", [source], [source]))


def test_a_constant_behind_the_end_is_refused(tmp_path: Path) -> None:
    writer = GraphWriter(outside=True)
    source = writer.tensor("x", (1, 4))
    output = writer.dense("y", source, np.ones((3, 4)), np.ones(3))
    path = writer.write(tmp_path / "m.tflite", [source], [output])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InvalidInput, match="refers to bytes"):
        read_model(path)


def test_shared_bytes_do_not_make_a_small_file_expensive(tmp_path: Path) -> None:
    """100,000 ops that share one list of 100,000 inputs would be 10^10 entries."""
    path = tmp_path / "bomb.tflite"
    path.write_bytes(_shared_vector_bomb(100_000))
    with pytest.raises(InvalidInput, match="share bytes"):
        read_model(path)


def _shared_vector_bomb(count: int) -> bytes:
    """A hand-made file whose operators vector refers `count` times to one op with `count` inputs."""
    out = bytearray(struct.pack("<I4s", 0, b"TFL3"))

    def vtable(*slots: int) -> int:
        at = len(out)
        out.extend(struct.pack(f"<HH{len(slots)}H", 4 + 2 * len(slots), 4 + 4 * len(slots), *slots))
        out.extend(b"\0" * (-len(out) % 4))
        return at

    def table(layout: int, *targets: int) -> int:
        at = len(out)
        out.extend(struct.pack("<i", at - layout))
        for target in targets:
            out.extend(struct.pack("<I", target - len(out)))
        return at

    def vector(numbers: np.ndarray[tuple[int], np.dtype[np.uint32]]) -> int:
        at = len(out)
        out.extend(struct.pack("<I", len(numbers)) + numbers.astype("<u4").tobytes())
        return at

    def references(*positions: int, repeat: int = 1) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
        start = len(out) + 4
        offsets = np.repeat(np.array(positions, np.int64), repeat)
        # FlatBuffers offsets only point forwards, modulo 2^32 in readers that do not check.
        return (offsets - (start + 4 * np.arange(len(offsets)))).astype(np.uint32)

    # Everything referred to must follow what refers to it: reserve the front, then patch it.
    model_layout = vtable(0, 4, 8)
    model = len(out)
    out.extend(struct.pack("<iII", model - model_layout, 0, 0))
    codes = vector(np.zeros(1, np.uint32))
    graphs = vector(np.zeros(1, np.uint32))
    code = table(vtable(), *())
    graph_layout = vtable(0, 0, 0, 4)
    graph = len(out)
    out.extend(struct.pack("<iI", graph - graph_layout, 0))
    ops = vector(np.zeros(count, np.uint32))
    op_layout = vtable(0, 4)
    op = len(out)
    out.extend(struct.pack("<iI", op - op_layout, 4))
    vector(np.full(count, 0xFFFFFFFF, np.uint32))
    places = ops + 4 + 4 * np.arange(count)
    out[ops + 4 : ops + 4 + 4 * count] = (op - places).astype("<u4").tobytes()
    for at, target in ((0, model), (model + 4, codes), (model + 8, graphs), (codes + 4, code), (graphs + 4, graph)):
        struct.pack_into("<I", out, at, target - at)
    struct.pack_into("<I", out, graph + 4, ops - graph - 4)
    return bytes(out)


_WHOLE: list[bytes] = []


def _whole(folder: Path) -> bytes:
    if not _WHOLE:
        _WHOLE.append(dense_model(folder / "whole.tflite", DenseWeights.random()).read_bytes())
    return _WHOLE[0]


def _only_invalid_input(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        model = read_model(path)
        for tensor in model.tensors:
            if tensor.is_constant:
                model.constant(tensor)
    except (InvalidInput, Unsupported):
        return


FUZZ = settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(share=st.floats(0, 1))
def test_truncated_files(tmp_path: Path, share: float) -> None:
    whole = _whole(tmp_path)
    _only_invalid_input(tmp_path / "m.tflite", whole[: int(share * len(whole))])


@FUZZ
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8))
def test_changed_bytes(tmp_path: Path, changes: list[tuple[float, int]]) -> None:
    damaged = bytearray(_whole(tmp_path))
    for place, value in changes:
        damaged[int(place * len(damaged))] = value
    damaged[4:8] = b"TFL3"
    _only_invalid_input(tmp_path / "m.tflite", bytes(damaged))


@FUZZ
@given(data=st.data())
def test_changed_words_in_the_structure(tmp_path: Path, data: st.DataObject) -> None:
    damaged = bytearray(_whole(tmp_path))
    place = data.draw(st.integers(0, len(damaged) // 4 - 1)) * 4
    value = data.draw(st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFC, len(damaged)]))
    struct.pack_into("<I", damaged, place, value)
    damaged[4:8] = b"TFL3"
    _only_invalid_input(tmp_path / "m.tflite", bytes(damaged))


@pytest.mark.heavy
def test_reads_every_variant_of_a_real_model(digits: DigitsModels) -> None:
    kinds = {name: read_model(path) for name, path in digits.variants.items()}
    assert kinds["float32"].inputs[0].shape == (1, 32, 32, 1)
    assert kinds["int8"].inputs[0].dtype == "int8"
    assert kinds["int16x8"].inputs[0].dtype == "int16"
    assert "DEQUANTIZE" in {op.name for op in kinds["float16"].ops}
    weights = [t for t in kinds["int8"].tensors if t.is_constant and t.dtype == "int8" and len(t.shape) == 4]
    assert any(len(t.quantization.scales) > 1 for t in weights if t.quantization)


def test_a_device_is_no_model() -> None:
    """It is refused before it is read: this one has no end."""
    with pytest.raises(InvalidInput, match="/dev/zero is not a plain file"):
        read_model(Path("/dev/zero"))


def test_a_path_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"\\xff.tflite is not UTF-8"):
        read_model(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.tflite")))


@pytest.mark.parametrize(("name", "hint"), [("m.tflite", "copy the file again"), ("m.bin", "`windtunnel convert`")])
def test_what_to_do_with_a_file_that_is_not_a_tflite_model(tmp_path: Path, name: str, hint: str) -> None:
    (tmp_path / name).write_bytes(bytes(range(256)))
    with pytest.raises(InvalidInput) as refused:
        read_model(tmp_path / name)
    assert hint in refused.value.hint
