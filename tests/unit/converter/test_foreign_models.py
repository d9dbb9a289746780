"""Models of other tools, and files that are not models, are recognized by their content and named with what to do."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from windtunnel.converter.domain.conversion import Format
from windtunnel.converter.formats.detect_format import locate
from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.tflite import read_model


def field(number: int, value: bytes | int) -> bytes:
    """A protobuf field; small numbers and short values."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def zipped(*names: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return target.getvalue()


def safetensors() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


ONNX = field(1, 8) + field(2, b"pytorch") + field(7, field(1, b"node")) + field(8, field(2, 17))
NODE = field(1, field(1, b"x") + field(2, b"Placeholder"))
GRAPH = NODE + field(4, field(1, 27))
META_GRAPH = field(1, field(2, b"\n\x02op")) + field(2, GRAPH) + field(3, field(1, b"save/Const:0"))
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
# Content, what is reported of it, and what to do. The name has no suffix, as an uploaded file has none.
FILES = {
    "onnx": (ONNX, "an ONNX model", "onnx2tf"),
    "coreml": (field(1, 6) + field(2, field(100, b"x")) + field(502, b"ab"), "a Core ML model", "made from"),
    "torch weights": (zipped("archive/data.pkl", "archive/data/0"), "a PyTorch file of weights", "litert-torch"),
    "torchscript": (zipped("m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"), "a TorchScript", "litert-torch"),
    "exported program": (zipped("m/archive_format", "m/models/model.json"), "exported program", "litert-torch"),
    "executorch": (b"\x1c\0\0\0ET12" + bytes(20), "an ExecuTorch program", "litert-torch"),
    "safetensors": (safetensors(), "a safetensors file", "export"),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(16), "a GGUF file", "export"),
    "pickle": (pickle.dumps({"coef": [1, 2]}), "a Python pickle", "not opened"),
    "old torch": (pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2), "a PyTorch file of weights", "litert-torch"),
    "tfjs": (json.dumps({"format": "layers-model", "modelTopology": {}}).encode(), "TensorFlow.js", "tensorflowjs"),
    "keras json": (json.dumps({"class_name": "Functional", "config": {}}).encode(), "architecture", "model.save"),
    "saved_model.pb": (
        field(1, 1) + field(2, META_GRAPH),
        "the graph of a SavedModel, without its values",
        "variables",
    ),
    "meta graph": (META_GRAPH, "MetaGraphDef", ".index"),
    "caffe2": (field(1, b"squeeze_net") + field(2, b"\n\x01x"), "a Caffe2 network", "SavedModel"),
    "lfs": (LFS, "a Git LFS pointer", "git lfs pull"),
    "html": (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "a web page", "download"),
    "npz": (zipped("x.npy", "y.npy"), "NumPy arrays", "model itself"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_recognized_by_its_content(kind: str, tmp_path: Path) -> None:
    content, what, hint = FILES[kind]
    (tmp_path / "upload").write_bytes(content)
    with pytest.raises((InvalidInput, Unsupported)) as caught:
        locate(tmp_path / "upload", None, tmp_path / "work")
    assert caught.value.message.startswith("upload is ") and what in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", ["model.tflite", "model.h5", "model.keras", "model.pb"])
@pytest.mark.parametrize("kind", ["lfs", "html"])
def test_a_page_or_pointer_is_no_damaged_model(kind: str, name: str, tmp_path: Path) -> None:
    content, what, _ = FILES[kind]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=f"{name} is not a model: it is {what}"):
        locate(tmp_path / name, None, tmp_path / "work")


def test_onnx_under_the_name_of_a_graph(tmp_path: Path) -> None:
    (tmp_path / "model.pb").write_bytes(ONNX)
    with pytest.raises(Unsupported, match=r"model\.pb is an ONNX model"):
        locate(tmp_path / "model.pb", Format.FROZEN_GRAPH, tmp_path / "work")


@pytest.mark.parametrize("content", [GRAPH, GRAPH + field(2, b"\n\x01f"), NODE + field(3, 0), b"\xff\xff"])
def test_a_frozen_graph_stays_one(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.pb").write_bytes(content)
    assert locate(tmp_path / "model.pb", None, tmp_path / "work") == (tmp_path / "model.pb", Format.FROZEN_GRAPH)


def test_a_frozen_graph_under_the_name_of_a_tflite_is_one(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(GRAPH)
    assert locate(tmp_path / "model.tflite", None, tmp_path / "work")[1] is Format.FROZEN_GRAPH
    with pytest.raises(InvalidInput, match=r"it is a frozen graph") as caught:
        read_model(tmp_path / "model.tflite")
    assert "convert model.tflite --format frozen_graph" in caught.value.hint


def test_a_frozen_graph_without_a_name_is_said_to_look_like_one(tmp_path: Path) -> None:
    """An uploaded artifact has no name."""
    (tmp_path / "upload").write_bytes(GRAPH)
    with pytest.raises(InvalidInput, match="looks like a frozen graph") as caught:
        locate(tmp_path / "upload", None, tmp_path / "work")
    assert "--format frozen_graph" in caught.value.hint
    assert locate(tmp_path / "upload", Format.FROZEN_GRAPH, tmp_path / "work")[1] is Format.FROZEN_GRAPH


def test_a_frozen_graph_in_the_place_of_a_saved_model(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "saved_model.pb").write_bytes(GRAPH)
    with pytest.raises(InvalidInput, match=r"its saved_model\.pb is a frozen graph") as caught:
        locate(tmp_path / "net", None, tmp_path / "work")
    assert "convert net/saved_model.pb --format frozen_graph" in caught.value.hint
    assert locate(tmp_path / "net" / "saved_model.pb", Format.FROZEN_GRAPH, tmp_path)[1] is Format.FROZEN_GRAPH


@pytest.mark.parametrize("name", ["model.keras", "model.zip", "upload"])
def test_a_zip_without_its_end_is_cut_off(name: str, tmp_path: Path) -> None:
    whole = zipped("config.json", "metadata.json")
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInput, match=f"{name} is cut off"):
        locate(tmp_path / name, None, tmp_path / "work")


FOLDERS = {
    "mlpackage": (("Manifest.json", "Data/com.apple.CoreML/model.mlmodel"), "a Core ML model"),
    "lora": (("adapter_config.json", "adapter_model.safetensors"), "LoRA adapters"),
    "transformers": (("config.json", "model.safetensors"), "a Transformers model"),
    "tf2 weights": (
        ("ckpt.index", "ckpt.data-00000-of-00001", "checkpoint"),
        "a checkpoint of weights without a graph",
    ),
    "orbax": (("_METADATA", "manifest.ocdbt"), "Flax or JAX"),
}


def write(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"content")


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_is_recognized(kind: str, tmp_path: Path) -> None:
    names, what = FOLDERS[kind]
    write(tmp_path / "made", names)
    with pytest.raises((InvalidInput, Unsupported), match=f"made is .*{what}"):
        locate(tmp_path / "made", None, tmp_path / "work")


def test_what_an_archive_holds_is_named_with_the_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "made.zip", "w") as archive:
        archive.writestr("net/model.onnx", ONNX)
        archive.writestr("net/readme.txt", "hello")
    with pytest.raises(Unsupported, match=r"model\.onnx in made\.zip is an ONNX model"):
        locate(tmp_path / "made.zip", None, tmp_path / "work")


def test_tensorflow_js_with_its_shards(tmp_path: Path) -> None:
    write(tmp_path / "web", ("group1-shard1of1.bin",))
    (tmp_path / "web" / "model.json").write_text(json.dumps({"modelTopology": {}, "weightsManifest": []}))
    with pytest.raises(Unsupported, match=r"web is a TensorFlow\.js model"):
        locate(tmp_path / "web", None, tmp_path / "work")


def test_what_nobody_knows_is_shown(tmp_path: Path) -> None:
    (tmp_path / "made").write_bytes(b"\x01\x02\x03 something")
    with pytest.raises(InvalidInput, match="made is not a model that Windtunnel knows: it begins with the") as refused:
        locate(tmp_path / "made", None, tmp_path / "work")
    # PyTorch models are known only to be refused.
    assert "keras" in refused.value.hint and "torch" not in refused.value.hint


def test_arrays_are_no_zip_of_a_model(tmp_path: Path) -> None:
    np.savez(tmp_path / "test.npz", x=np.zeros(3))
    with pytest.raises(InvalidInput, match=r"test\.npz is not a model: it is a file of NumPy arrays"):
        locate(tmp_path / "test.npz", None, tmp_path / "work")
