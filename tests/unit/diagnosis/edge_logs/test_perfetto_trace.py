"""The trace is what Perfetto's own message definitions read, and its slices nest."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from perfetto.protos.perfetto.trace import perfetto_trace_pb2

from support.edge_logs import FRAME_NS, START_NS, LogFile, frame, reading, timing
from windtunnel.diagnosis.edge_logs.perfetto_trace import perfetto_trace
from windtunnel.diagnosis.recording.read_sessions import read_sessions
from windtunnel.v1 import edge_pb2 as pb

STAGE, INFERENCE, LAYER, FRAME = (
    pb.EDGE_TIMING_KIND_STAGE,
    pb.EDGE_TIMING_KIND_INFERENCE,
    pb.EDGE_TIMING_KIND_LAYER,
    pb.EDGE_TIMING_KIND_FRAME,
)


def _trace(folder: Path, *messages: pb.EdgeFrame | pb.SensorReading) -> Any:
    trace = perfetto_trace_pb2.Trace()
    trace.ParseFromString(perfetto_trace(read_sessions(LogFile(messages).write(folder))))
    # Fields that Perfetto does not know would be lost here.
    written = trace.SerializeToString()
    trace.DiscardUnknownFields()
    assert trace.SerializeToString() == written
    return trace


def _slices(trace: Any) -> dict[str, list[tuple[str, int, int]]]:
    """Slices by track; fails if one ends that did not begin."""
    names = {
        one.track_descriptor.uuid: one.track_descriptor.name for one in trace.packet if one.HasField("track_descriptor")
    }
    opened: dict[int, list[tuple[str, int]]] = defaultdict(list)
    found: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
    last = 0
    for packet in trace.packet:
        if not packet.HasField("track_event"):
            continue
        assert packet.timestamp >= last and packet.trusted_packet_sequence_id
        last, event = packet.timestamp, packet.track_event
        if event.type == event.TYPE_SLICE_BEGIN:
            opened[event.track_uuid].append((event.name, packet.timestamp))
        elif event.type == event.TYPE_SLICE_END:
            name, begin = opened[event.track_uuid].pop()
            found[names[event.track_uuid]].append((name, begin, packet.timestamp))
    assert not any(opened.values())
    return found


def _timed(number: int) -> pb.EdgeFrame:
    return frame(
        number,
        timings=[
            timing(STAGE, "resize", 0, 1.5),
            timing(STAGE, "normalize", 1.5, 0.5),
            timing(LAYER, "conv", 2, 3, "CONV_2D"),
            timing(LAYER, "dense", 5, 0, "FULLY_CONNECTED"),
            timing(INFERENCE, "", 2, 4),
            timing(FRAME, "", 0, 7),
        ],
        memory_bytes=50_000_000 + number,
    )


def test_stages_and_layers_are_slices(tmp_path: Path) -> None:
    found = _slices(_trace(tmp_path, _timed(0), _timed(1)))
    begin = START_NS + FRAME_NS
    assert found["stages"][2:] == [
        ("resize", begin, begin + 1_500_000),
        ("normalize", begin + 1_500_000, begin + 2_000_000),
    ]
    assert [(name, end - start) for name, start, end in found["layers"][:2]] == [("conv", 3_000_000), ("dense", 0)]
    assert found["inference"][0] == ("inference", START_NS + 2_000_000, START_NS + 6_000_000)
    assert [name for name, *_ in found["frames"]] == ["frame 0", "frame 1"]


def test_what_overlaps_has_tracks_of_its_own(tmp_path: Path) -> None:
    one = frame(0, timings=[timing(STAGE, "a", 0, 5), timing(STAGE, "b", 3, 5), timing(STAGE, "c", 5, 1)])
    found = _slices(_trace(tmp_path, one))
    assert [name for name, *_ in found["stages"]] == ["a", "c"] and [name for name, *_ in found["stages 2"]] == ["b"]


def test_memory_and_sensors_are_counters(tmp_path: Path) -> None:
    trace = _trace(tmp_path, _timed(0), reading(0, "light", 300.5), reading(1, "motion", 0.1, 0.2, float("nan")))
    tracks = {
        one.track_descriptor.uuid: one.track_descriptor for one in trace.packet if one.HasField("track_descriptor")
    }
    counted = {
        tracks[one.track_event.track_uuid].name: one.track_event.double_counter_value
        for one in trace.packet
        if one.HasField("track_event") and one.track_event.type == one.track_event.TYPE_COUNTER
    }
    assert counted == {"memory": 50_000_000, "light": 300.5, "motion 0": 0.1, "motion 1": 0.2}
    units = {one.name: one.counter for one in tracks.values() if one.HasField("counter")}
    assert units["memory"].unit == perfetto_trace_pb2.CounterDescriptor.UNIT_SIZE_BYTES
    assert units["light"].unit_name == "lux"
    process = next(one for one in tracks.values() if one.HasField("process"))
    assert process.process.pid == 1 and "shop Pixel 9" in process.process.process_name
    assert all(one.parent_uuid == process.uuid for one in tracks.values() if one is not process)


def test_the_op_and_the_frame_are_said(tmp_path: Path) -> None:
    event = next(one.track_event for one in _trace(tmp_path, _timed(7)).packet if one.track_event.name == "conv")
    said = {one.name: one.string_value or one.int_value for one in event.debug_annotations}
    assert said == {"op": "CONV_2D", "frame": 7} and list(event.categories) == ["layer"]
