"""Reading edge.npz: what FORMATS promises, and what is refused with the value and what to do."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from windtunnel.diagnosis.recording import ONLY, EdgeRecording, read_recording
from windtunnel.errors import InvalidInput, NotFound

RANDOM = np.random.default_rng(20261130)
IMAGES = RANDOM.integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
FED = RANDOM.uniform(-1, 1, (4, 3, 3, 3)).astype(np.float32)
GIVEN = RANDOM.uniform(0, 1, (4, 10)).astype(np.float32)
PLAIN = {"raw": IMAGES, "input": FED, "output": GIVEN}


def _write(folder: Path, arrays: dict[str, Any], *, pack: bool = False) -> Path:
    path = folder / "edge.npz"
    with path.open("wb") as file:
        (np.savez_compressed if pack else np.savez)(file, **arrays)
    return path


def _read(folder: Path, **arrays: Any) -> EdgeRecording:
    return read_recording(_write(folder, PLAIN | arrays))


def _refusal(folder: Path, arrays: dict[str, Any]) -> str:
    path = _write(folder, {name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(InvalidInput) as error:
        read_recording(path)
    assert error.value.hint, "says what to do"
    assert "edge.npz" in str(error.value), "names the file"
    return str(error.value)


@pytest.mark.parametrize("pack", [False, True])
def test_every_array_of_the_format_is_read(tmp_path: Path, pack: bool) -> None:
    layer, boxes = RANDOM.integers(-128, 128, (4, 2, 2, 8), dtype=np.int8), RANDOM.uniform(0, 1, (4, 7, 4))
    arrays = PLAIN | {
        "labels": np.array([3, 1, 0, 9]),
        "postprocessed/boxes": boxes,
        "layer/block_1/conv": layer,
        "latency_ms": np.array([3.5, np.nan, 4, 5]),
        "accelerator": np.array("gpu"),
    }
    found = read_recording(_write(tmp_path, arrays, pack=pack))
    assert found.count == 4 and found.gaps == () and found.layer_frames is None
    assert np.array_equal(found.raw[ONLY], IMAGES) and np.array_equal(found.inputs[ONLY], FED)
    assert np.array_equal(found.outputs[ONLY], GIVEN) and np.array_equal(found.layers["block_1/conv"], layer)
    assert np.asarray(found.layers["block_1/conv"]).dtype == np.int8
    assert np.array_equal(found.postprocessed["boxes"], boxes)
    assert found.labels is not None and found.labels.tolist() == [3, 1, 0, 9]
    assert found.times.total is not None and np.isnan(found.times.total[1]) and found.times.total[0] == 3.5
    assert found.device.accelerator == "gpu" and found.sample_rate_hz is None


def test_images_of_different_sizes_come_one_by_one(tmp_path: Path) -> None:
    images = [IMAGES[0], IMAGES[1][:4], IMAGES[2], IMAGES[3]]
    numbered = {f"raw/{number}": image for number, image in enumerate(images)}
    found = read_recording(_write(tmp_path, numbered | {"input": FED, "output": GIVEN}))
    assert [row.shape for row in found.raw[ONLY]] == [image.shape for image in images]
    assert all(np.array_equal(row, image) for row, image in zip(found.raw[ONLY], images, strict=True))


def test_more_than_ten_numbered_samples_keep_their_order(tmp_path: Path) -> None:
    numbered = {f"raw/{number}": np.full((2, 2, 3), number, np.uint8) for number in (*range(7, 12), *range(7))}
    found = read_recording(_write(tmp_path, numbered | {"input": np.zeros((12, 2))}))
    assert [int(row.flat[0]) for row in found.raw[ONLY]] == list(range(12))


def test_several_inputs_have_their_own_raw_samples(tmp_path: Path) -> None:
    voice = RANDOM.uniform(-1, 1, (4, 800)).astype(np.float32)
    arrays = {
        "raw/image": IMAGES,
        "raw/voice": voice,
        "input/image": FED,
        "input/voice": voice[:, :40],
        "output/class": GIVEN,
        "output/boxes": GIVEN,
        "sample_rate": np.array(16000),
    }
    found = read_recording(_write(tmp_path, arrays))
    assert set(found.raw) == set(found.inputs) == {"image", "voice"} and set(found.outputs) == {"class", "boxes"}
    assert np.array_equal(found.raw["voice"], voice) and found.sample_rate_hz == 16000.0


def test_a_number_that_names_an_input_is_a_name(tmp_path: Path) -> None:
    arrays = {"raw/0": IMAGES, "raw/1": IMAGES, "input/0": FED, "input/1": FED, "output": GIVEN}
    found = read_recording(_write(tmp_path, arrays))
    assert set(found.raw) == {"0", "1"} and found.count == 4


def test_samples_of_one_of_several_inputs_come_one_by_one(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {f"raw/a/image/{number}": IMAGES[number][: 2 + number] for number in range(4)}
    found = read_recording(_write(tmp_path, arrays | {"input/a/image": FED, "output": GIVEN}))
    assert [len(row) for row in found.raw["a/image"]] == [2, 3, 4, 5]


@pytest.mark.parametrize("encoded", [False, True])
def test_text_is_text(tmp_path: Path, encoded: bool) -> None:
    texts = np.array(["Straße", "", "好", "x"])
    raw = np.char.encode(texts, "utf-8") if encoded else texts
    found = _read(tmp_path, raw=raw, input=np.zeros((4, 8), np.int32))
    assert list(found.raw[ONLY]) == ["Straße", "", "好", "x"]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    found = read_recording(_write(tmp_path, {"input": FED}))
    assert "no raw samples" in found.gaps[0] and "no outputs" in found.gaps[1]
    found = _read(tmp_path, comment=np.array("x"))
    assert len(found.gaps) == 1 and "'comment' was not read" in found.gaps[0]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"labels": np.zeros(3, int)}, "raw 4, input 4, output 4, labels 3"),
        ({"layer/a": np.zeros((5, 2))}, "layer/a 5"),
        ({"latency_ms": np.zeros(3)}, "latency_ms 3"),
        ({"raw": IMAGES[:3]}, "raw 3, input 4"),
        ({"raw": IMAGES[:0], "input": FED[:0], "output": GIVEN[:0]}, "empty"),
        ({"input": FED[:0], "raw": None, "output": None}, "no frames"),
        ({"raw": IMAGES.astype(np.float32)}, "dtype float32 and shape (4, 6, 5, 3)"),
        ({"raw": IMAGES[..., 0]}, "gray"),
        ({"raw": IMAGES[..., :1]}, "gray"),
        ({"raw": np.zeros((4, 16), np.int16)}, "divide 16-bit samples by 32768"),
        ({"raw": np.full((4, 16), np.nan, np.float32)}, "of frame 0 holds NaN"),
        ({"raw": None, "raw/0": IMAGES[0], "raw/2": IMAGES[2]}, "'raw/1' is missing"),
        ({"raw/0": IMAGES[0]}, "both 'raw' and 'raw/0'"),
        ({"input/a": FED}, "both 'input' and 'input/a'"),
        ({"input": np.array(3.0)}, "one value"),
        ({"labels": np.array(["cat"] * 4)}, "class indices"),
        ({"latency_ms": np.array([1, -2.0, 3, 4])}, "frame 1 is -2"),
        ({"sample_rate": np.array(0)}, "0 Hz"),
        ({"sample_rate": np.array([8000, 16000])}, "one number, in Hz"),
        ({"accelerator": np.array(3)}, "one text"),
        ({"output": None, "outputs": GIVEN}, "did you mean 'output'?"),
        ({"layers/conv": np.zeros((4, 2))}, "did you mean 'layer/conv'?"),
        ({"raw": np.array([b"\xff\xfe"] * 4)}, "not UTF-8"),
        ({"raw": None, "input": None, "output": None, "labels": np.zeros(2, int)}, "no array raw"),
        ({"input": np.array([{"a": 1}] * 4, dtype=object)}, "never Python objects"),
    ],
)
def test_what_it_refuses(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    message = _refusal(tmp_path, PLAIN | changed)
    assert said in message


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path, PLAIN)
    data = bytearray(path.read_bytes())
    data[data.index(FED.tobytes()) + 9] ^= 0x40
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match=r"edge\.npz"):
        read_recording(path)
    path.write_bytes(bytes(data[: len(data) // 2]))
    with pytest.raises(InvalidInput, match=r"edge\.npz is not a whole \.npz file"):
        read_recording(path)
    path.write_bytes(b"")
    with pytest.raises(InvalidInput, match=r"edge\.npz"):
        read_recording(path)


def test_hostile_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "edge.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../raw.txt", b"no array")
    with pytest.raises(InvalidInput, match="not an array"):
        read_recording(path)
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000), }"
    header += b" " * (117 - len(header)) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("input.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"1234")
    with pytest.raises(InvalidInput, match=r"claims 4000000000000 bytes"):
        read_recording(path)


def test_what_is_not_a_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"absent\.npz"):
        read_recording(tmp_path / "absent.npz")
    (tmp_path / "a.tflite").write_bytes(b"TFL3" * 10)
    with pytest.raises(InvalidInput, match=r"a\.tflite is not a recording"):
        read_recording(tmp_path / "a.tflite")
    (tmp_path / "p.npz").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InvalidInput, match="git lfs pull"):
        read_recording(tmp_path / "p.npz")
