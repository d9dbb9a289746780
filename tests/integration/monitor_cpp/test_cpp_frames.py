"""All that a frame can have, from every build, as the stock MCAP library reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.cpp_monitor import App, read_log
from windtunnel.v1 import edge_pb2
from windtunnel.v1.edge_pb2 import EdgeFrame, EdgeTensor

pytestmark = pytest.mark.heavy


def _tensors(frame: EdgeFrame, role: int) -> dict[str, list[EdgeTensor]]:
    found: dict[str, list[EdgeTensor]] = {}
    for tensor in frame.tensors:
        if tensor.role == role:
            found.setdefault(tensor.name, []).append(tensor)
    return found


def test_everything_of_a_frame(any_app: App, tmp_path: Path) -> None:
    any_app.run("everything", tmp_path / "log", "level=layers", "raw=1", "app=shop", f"model_sha256={'ab' * 32}")
    log = read_log(tmp_path / "log")
    assert log.whole == [True] and log.numbers == [0, 1, 3]
    frame = log.frames[0]
    (raw,) = _tensors(frame, edge_pb2.EDGE_ROLE_RAW)[""]
    assert raw.redacted and raw.data == bytes(6) and list(raw.shape) == [1, 2, 3]
    given = _tensors(frame, edge_pb2.EDGE_ROLE_FUNCTION_INPUT)
    assert list(given["halved[0]"][0].shape) == [1, 2, 3] and given["halved[1]"][0].data == b"\2\0\0\0"
    assert [one.data.decode() for one in given["same"]] == ["h\u00e9llo"]
    assert [one.data for one in given["in_place"]] == [bytes([10, 20, 30, 40, 50, 60])]
    returned = _tensors(frame, edge_pb2.EDGE_ROLE_FUNCTION_OUTPUT)
    assert [one.data for one in returned["in_place"]] == [bytes([60, 50, 40, 30, 20, 10])]
    assert list(_tensors(frame, edge_pb2.EDGE_ROLE_INPUT)[""][0].shape) == [1, 1, 2, 3]
    assert list(_tensors(frame, edge_pb2.EDGE_ROLE_OUTPUT)[""][0].shape) == [2]
    (layer,) = _tensors(frame, edge_pb2.EDGE_ROLE_LAYER)["conv1"]
    assert (layer.scale, layer.zero_point, layer.op_index_plus_one, layer.data) == (0.5, -3, 5, b"\xff\x02")
    results = _tensors(frame, edge_pb2.EDGE_ROLE_POSTPROCESSED)
    assert results["boxes"][0].data and not results["boxes"][0].redacted
    assert results["secret"][0].redacted and not results["secret"][0].data
    assert dict(frame.values) == {"screen": "search", "battery": "0.5"} and frame.label == -3
    assert "function_input: the app gave no values" in frame.left_out
    assert frame.memory_bytes > 0
    assert log.frames[1].sample_rate_hz == 16000 and not log.frames[1].HasField("label")
    assert log.frames[2].level == edge_pb2.EDGE_LEVEL_STATISTICS
    (reading,) = log.readings
    assert reading.sensor == "orientation" and list(reading.values) == [0, 90, 180]


def test_times_and_facts(any_app: App, tmp_path: Path) -> None:
    any_app.run("everything", tmp_path / "log", "level=layers", "app=shop", f"model_sha256={'ab' * 32}")
    log = read_log(tmp_path / "log")
    frame = log.frames[0]
    assert not _tensors(frame, edge_pb2.EDGE_ROLE_RAW)  # it is switched off
    kinds = {(one.kind, one.name): one for one in frame.timings}
    for name in ("halved", "in_place", "same", "moved", "draw", "late"):
        stage = kinds[edge_pb2.EDGE_TIMING_KIND_STAGE, name]
        assert stage.begin.ToNanoseconds() > 0
    assert (edge_pb2.EDGE_TIMING_KIND_INFERENCE, "") in kinds
    whole = kinds[edge_pb2.EDGE_TIMING_KIND_FRAME, ""]
    inside = [one for one in frame.timings if one.name in ("halved", "same", "draw")]
    assert sum(one.elapsed.ToNanoseconds() for one in inside) <= whole.elapsed.ToNanoseconds()
    layer = kinds[edge_pb2.EDGE_TIMING_KIND_LAYER, "conv1"]
    assert layer.op == "CONV_2D" and layer.elapsed.ToNanoseconds() == 1_500_000
    (facts,) = log.metadata
    assert facts["schema"] == "windtunnel.edge/1" and facts["session"] and facts["level"] == "layers"
    assert (facts["app"], facts["app_version"], facts["threads"], facts["camera"]) == ("shop", "1.2", "4", "back")
    assert facts["redacted"] == "raw,face" and facts["model_sha256"] == "ab" * 32 and "runtime" not in facts


def test_many_threads(any_app: App, tmp_path: Path) -> None:
    lost = int(any_app.run("threads", tmp_path / "log", 4, "level=io", "memory=40000000").split()[-1])
    log = read_log(tmp_path / "log")
    assert lost == 0 and sorted(log.numbers) == list(range(201)) and len(log.readings) == 200
    shared = next(frame for frame in log.frames if frame.number == 0)
    assert len([one for one in shared.timings if one.name == "shared"]) == 200
    for frame in log.frames:
        if frame.number:
            assert [len(one.data) for one in frame.tensors] == [96 * 96 * 3 * 4, 40]
