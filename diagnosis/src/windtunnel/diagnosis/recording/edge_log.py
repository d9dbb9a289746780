"""What an edge log says, frame by frame: the messages of edge.proto as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from windtunnel.diagnosis.recording.edge_recording import Array, EdgeDevice

# NumPy names of element types; text is the only one that NumPy has no fixed size for.
TEXT: Final = "text"


class Role(StrEnum):
    """What an array is in the app."""

    RAW = "raw"
    INPUT = "input"
    OUTPUT = "output"
    LAYER = "layer"
    FUNCTION_INPUT = "function_input"
    FUNCTION_OUTPUT = "function_output"
    POSTPROCESSED = "postprocessed"


class TimeOf(StrEnum):
    """What a time belongs to."""

    FRAME = "frame"
    STAGE = "stage"
    INFERENCE = "inference"
    LAYER = "layer"


@dataclass(frozen=True, slots=True)
class FrameStatistics:
    """Statistics of one array, by the formulas of docs/edge-log.md."""

    count: int
    non_finite: int
    min: float
    max: float
    mean: float
    std: float
    quantiles: tuple[float, ...]
    projection: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LoggedTensor:
    """An array of a frame.

    Attributes:
        role, name: what it is; an empty name: the only one of its role.
        dtype: NumPy name of its element type, or `TEXT`.
        shape: its sizes, with a batch only if the app had one.
        values: its values, text as an array of one str; None: not recorded.
        statistics: None: not recorded.
        scale, zero_point: of a quantized tensor; scale 0: not quantized.
        redacted: the app changed the values or took them away.
        op_index: of the op that gives it; None: not known.
    """

    role: Role
    name: str
    dtype: str
    shape: tuple[int, ...]
    values: Array | None
    statistics: FrameStatistics | None
    scale: float
    zero_point: int
    redacted: bool
    op_index: int | None


@dataclass(frozen=True, slots=True)
class LoggedTime:
    """A time of a frame. `begin_ns` counts from the beginning of the frame; None: not recorded."""

    of: TimeOf
    name: str
    elapsed_ns: int
    begin_ns: int | None
    op: str


@dataclass(frozen=True, slots=True)
class LoggedFrame:
    """One recorded frame; None and empty: not recorded. `time_ns` counts from 1970, by the clock of the device."""

    number: int
    time_ns: int
    level: str
    tensors: tuple[LoggedTensor, ...]
    times: tuple[LoggedTime, ...]
    memory_bytes: int | None
    values: Mapping[str, str]
    label: int | None
    frames_lost: int
    left_out: tuple[str, ...]
    sample_rate_hz: float | None


@dataclass(frozen=True, slots=True)
class SensorValues:
    """What a sensor said: `sensor` "orientation" (degrees), "light" (lux), "motion" (m/s^2), or the app's own name."""

    time_ns: int
    sensor: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class EdgeSession:
    """What one `Monitor` of an app wrote.

    Attributes:
        name: of the session.
        files: the files it was read from, in order.
        device: where it was recorded.
        level: how much the monitor recorded when the session began; empty: not known.
        frames: in the order of their numbers.
        readings: of sensors, in the order of their times.
        gaps: what the files lack and why, as sentences.
    """

    name: str
    files: tuple[str, ...]
    device: EdgeDevice
    level: str
    frames: tuple[LoggedFrame, ...]
    readings: tuple[SensorValues, ...]
    gaps: tuple[str, ...]
