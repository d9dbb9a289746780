"""The messages of proto/windtunnel/v1/edge.proto as bytes; docs/edge-log.md says what is in them."""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from windtunnel.monitor import wire
from windtunnel.monitor.mcap.writer import Buffer
from windtunnel.monitor.statistics import Statistics

Array = npt.NDArray[Any]


class Level:
    """How much is recorded. Plain numbers: members of an Enum take longer than all else here."""

    OFF: Final = 0
    STATISTICS: Final = 1
    IO: Final = 2
    LAYERS: Final = 3


LEVELS = ("off", "statistics", "io", "layers")


class Role:
    """What an array is in the app."""

    RAW: Final = 1
    INPUT: Final = 2
    OUTPUT: Final = 3
    LAYER: Final = 4
    FUNCTION_INPUT: Final = 5
    FUNCTION_OUTPUT: Final = 6
    POSTPROCESSED: Final = 7


class TimingKind:
    """What a time belongs to."""

    FRAME: Final = 1
    STAGE: Final = 2
    INFERENCE: Final = 3
    LAYER: Final = 4


_ELEMENTS = {"<f4": 1, "<f2": 2, "<f8": 3, "|u1": 4, "|i1": 5, "<u2": 6, "<i2": 7, "<i4": 8, "<i8": 9, "|b1": 10}
_ELEMENT_OF = {np.dtype(name): element for name, element in _ELEMENTS.items()}
_TEXT = 11
_LITTLE = sys.byteorder == "little"


def stored(value: Any) -> Array | str:
    """Bring a value of the app into a form that the log has.

    Args:
        value: An array, numbers, something that numpy takes for an array, or a text.

    Returns:
        The text, or an array of a type with an element type.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return np.frombuffer(value, np.uint8)
    array = np.asarray(value)
    if array.dtype in _ELEMENT_OF:
        return array
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind in "US" and array.ndim == 0:
        return str(array.item() if kind == "U" else array.item().decode("utf-8", "replace"))
    if kind in "fiu" and not array.dtype.isnative and array.dtype.newbyteorder("=") in _ELEMENT_OF:
        return array.astype(array.dtype.newbyteorder("="))
    if kind == "u":
        # Numbers above 2^63 - 1 do not fit the widest type of the log; float64 keeps their size.
        return array.astype(np.int64 if size == 4 or not array.size or array.max() < 2**63 else np.float64)
    if kind == "f":
        return array.astype(np.float64)
    if kind == "V" and array.dtype.names is None and size <= 2:  # bfloat16 and 8-bit floats
        return array.astype(np.float32)
    raise TypeError(f"values of {array.dtype} cannot be recorded: give numbers or a text")


def element_of(value: Array | str) -> int:
    """Give the element type of a stored value.

    Args:
        value: What `stored` gave.

    Returns:
        Its number in edge.proto.
    """
    return _TEXT if isinstance(value, str) else _ELEMENT_OF[value.dtype]


def bytes_of(array: Array, buffer: npt.NDArray[np.uint8] | None) -> Buffer:
    """Copy the values of a stored array.

    Args:
        array: What `stored` gave.
        buffer: Memory of their size, or None for new memory.

    Returns:
        Their bytes, little-endian, in C order.
    """
    if not _LITTLE:
        array = array.byteswap()
    if buffer is None:
        return array.tobytes()
    buffer.view(array.dtype).reshape(array.shape)[...] = array
    return buffer.data


@lru_cache(maxsize=512)
def _tensor_head(role: int, name: str, element: int, shape: tuple[int, ...]) -> bytes:
    sizes = b"".join(map(wire.varint, shape))
    shape_field = wire.data(4, sizes) if shape else b""
    return wire.number(1, role) + wire.text(2, name) + wire.number(3, element) + shape_field


@lru_cache(maxsize=512)
def _tensor_end(scale: float, zero_point: int, redacted: bool, op_index: int | None) -> bytes:
    return (
        (wire.fixed64(7, struct.pack("<d", scale)) if scale else b"")
        + wire.number(8, zero_point)
        + wire.number(9, redacted)
        + wire.number(10, 0 if op_index is None else op_index + 1)
    )


def tensor_pieces(
    kind: tuple[int, str, int, tuple[int, ...]],
    data: Buffer,
    statistics: Statistics | None,
    end: tuple[float, int, bool, int | None],
) -> tuple[Buffer, ...]:
    """Write an array as a field of its frame.

    Args:
        kind: Its role, name, element type and shape.
        data: Its values, or nothing.
        statistics: Its statistics, or None.
        end: Scale and zero point, whether the redaction hook changed it, and the index of the op that gives it.

    Returns:
        Bytes in pieces: data is a piece of its own, so that it is not copied.
    """
    before = _tensor_head(*kind)
    after = _tensor_end(*end)
    if statistics is not None:
        after = _statistics(statistics) + after
    if not data:
        return (wire.head(4, len(before) + len(after)), before, after)
    data_head = wire.head(5, len(data))
    size = len(before) + len(data_head) + len(data) + len(after)
    return (wire.head(4, size) + before + data_head, data, after)


_FIGURES = struct.Struct("<BfBfBfBf")


@lru_cache(maxsize=512)
def _counts(count: int, non_finite: int) -> bytes:
    return wire.number(1, count) + wire.number(2, non_finite)


def _statistics(s: Statistics) -> bytes:
    quantiles = (s.quantiles if _LITTLE else s.quantiles.byteswap()).tobytes()
    projection = (s.projection if _LITTLE else s.projection.byteswap()).tobytes()
    figures = _FIGURES.pack(0x1D, s.min, 0x25, s.max, 0x2D, s.mean, 0x35, s.std)
    content = _counts(s.count, s.non_finite) + figures
    content += b":" + wire.varint(len(quantiles)) + quantiles + b"B" + wire.varint(len(projection)) + projection
    return b"2" + wire.varint(len(content)) + content


def _time(nanoseconds: int) -> bytes:
    """A Timestamp or a Duration."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return wire.number(1, seconds) + wire.number(2, rest)


def timing(kind: int, name: str, elapsed_ns: int, begin_ns: int, op: str = "") -> bytes:
    """Write a time as a field of its frame.

    Args:
        kind: What it belongs to.
        name: Name of that.
        elapsed_ns: How long it took, in nanoseconds.
        begin_ns: When it began, in nanoseconds after the beginning of the frame.
        op: Of a layer: its op.

    Returns:
        The field.
    """
    begin = wire.data(4, _time(begin_ns)) if begin_ns > 0 else b""
    words = wire.number(1, kind) + wire.text(2, name) + wire.data(3, _time(max(elapsed_ns, 0)))
    return wire.data(5, words + begin + wire.text(5, op))


def frame_head(number: int, time_ns: int, level: int) -> bytes:
    """Write what begins a frame.

    Args:
        number: Its number in the session.
        time_ns: When it began, in nanoseconds since 1970.
        level: What is recorded of it.

    Returns:
        The fields.
    """
    return wire.number(1, number) + wire.data(2, _time(time_ns)) + wire.number(3, level)


def frame_tail(
    memory_bytes: int,
    values: Mapping[str, str],
    label: int | None,
    left_out: Sequence[str],
    sample_rate_hz: float,
) -> bytes:
    """Write what ends a frame.

    Args:
        memory_bytes: Resident memory of the process, 0: not recorded.
        values: The app's own facts.
        label: The class of the ground truth, if it is known.
        left_out: What was left out, and why.
        sample_rate_hz: Rate of raw audio; 0: none.

    Returns:
        The fields.
    """
    parts = [wire.number(6, memory_bytes)] if memory_bytes else []
    parts += [wire.data(7, wire.text(1, key) + wire.text(2, value)) for key, value in values.items()]
    if label is not None:
        parts.append(wire.varint(8 << 3) + wire.varint(label))
    parts += [wire.text(10, words) for words in left_out]
    if sample_rate_hz:
        parts.append(wire.fixed64(11, struct.pack("<d", sample_rate_hz)))
    return b"".join(parts)


def lost(frames: int, reasons: Sequence[str]) -> bytes:
    """Write what is missing before a frame.

    Args:
        frames: How many frames were lost since the last recorded one.
        reasons: Why.

    Returns:
        The fields, to be added to the frame.
    """
    return wire.number(9, frames) + b"".join(wire.text(10, words) for words in reasons)


def sensor_reading(time_ns: int, sensor: str, values: Sequence[float]) -> bytes:
    """Write what a sensor said.

    Args:
        time_ns: When, in nanoseconds since 1970.
        sensor: Its name.
        values: What it said.

    Returns:
        The message.
    """
    return (
        wire.data(1, _time(time_ns))
        + wire.text(2, sensor)
        + (wire.data(3, struct.pack(f"<{len(values)}d", *values)) if values else b"")
    )
