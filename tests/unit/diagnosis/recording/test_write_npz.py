"""An edge.npz that was written is read back equal."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from windtunnel.diagnosis.recording import ONLY, EdgeDevice, EdgeRecording, EdgeTimes, read_recording
from windtunnel.diagnosis.recording.edge_recording import StoredQuantization
from windtunnel.diagnosis.recording.write_npz import write_npz_recording
from windtunnel.errors import InvalidInput

RANDOM = np.random.default_rng(5)
FLOATS = RANDOM.uniform(-1, 1, (3, 4)).astype(np.float32)
FULL = EdgeRecording(
    source="log",
    count=3,
    raw={ONLY: [np.full((2 + number, 2, 3), number, np.uint8) for number in range(3)]},
    inputs={"image": FLOATS},
    outputs={"a": FLOATS, "b": FLOATS.astype(np.float16)},
    layers={"conv/1": np.arange(8, dtype=np.int8).reshape(2, 4)},
    layer_frames=np.array([0, 2]),
    layer_quantization={"conv/1": StoredQuantization(0.125, -3)},
    postprocessed={"classes": np.array([[1, -1], [2, 3], [-1, -1]])},
    functions={"prepare": (FLOATS, FLOATS * 2)},
    labels=np.array([1, 2, 0]),
    sample_rate_hz=16000.0,
    times=EdgeTimes(
        total=np.array([1.0, np.nan, 3.0]),
        inference=np.array([0.5, 0.5, np.nan]),
        stages={"resize": np.array([0.1, 0.2, 0.3])},
        layers={"conv/1": np.array([np.nan, 0.2, 0.3])},
    ),
    device=EdgeDevice(
        "ab" * 32, "shop", "4.2", "Android 16", "Pixel", "litert", "gpu", "4", "{}", ("raw",), {"k": "v"}
    ),
    gaps=("2 frames were lost",),
)


def equal(first: Any, second: Any) -> bool:
    if is_dataclass(first):
        return all(equal(getattr(first, one.name), getattr(second, one.name)) for one in fields(first))
    if isinstance(first, np.ndarray):
        return isinstance(second, np.ndarray) and first.dtype == second.dtype and _same(first, second)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    if hasattr(first, "items"):
        return list(first) == list(second) and all(equal(first[name], second[name]) for name in first)
    return bool(first == second)


def _same(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> bool:
    return np.array_equal(first, second, equal_nan=first.dtype.kind == "f")


@pytest.mark.parametrize(
    "recording",
    [
        FULL,
        EdgeRecording("log", 3, {ONLY: np.array(["é", "b", ""])}, {ONLY: FLOATS}, {ONLY: FLOATS}),
        EdgeRecording("log", 3, {"x": FLOATS, "y": FLOATS}, {"x": FLOATS, "y": FLOATS}, {ONLY: FLOATS}),
        replace(FULL, raw={}, gaps=("no raw samples are recorded: the reference pipeline cannot be played back",)),
    ],
)
def test_what_was_written_is_read_back_equal(tmp_path: Path, recording: EdgeRecording) -> None:
    path = tmp_path / "edge.npz"
    assert write_npz_recording(recording, path) == ()
    found = read_recording(path)
    assert equal(replace(recording, source=str(path)), found)
    assert not equal(replace(recording, source=str(path), labels=np.array([9, 9, 9])), found)


def test_unused_detections_are_filled(tmp_path: Path) -> None:
    boxes = [RANDOM.uniform(0, 1, (count, 4)) for count in (2, 0, 1)]
    classes = [np.arange(count, dtype=np.uint8) for count in (2, 0, 1)]
    recording = replace(FULL, postprocessed={"boxes": boxes, "classes": classes})
    assert write_npz_recording(recording, tmp_path / "edge.npz") == ()
    found = read_recording(tmp_path / "edge.npz").postprocessed
    assert np.asarray(found["classes"]).tolist() == [[0, 1], [-1, -1], [0, -1]]
    assert np.asarray(found["boxes"]).shape == (3, 2, 4)
    assert np.array_equal(found["boxes"][0], boxes[0]) and not np.any(found["boxes"][1])


def test_what_cannot_be_held_is_said(tmp_path: Path) -> None:
    uneven = [np.zeros(2), np.zeros(3), np.zeros(4)]
    recording = replace(FULL, inputs={"image": uneven}, functions={"prepare": (FLOATS, uneven)})
    left_out = write_npz_recording(recording, tmp_path / "edge.npz")
    assert [one.partition(":")[0] for one in left_out] == ["input/image", "function_output/prepare"]
    assert not read_recording(tmp_path / "edge.npz").functions


def test_statistics_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--csv"):
        write_npz_recording(EdgeRecording("log", 3), tmp_path / "edge.npz")
    assert not (tmp_path / "edge.npz").exists()


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"device": np.array("[1]")}, "'device' is not the text"),
        ({"device": np.array('{"others": 3}')}, "another form"),
        ({"gaps": np.array([1, 2])}, "'gaps' is of dtype int64"),
        ({"layer_frames": np.array([0, 3]), "layer/a": np.zeros((2, 2))}, "names frame 3"),
        ({"layer_frames": np.array([0, 1]), "layer/a": np.zeros((3, 2))}, "has 3 entries"),
        ({"layer_frames": np.array([-1])}, "layer_frames"),
        ({"function_input/f": np.zeros((3, 1))}, "one is missing"),
        ({"stage_ms/f": np.zeros(2)}, "stage_ms/f 2"),
        ({"stage_ms/f": np.zeros((3, 2))}, "one number for each frame"),
        ({"quantization/a": np.zeros(3)}, "scale and zero point"),
    ],
)
def test_additional_arrays_are_checked(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    np.savez(tmp_path / "edge.npz", input=FLOATS, **arrays)
    with pytest.raises(InvalidInput) as error:
        read_recording(tmp_path / "edge.npz")
    assert said in str(error.value)
