"""An edge log as a Perfetto trace: stages and layers as slices, memory and sensors as counters.

A trace is a sequence of TracePacket messages (protos/perfetto/trace of Perfetto). Of them ClockSnapshot,
TrackDescriptor and TrackEvent are needed; they are encoded here field by field.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from windtunnel.diagnosis.edge_logs.protobuf_fields import bytes_field, double_field, number_field, text_field
from windtunnel.diagnosis.recording.edge_log import EdgeSession, LoggedFrame, LoggedTime, TimeOf

# Trace.packet; TracePacket: clock_snapshot, timestamp, trusted_packet_sequence_id, track_event, sequence_flags,
# track_descriptor.
_PACKET, _CLOCKS, _TIMESTAMP, _SEQUENCE, _EVENT, _FLAGS, _TRACK = 1, 6, 8, 10, 11, 13, 60
# ClockSnapshot: clocks (clock_id, timestamp).
_CLOCK, _CLOCK_ID, _CLOCK_TIME = 1, 1, 2
# TrackDescriptor: uuid, name, process (pid, process_name), parent_uuid, counter (unit, unit_name).
_UUID, _NAME, _PROCESS, _PARENT, _COUNTER = 1, 2, 3, 5, 8
_PID, _PROCESS_NAME, _UNIT, _UNIT_NAME = 1, 6, 3, 6
# TrackEvent: type, track_uuid, categories, name, double_counter_value, debug_annotations (string_value, int_value,
# name).
_TYPE, _TRACK_UUID, _CATEGORY, _EVENT_NAME, _DOUBLE_VALUE, _ANNOTATION = 9, 11, 22, 23, 44, 4
_TEXT_VALUE, _INT_VALUE, _ANNOTATION_NAME = 6, 4, 10
_BEGIN, _END, _COUNT = 1, 2, 4
_SEQUENCE_ID: Final = 1
_INCREMENTAL_STATE_CLEARED: Final = 1
# BuiltinClock: times since 1970, and the clock of a trace, in which timestamps are if nothing else is stated.
_REALTIME, _BOOTTIME = 1, 6
_UNIT_BYTES: Final = 3
_TRACKS: Final = {TimeOf.FRAME: "frames", TimeOf.STAGE: "stages", TimeOf.INFERENCE: "inference", TimeOf.LAYER: "layers"}
_UNITS: Final = {"orientation": "degrees", "light": "lux", "motion": "m/s^2"}


@dataclass(frozen=True, slots=True)
class _Slice:
    """A time of a frame on the clock of the device."""

    begin: int
    end: int
    name: str
    category: str
    op: str
    frame: int


@dataclass(slots=True)
class _Tracks:
    """Numbers of tracks, and the packets that describe them."""

    packets: list[bytes] = field(default_factory=list)
    known: dict[tuple[int, str], int] = field(default_factory=dict)

    def process(self, session: EdgeSession, number: int) -> int:
        uuid = len(self.known) + 1
        self.known[uuid, ""] = uuid
        name = " ".join(part for part in (session.device.app or "app", session.device.device, session.name) if part)
        process = number_field(_PID, number) + text_field(_PROCESS_NAME, name)
        self._describe(number_field(_UUID, uuid) + bytes_field(_PROCESS, process))
        return uuid

    def slices(self, parent: int, name: str) -> int:
        return self._track(parent, name, b"")

    def counter(self, parent: int, name: str, unit: str) -> int:
        content = number_field(_UNIT, _UNIT_BYTES) if unit == "bytes" else text_field(_UNIT_NAME, unit)
        return self._track(parent, name, bytes_field(_COUNTER, content))

    def _track(self, parent: int, name: str, content: bytes) -> int:
        if (parent, name) not in self.known:
            uuid = self.known[parent, name] = len(self.known) + 1
            self._describe(
                number_field(_UUID, uuid) + number_field(_PARENT, parent) + text_field(_NAME, name) + content
            )
        return self.known[parent, name]

    def _describe(self, descriptor: bytes) -> None:
        self.packets.append(bytes_field(_TRACK, descriptor) + number_field(_SEQUENCE, _SEQUENCE_ID))


def perfetto_trace(sessions: Sequence[EdgeSession]) -> bytes:
    """A trace that https://ui.perfetto.dev opens. Times are those of the device's clock, in nanoseconds since 1970.

    Args:
        sessions: of a log; each is a process of the trace.

    Returns:
        The bytes of a .perfetto-trace file.
    """
    tracks = _Tracks()
    events: list[tuple[int, bytes]] = []
    for number, session in enumerate(sessions, 1):
        process = tracks.process(session, number)
        events.extend(_slice_events(tracks, process, session))
        events.extend(_counter_events(tracks, process, session))
    first = min((time for time, _ in events), default=0)
    packets = [bytes_field(_PACKET, _same_clocks(max(first, 0)))]
    packets.extend(bytes_field(_PACKET, packet + _flags(order)) for order, packet in enumerate(tracks.packets))
    # A stable sort: the end of a slice and the beginning of the next at one time stay in this order.
    packets.extend(bytes_field(_PACKET, packet) for _, packet in sorted(events, key=lambda one: one[0]))
    return b"".join(packets)


def _same_clocks(time: int) -> bytes:
    """Says that the clock of the trace shows the time since 1970, so that the viewer can show dates."""
    clocks = (number_field(_CLOCK_ID, clock) + number_field(_CLOCK_TIME, time) for clock in (_BOOTTIME, _REALTIME))
    return bytes_field(_CLOCKS, b"".join(bytes_field(_CLOCK, one) for one in clocks))


def _flags(order: int) -> bytes:
    return b"" if order else number_field(_FLAGS, _INCREMENTAL_STATE_CLEARED)


def _slice_events(tracks: _Tracks, process: int, session: EdgeSession) -> Iterator[tuple[int, bytes]]:
    for of, title in _TRACKS.items():
        slices = [_slice(frame, time) for frame in session.frames for time in _placed(frame) if time.of == of]
        lanes = _lanes(slices)
        for order, lane in enumerate(lanes):
            track = tracks.slices(process, f"{title} {order + 1}" if order else title)
            for one in lane:
                annotations = _annotation("op", one.op) + _number_annotation("frame", one.frame)
                yield one.begin, _event(_BEGIN, track, one.begin, _named(one) + annotations)
                yield one.end, _event(_END, track, one.end, b"")


def _placed(frame: LoggedFrame) -> Iterator[LoggedTime]:
    """The times of a frame with their beginnings. One that was not recorded follows the one before it of its kind."""
    at: dict[TimeOf, int] = {}
    for time in frame.times:
        begin = at.get(time.of, 0) if time.begin_ns is None else time.begin_ns
        at[time.of] = begin + time.elapsed_ns
        yield LoggedTime(time.of, time.name, max(time.elapsed_ns, 0), begin, time.op)


def _slice(frame: LoggedFrame, time: LoggedTime) -> _Slice:
    begin = frame.time_ns + (time.begin_ns or 0)
    default = f"frame {frame.number}" if time.of == TimeOf.FRAME else time.of.value
    return _Slice(begin, begin + time.elapsed_ns, time.name or default, time.of.value, time.op, frame.number)


def _lanes(slices: Sequence[_Slice]) -> list[list[_Slice]]:
    """Slices that overlap, on tracks of their own: slices of one track must follow each other."""
    lanes: list[list[_Slice]] = []
    for one in sorted(slices, key=lambda one: (one.begin, one.end)):
        free = next((lane for lane in lanes if lane[-1].end <= one.begin), None)
        if free is None:
            lanes.append([one])
        else:
            free.append(one)
    return lanes


def _named(one: _Slice) -> bytes:
    return text_field(_CATEGORY, one.category) + text_field(_EVENT_NAME, one.name)


def _annotation(name: str, value: str) -> bytes:
    return (
        bytes_field(_ANNOTATION, text_field(_ANNOTATION_NAME, name) + text_field(_TEXT_VALUE, value)) if value else b""
    )


def _number_annotation(name: str, value: int) -> bytes:
    return bytes_field(_ANNOTATION, text_field(_ANNOTATION_NAME, name) + number_field(_INT_VALUE, value))


def _counter_events(tracks: _Tracks, process: int, session: EdgeSession) -> Iterator[tuple[int, bytes]]:
    for frame in session.frames:
        if frame.memory_bytes is not None:
            track = tracks.counter(process, "memory", "bytes")
            yield frame.time_ns, _count(track, frame.time_ns, float(frame.memory_bytes))
    for reading in session.readings:
        unit = _UNITS.get(reading.sensor, "")
        for index, value in enumerate(reading.values):
            if math.isfinite(value):
                name = f"{reading.sensor} {index}" if len(reading.values) > 1 else reading.sensor
                track = tracks.counter(process, name, unit)
                yield reading.time_ns, _count(track, reading.time_ns, value)


def _count(track: int, time: int, value: float) -> bytes:
    return _event(_COUNT, track, time, double_field(_DOUBLE_VALUE, value))


def _event(kind: int, track: int, time: int, content: bytes) -> bytes:
    event = number_field(_TYPE, kind) + number_field(_TRACK_UUID, track) + content
    return number_field(_TIMESTAMP, max(time, 0)) + number_field(_SEQUENCE, _SEQUENCE_ID) + bytes_field(_EVENT, event)
