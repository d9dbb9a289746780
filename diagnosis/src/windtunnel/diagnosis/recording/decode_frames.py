"""Messages of an edge log as values. What a message claims beyond its bytes is not believed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from windtunnel.diagnosis.recording.edge_log import (
    TEXT,
    FrameStatistics,
    LoggedFrame,
    LoggedTensor,
    LoggedTime,
    Role,
    SensorValues,
    TimeOf,
)
from windtunnel.diagnosis.recording.edge_recording import Array
from windtunnel.v1 import edge_pb2 as pb

_DTYPES: Final[Mapping[int, str]] = {
    pb.EDGE_ELEMENT_FLOAT32: "float32",
    pb.EDGE_ELEMENT_FLOAT16: "float16",
    pb.EDGE_ELEMENT_FLOAT64: "float64",
    pb.EDGE_ELEMENT_UINT8: "uint8",
    pb.EDGE_ELEMENT_INT8: "int8",
    pb.EDGE_ELEMENT_UINT16: "uint16",
    pb.EDGE_ELEMENT_INT16: "int16",
    pb.EDGE_ELEMENT_INT32: "int32",
    pb.EDGE_ELEMENT_INT64: "int64",
    pb.EDGE_ELEMENT_BOOL: "bool",
    pb.EDGE_ELEMENT_TEXT: TEXT,
}
_ROLES: Final[Mapping[int, Role]] = {
    pb.EDGE_ROLE_RAW: Role.RAW,
    pb.EDGE_ROLE_INPUT: Role.INPUT,
    pb.EDGE_ROLE_OUTPUT: Role.OUTPUT,
    pb.EDGE_ROLE_LAYER: Role.LAYER,
    pb.EDGE_ROLE_FUNCTION_INPUT: Role.FUNCTION_INPUT,
    pb.EDGE_ROLE_FUNCTION_OUTPUT: Role.FUNCTION_OUTPUT,
    pb.EDGE_ROLE_POSTPROCESSED: Role.POSTPROCESSED,
}
_TIMES: Final[Mapping[int, TimeOf]] = {
    pb.EDGE_TIMING_KIND_FRAME: TimeOf.FRAME,
    pb.EDGE_TIMING_KIND_STAGE: TimeOf.STAGE,
    pb.EDGE_TIMING_KIND_INFERENCE: TimeOf.INFERENCE,
    pb.EDGE_TIMING_KIND_LAYER: TimeOf.LAYER,
}
_LEVELS: Final[Mapping[int, str]] = {
    pb.EDGE_LEVEL_STATISTICS: "statistics",
    pb.EDGE_LEVEL_IO: "io",
    pb.EDGE_LEVEL_LAYERS: "layers",
}
_SHOWN: Final = 80
_LARGEST_RANK: Final = 32


def decode_frame(data: bytes, *, values: bool = True) -> tuple[LoggedFrame, tuple[str, ...]] | None:
    """A frame from its message.

    Args:
        data: a serialized EdgeFrame.
        values: False: values of tensors are dropped, which saves memory.

    Returns:
        The frame, and sentences on tensors whose bytes do not fit their shape; None: the message cannot be read.
    """
    message = pb.EdgeFrame()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return None
    faults: list[str] = []
    tensors = [_tensor(one, message.level, values, faults) for one in message.tensors]
    times = [_time(one) for one in message.timings]
    frame = LoggedFrame(
        number=message.number,
        time_ns=_since_1970(message.time),
        level=_LEVELS.get(message.level, ""),
        tensors=tuple(one for one in tensors if one is not None),
        times=tuple(one for one in times if one is not None),
        memory_bytes=message.memory_bytes or None,
        values=MappingProxyType(dict(message.values)),
        label=message.label if message.HasField("label") else None,
        frames_lost=message.frames_lost,
        left_out=tuple(message.left_out),
        sample_rate_hz=_rate(message.sample_rate_hz),
    )
    return frame, tuple(faults)


def decode_reading(data: bytes) -> SensorValues | None:
    """What a sensor said, from its message.

    Args:
        data: a serialized SensorReading.

    Returns:
        The reading; None: the message cannot be read.
    """
    message = pb.SensorReading()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return None
    return SensorValues(_since_1970(message.time), message.sensor, tuple(message.values))


def _tensor(message: pb.EdgeTensor, level: int, values: bool, faults: list[str]) -> LoggedTensor | None:
    role, dtype = _ROLES.get(message.role), _DTYPES.get(message.element)
    name = message.name[:_SHOWN]
    if role is None or dtype is None:
        number = message.role if role is None else message.element
        faults.append(f"tensor {name!r} has the unknown {'role' if role is None else 'element type'} {number}")
        return None
    if len(message.shape) > _LARGEST_RANK:
        faults.append(f"{role} {name!r} has {len(message.shape)} dimensions, more than {_LARGEST_RANK}")
        return None
    shape = tuple(message.shape)
    read, fault = _values(message, dtype, shape, level) if values else (None, "")
    if fault:
        faults.append(f"{role} {name!r}: {fault}")
    return LoggedTensor(
        role=role,
        name=message.name,
        dtype=dtype,
        shape=shape,
        values=read,
        statistics=_statistics(message.statistics) if message.HasField("statistics") else None,
        scale=message.scale,
        zero_point=message.zero_point,
        redacted=message.redacted,
        op_index=message.op_index_plus_one - 1 if message.op_index_plus_one else None,
    )


def _values(message: pb.EdgeTensor, dtype: str, shape: tuple[int, ...], level: int) -> tuple[Array | None, str]:
    """The values, and what is wrong with them."""
    data = message.data
    with_values = level in (pb.EDGE_LEVEL_IO, pb.EDGE_LEVEL_LAYERS) and not message.redacted
    if dtype == TEXT:
        if not data and (message.HasField("statistics") or not with_values):
            return None, ""
        try:
            return np.array(data.decode()), ""
        except UnicodeDecodeError:
            return None, "its text is not UTF-8"
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if not data and (size or not with_values):
        return None, ""
    if len(data) != size:
        return None, f"{len(data)} bytes for {dtype} of shape {list(shape)}, which needs {size}"
    stored = np.frombuffer(data, np.dtype("uint8" if dtype == "bool" else dtype).newbyteorder("<"))
    return (stored != 0 if dtype == "bool" else stored).reshape(shape), ""


def _statistics(message: pb.EdgeStatistics) -> FrameStatistics:
    return FrameStatistics(
        count=message.count,
        non_finite=message.non_finite,
        min=message.min,
        max=message.max,
        mean=message.mean,
        std=message.std,
        quantiles=tuple(message.quantiles),
        projection=tuple(message.projection),
    )


def _time(message: pb.EdgeTiming) -> LoggedTime | None:
    of = _TIMES.get(message.kind)
    if of is None:
        return None
    begin = _nanoseconds(message.begin) if message.HasField("begin") else None
    return LoggedTime(of, message.name, _nanoseconds(message.elapsed), begin, message.op)


def _nanoseconds(message: Duration) -> int:
    return message.seconds * 1_000_000_000 + message.nanos


def _since_1970(message: Timestamp) -> int:
    return message.seconds * 1_000_000_000 + message.nanos


def _rate(value: float) -> float | None:
    return value if math.isfinite(value) and value > 0 else None
