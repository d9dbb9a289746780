"""Edge logs become recordings; what they lack is reported, and damage costs one chunk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import edge_logs
from support.edge_logs import LogFile, frame, reading, tensor, timing
from windtunnel.diagnosis.recording import ONLY, EdgeRecording, read_recording, read_recordings
from windtunnel.diagnosis.recording.edge_recording import StoredQuantization
from windtunnel.errors import InvalidInput, NotFound
from windtunnel.v1 import edge_pb2 as pb

RANDOM = np.random.default_rng(20261130)
IMAGES = RANDOM.integers(0, 256, (8, 4, 5, 3), dtype=np.uint8)
FED = RANDOM.uniform(-1, 1, (8, 1, 2, 2, 3)).astype(np.float32)
GIVEN = RANDOM.uniform(0, 1, (8, 1, 5)).astype(np.float32)


def io(number: int, *more: pb.EdgeTensor, **fields: Any) -> pb.EdgeFrame:
    raw, fed, given = IMAGES[number], FED[number], GIVEN[number]
    return frame(number, tensor("raw", raw), tensor("input", fed), tensor("output", given), *more, **fields)


def test_a_log_is_a_recording(tmp_path: Path) -> None:
    conv = np.arange(8, dtype=np.int8)
    frames = [
        io(
            number,
            tensor("layer", (conv + number)[None], "conv", scale=0.5, zero_point=-1, op_index_plus_one=1),
            tensor("function_input", IMAGES[number], "prepare"),
            tensor("function_output", FED[number], "prepare"),
            tensor("postprocessed", np.array([number, 1]), "classes"),
            timings=[
                timing(pb.EDGE_TIMING_KIND_STAGE, "resize", 0, 1.5),
                timing(pb.EDGE_TIMING_KIND_INFERENCE, "", 1.5, 4 + number),
                timing(pb.EDGE_TIMING_KIND_LAYER, "conv", 1.5, 3, "CONV_2D"),
                timing(pb.EDGE_TIMING_KIND_FRAME, "", 0, 10),
            ],
            label=number % 5,
        )
        for number in range(4)
    ]
    found = read_recording(LogFile(frames).write(tmp_path))
    assert found.count == 4 and found.gaps == () and found.layer_frames is None
    assert np.array_equal(found.raw[ONLY], IMAGES[:4]) and np.array_equal(found.inputs[ONLY], FED[:4, 0])
    assert np.array_equal(found.outputs[ONLY], GIVEN[:4, 0])
    assert np.array_equal(found.layers["conv"], conv + np.arange(4, dtype=np.int8)[:, None])
    assert found.layer_quantization == {"conv": StoredQuantization(0.5, -1)}
    assert np.array_equal(found.functions["prepare"][1], FED[:4])
    assert found.labels is not None and found.labels.tolist() == [0, 1, 2, 3]
    assert found.times.inference is not None and found.times.inference.tolist() == [4, 5, 6, 7]
    assert found.times.stages["resize"].tolist() == [1.5] * 4 and found.times.layers["conv"].tolist() == [3.0] * 4
    assert found.times.total is not None and found.times.total.tolist() == [10.0] * 4
    device = found.device
    assert (device.app, device.app_version, device.os, device.accelerator) == ("shop", "4.2", "Android 16", "gpu")
    assert device.others == {"camera": "back"} and device.redacted == ()


@pytest.mark.parametrize("dtype", [*edge_logs.ELEMENTS])
def test_every_element_type(tmp_path: Path, dtype: str) -> None:
    values = RANDOM.integers(0, 2, (3, 2, 2)).astype(dtype)
    frames = [frame(number, tensor("input", row), tensor("output", row)) for number, row in enumerate(values)]
    found = np.asarray(read_recording(LogFile(frames).write(tmp_path)).inputs[ONLY])
    assert found.dtype == values.dtype and np.array_equal(found, values)


def test_text_and_audio(tmp_path: Path) -> None:
    voice = RANDOM.uniform(-1, 1, (2, 30)).astype(np.float32)
    texts = ["Straße", ""]
    frames = [
        frame(
            number,
            tensor("raw", texts[number], "words"),
            tensor("raw", voice[number], "voice"),
            tensor("input", np.array([[1, 2]], np.int32), "ids"),
            tensor("output", GIVEN[number]),
            sample_rate_hz=16000,
        )
        for number in range(2)
    ]
    found = read_recording(LogFile(frames).write(tmp_path))
    assert list(found.raw["words"]) == texts and np.array_equal(found.raw["voice"], voice)
    assert found.sample_rate_hz == 16000.0 and np.asarray(found.inputs["ids"]).shape == (2, 2)


def test_sessions_and_files(tmp_path: Path) -> None:
    LogFile([io(0), io(1)], session="a").write(tmp_path)
    LogFile([io(2)], session="a", number=2).write(tmp_path)
    LogFile([io(5)], session="b", device={**edge_logs.DEVICE, "device": "S22"}).write(tmp_path / "other phone")
    first, second = read_recordings(tmp_path)
    assert (first.count, second.count) == (3, 1)
    assert (first.device.device, second.device.device) == ("Pixel 9", "S22")
    assert first.source.endswith(": a") and first.gaps == ()
    with pytest.raises(InvalidInput, match="2 recordings: a, b"):
        read_recording(tmp_path)


def test_missing_files_and_copies_are_said(tmp_path: Path) -> None:
    LogFile([io(2)], number=3).write(tmp_path)
    LogFile([io(3)], number=5).write(tmp_path)
    LogFile([io(3), io(4)], number=6).write(tmp_path)
    found = read_recording(tmp_path)
    assert found.count == 3
    assert "first 2 files of the session are missing" in found.gaps[0]
    assert found.gaps[1] == "file 000004 of the session is missing"
    assert "kept once: 1 frame of an earlier file" in found.gaps[2]


def test_statistics_alone_keep_their_figures(tmp_path: Path) -> None:
    frames = [
        frame(
            number,
            tensor("input", FED[number], with_values=False),
            tensor("output", GIVEN[number], with_values=False),
            level=pb.EDGE_LEVEL_STATISTICS,
        )
        for number in range(3)
    ]
    found = read_recording(LogFile(frames).write(tmp_path))
    assert found.count == 3 and not found.inputs and not found.raw
    fed, given = found.statistics.inputs[ONLY], found.statistics.outputs[ONLY]
    assert fed.dtype == "float32" and fed.shape == (2, 2, 3) and fed.count.tolist() == [12] * 3
    assert np.allclose(fed.mean, FED[:3].mean(axis=(1, 2, 3, 4)), atol=1e-6)
    assert np.allclose(given.projections, GIVEN[:3, 0]) and given.quantiles.shape == (3, 9)
    assert any("no raw samples" in gap for gap in found.gaps)


def test_frames_with_other_tensors_are_said(tmp_path: Path) -> None:
    other = frame(3, tensor("input", FED[3]), tensor("output", GIVEN[3]))
    only_figures = frame(4, tensor("input", FED[4], with_values=False), level=pb.EDGE_LEVEL_STATISTICS)
    found = read_recording(LogFile([io(0), io(1), io(2), other, only_figures]).write(tmp_path))
    assert found.count == 3 and np.array_equal(found.raw[ONLY], IMAGES[:3])
    assert found.gaps == (
        "1 frame not compared: the raw sample is not recorded there",
        "1 frame not compared: the raw sample and input and output are not recorded there",
    )


def test_layers_of_some_frames_name_these_frames(tmp_path: Path) -> None:
    frames = [
        io(number, *([tensor("layer", np.full(3, number, np.float32), "a")] if number % 2 else ()))
        for number in range(5)
    ]
    found = read_recording(LogFile(frames).write(tmp_path))
    assert found.count == 5 and found.layer_frames is not None and found.layer_frames.tolist() == [1, 3]
    assert np.asarray(found.layers["a"])[:, 0].tolist() == [1, 3]
    assert found.gaps == ("layers are recorded in only 2 of 5 frames",)


def test_layers_of_frames_that_are_not_compared_are_said(tmp_path: Path) -> None:
    layers = frame(3, tensor("input", FED[3]), tensor("layer", np.zeros(3, np.float32), "a"))
    found = read_recording(LogFile([io(0), io(1), layers]).write(tmp_path))
    assert not found.layers and found.count == 2
    assert found.gaps[-1] == "layers are recorded only in frames that are not compared"


@pytest.mark.parametrize("language", ["python", "cpp", "java"])
def test_the_logs_of_all_monitors_are_read(language: str) -> None:
    found = read_recording(Path(__file__).parents[3] / f"data/edge_golden/{language}.mcap")
    assert found.count == 1 and found.device.app == "golden" and found.device.threads == "2"
    assert np.asarray(found.raw[ONLY]).shape == (1, 4, 5, 3) and np.asarray(found.inputs[ONLY]).shape == (1, 96, 96, 3)
    assert np.asarray(found.inputs["flags"]).dtype == np.bool_ and np.asarray(found.inputs["u16"]).dtype == np.uint16
    assert set(found.functions) == {"preprocess"} and list(found.postprocessed["caption"])
    assert found.labels is not None and "resize" in found.times.stages


def test_lost_and_left_out(tmp_path: Path) -> None:
    found = read_recording(
        LogFile([io(0), io(7, frames_lost=6, left_out=["layers: over the memory bound"])]).write(tmp_path)
    )
    assert "6 frames could not be recorded" in found.gaps[0]
    assert found.gaps[1] == "left out of 1 frame: layers: over the memory bound"


def test_redacted_values_are_not_used(tmp_path: Path) -> None:
    hidden = [
        frame(number, tensor("raw", IMAGES[number] // 9, redacted=True), tensor("input", FED[number]))
        for number in range(2)
    ]
    found = read_recording(LogFile(hidden, device={**edge_logs.DEVICE, "redacted": "raw, name"}).write(tmp_path))
    assert not found.raw and found.count == 2 and found.device.redacted == ("raw", "name")
    assert found.gaps[0] == "the raw sample was redacted by the app in 2 frames: not used"


def test_a_batch_is_split_into_its_samples(tmp_path: Path) -> None:
    one = frame(
        0,
        tensor("raw", IMAGES),
        tensor("input", FED[:, 0]),
        tensor("output", GIVEN[:, 0]),
        timings=[timing(pb.EDGE_TIMING_KIND_FRAME, "", 0, 8)],
    )
    found = read_recording(LogFile([one]).write(tmp_path))
    assert (
        found.count == 8
        and np.array_equal(found.raw[ONLY], IMAGES)
        and np.array_equal(found.outputs[ONLY], GIVEN[:, 0])
    )
    assert found.times.total is not None and np.nansum(found.times.total) == 8


def test_detections_of_different_counts_stay_apart(tmp_path: Path) -> None:
    frames = [
        io(
            number,
            tensor("postprocessed", np.ones((number, 4), np.float32), "boxes"),
            tensor("postprocessed", np.arange(number), "classes"),
        )
        for number in range(3)
    ]
    found = read_recording(LogFile(frames).write(tmp_path)).postprocessed
    assert [row.shape for row in found["boxes"]] == [(0, 4), (1, 4), (2, 4)]
    assert [len(row) for row in found["classes"]] == [0, 1, 2]


def test_partly_labeled_frames_are_said(tmp_path: Path) -> None:
    found = read_recording(LogFile([io(0, label=1), io(1)]).write(tmp_path))
    assert found.labels is None and "only 1 of 2 frames have a label" in found.gaps[0]
    assert read_recording(LogFile([io(0, label=0), io(1, label=0)]).write(tmp_path)).labels is not None


def _damaged(path: Path, change: int) -> EdgeRecording:
    data = bytearray(path.read_bytes())
    data[change] ^= 0x10
    path.write_bytes(data)
    return read_recording(path)


def test_a_flipped_bit_costs_one_chunk(tmp_path: Path) -> None:
    path = LogFile([io(number) for number in range(6)]).write(tmp_path)
    found = _damaged(path, path.read_bytes().index(FED[3].tobytes()) + 5)
    assert found.count == 5 and np.array_equal(found.raw[ONLY], np.delete(IMAGES[:6], 3, axis=0))
    assert len(found.gaps) == 1 and "CRC" in found.gaps[0] and path.name in found.gaps[0]


def test_a_killed_app_leaves_its_flushed_frames(tmp_path: Path) -> None:
    path = LogFile([io(number) for number in range(6)]).write(tmp_path)
    data = path.read_bytes()
    counts = []
    for end in range(data.index(FED[1].tobytes()), data.index(FED[5].tobytes()) + 400, 97):
        path.write_bytes(data[:end])
        found = read_recording(path)
        counts.append(found.count)
        assert any("the app ended without closing it" in gap for gap in found.gaps)
    assert counts == sorted(counts) and counts[0] == 1 and counts[-1] >= 5


def test_bytes_that_do_not_fit_their_shape_are_said(tmp_path: Path) -> None:
    wrong = io(1)
    wrong.tensors[1].data = wrong.tensors[1].data[:-4]
    huge = io(2)
    huge.tensors[1].shape[:] = [2**31, 2**31, 2**31]
    found = read_recording(LogFile([io(0), wrong, huge]).write(tmp_path))
    assert found.count == 1
    assert any("44 bytes for float32 of shape [1, 2, 2, 3], which needs 48" in gap for gap in found.gaps)


def test_messages_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    found = read_recording(LogFile([io(0), b"\x0a\xff\xff", io(2)]).write(tmp_path))
    assert found.count == 2 and found.gaps[0].endswith("1 message could not be read")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no frame that can be read"),
        (b"not a log at all, but long enough to look at", "no frame that can be read"),
    ],
)
def test_what_is_not_a_log_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as error:
        read_recording(path)
    assert said in str(error.value) and "a.mcap" in str(error.value)


def test_other_mcap_files_are_named(tmp_path: Path) -> None:
    path = LogFile([io(0)], profile="ros2").write(tmp_path)
    with pytest.raises(InvalidInput, match="profile 'ros2'"):
        read_recording(path)
    LogFile([io(0)], session="b").write(tmp_path)
    assert any("profile 'ros2'" in gap for gap in read_recording(tmp_path).gaps)
    with pytest.raises(NotFound, match="absent"):
        read_recordings(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match=r"empty has no \.mcap file"):
        read_recordings(tmp_path / "empty")


def test_sensors_alone_are_not_a_recording(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no frame"):
        read_recordings(LogFile([reading(0, "light", 3.5)]).write(tmp_path))
