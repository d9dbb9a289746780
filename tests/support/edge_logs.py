"""Edge logs as an app writes them: messages of edge.proto in MCAP files of the stock library, none of our monitors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.duration_pb2 import DESCRIPTOR as DURATION
from google.protobuf.timestamp_pb2 import DESCRIPTOR as TIMESTAMP
from mcap.writer import CompressionType, Writer

from windtunnel.v1 import edge_pb2 as pb

START_NS = 1_796_000_000_000_000_000
FRAME_NS = 33_000_000
DEVICE: Mapping[str, str] = {
    "app": "shop",
    "app_version": "4.2",
    "os": "Android 16",
    "device": "Pixel 9",
    "runtime": "litert 2.3",
    "accelerator": "gpu",
    "threads": "2",
    "level": "io",
    "schema": "windtunnel.edge/1",
    "camera": "back",
}
ELEMENTS: Mapping[str, Any] = {
    "float32": pb.EDGE_ELEMENT_FLOAT32,
    "float16": pb.EDGE_ELEMENT_FLOAT16,
    "float64": pb.EDGE_ELEMENT_FLOAT64,
    "uint8": pb.EDGE_ELEMENT_UINT8,
    "int8": pb.EDGE_ELEMENT_INT8,
    "uint16": pb.EDGE_ELEMENT_UINT16,
    "int16": pb.EDGE_ELEMENT_INT16,
    "int32": pb.EDGE_ELEMENT_INT32,
    "int64": pb.EDGE_ELEMENT_INT64,
    "bool": pb.EDGE_ELEMENT_BOOL,
}
ROLES: Mapping[str, Any] = {
    "raw": pb.EDGE_ROLE_RAW,
    "input": pb.EDGE_ROLE_INPUT,
    "output": pb.EDGE_ROLE_OUTPUT,
    "layer": pb.EDGE_ROLE_LAYER,
    "function_input": pb.EDGE_ROLE_FUNCTION_INPUT,
    "function_output": pb.EDGE_ROLE_FUNCTION_OUTPUT,
    "postprocessed": pb.EDGE_ROLE_POSTPROCESSED,
}


def tensor(role: str, values: Any, name: str = "", *, with_values: bool = True, **more: Any) -> pb.EdgeTensor:
    """An array of a frame, with its values, or with statistics instead."""
    if isinstance(values, str):
        data = values.encode() if with_values else b""
        return pb.EdgeTensor(role=ROLES[role], name=name, element=pb.EDGE_ELEMENT_TEXT, data=data, **more)
    array = np.asarray(values)
    return pb.EdgeTensor(
        role=ROLES[role],
        name=name,
        element=ELEMENTS[array.dtype.name],
        shape=array.shape,
        data=array.tobytes() if with_values else b"",
        statistics=None if with_values else statistics(array),
        **more,
    )


def statistics(array: Any) -> pb.EdgeStatistics:
    """Plain figures; the projection is of at most 16 values, where it is the array itself up to signs."""
    values = np.asarray(array, np.float64).ravel()
    finite = values[np.isfinite(values)]
    figures = pb.EdgeStatistics(count=values.size, non_finite=values.size - finite.size)
    if finite.size:
        figures.min, figures.max, figures.mean, figures.std = finite.min(), finite.max(), finite.mean(), finite.std()
        figures.quantiles.extend(np.quantile(finite, [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99]))
    if values.size <= 16:
        figures.projection.extend(np.where(np.isfinite(values), values, 0))
    return figures


def timing(kind: int, name: str, begin_ms: float, elapsed_ms: float, op: str = "") -> pb.EdgeTiming:
    """A time of a frame."""
    message = pb.EdgeTiming(kind=kind, name=name, op=op)  # type: ignore[arg-type]
    message.begin.FromNanoseconds(round(begin_ms * 1e6))
    message.elapsed.FromNanoseconds(round(elapsed_ms * 1e6))
    return message


def frame(number: int, *tensors: pb.EdgeTensor, level: int = pb.EDGE_LEVEL_IO, **more: Any) -> pb.EdgeFrame:
    """A frame, at the time that a camera of 30 Hz has it."""
    message = pb.EdgeFrame(number=number, level=level, tensors=tensors, **more)  # type: ignore[arg-type]
    message.time.FromNanoseconds(START_NS + number * FRAME_NS)
    return message


def reading(number: int, sensor: str, *values: float) -> pb.SensorReading:
    """What a sensor said at the time of a frame."""
    message = pb.SensorReading(sensor=sensor, values=values)
    message.time.FromNanoseconds(START_NS + number * FRAME_NS)
    return message


@dataclass(frozen=True)
class LogFile:
    """A file to write: with one chunk for each message if `chunk_bytes` is 1."""

    messages: Sequence[pb.EdgeFrame | pb.SensorReading | bytes]
    session: str = "20261130T153000-812-9f3c"
    number: int = 1
    device: Mapping[str, str] = field(default_factory=lambda: DEVICE)
    profile: str = "windtunnel.edge/1"
    chunk_bytes: int = 1

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.session}-{self.number:06d}.mcap"
        with path.open("wb") as file:
            writer = Writer(file, chunk_size=self.chunk_bytes, compression=CompressionType.NONE)
            writer.start(profile=self.profile, library="windtunnel-monitor test 1")
            writer.add_metadata("windtunnel.device", {"session": self.session, **self.device})
            channels = [
                writer.register_channel(topic, "protobuf", writer.register_schema(name, "protobuf", _descriptors()))
                for topic, name in (
                    ("/frame", "windtunnel.v1.EdgeFrame"),
                    ("/sensor", "windtunnel.v1.SensorReading"),
                )
            ]
            for order, message in enumerate(self.messages):
                at = START_NS if isinstance(message, bytes) else message.time.ToNanoseconds()
                data = message if isinstance(message, bytes) else message.SerializeToString()
                writer.add_message(channels[isinstance(message, pb.SensorReading)], at, data, at, order)
            writer.finish()  # type: ignore[no-untyped-call]
        return path


def _descriptors() -> bytes:
    files = FileDescriptorSet()
    for one in (DURATION, TIMESTAMP, pb.DESCRIPTOR):
        one.CopyToProto(files.file.add())
    return files.SerializeToString()
