"""The golden recording of edge logs: what the monitors of all languages record for tests/data/edge_golden/*.mcap.

One `Monitor` with `FACTS` as facts of the device, raw samples on, no bounds reached; the level changes between frames.
Before frame 0 the sensors say `SENSORS`. Frames follow in order, with their arrays in order. At last it is closed.
An array's values are (i * step) mod modulus, times `scale`, plus `offset`, in float64, cast to the element type.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from windtunnel.monitor import Monitor
from windtunnel.monitor.mcap.reader import Skipped, read
from windtunnel.monitor.mcap.records import Header, Message, Metadata
from windtunnel.v1 import edge_pb2

FACTS = {
    "app": "golden",
    "app_version": "1.0",
    "model_sha256": "ab" * 32,
    "pipeline": '{"schema":"windtunnel.pipeline/1"}',
    "os": "test 1",
    "device": "bench",
    "runtime": "none",
    "accelerator": "cpu",
    "threads": "2",
}
SENSORS = (("orientation", [90.0]), ("motion", [0.5, -9.75, 0.25]), ("light", [1e6]))


@dataclass(frozen=True)
class Values:
    """An array by formula. `special`: values at places, instead of the formula's; a text has `words`."""

    element: str
    shape: tuple[int, ...] = ()
    step: int = 1
    modulus: int = 256
    scale: float = 1.0
    offset: float = 0.0
    special: dict[int, float] = field(default_factory=dict)
    words: str = ""

    def make(self) -> Any:
        """The array, or the text."""
        if self.element == "text":
            return self.words
        count = int(np.prod(self.shape))
        values = (np.arange(count) * self.step % self.modulus) * self.scale + self.offset
        for place, value in self.special.items():
            values[place] = value
        return values.astype(self.element).reshape(self.shape)


@dataclass(frozen=True)
class Recorded:
    """A call of the monitor; `result`: what a function (role "function") returned; the last three: of a layer."""

    role: str
    name: str
    values: Values
    result: Values | None = None
    scale: float = 0.0
    zero_point: int = 0
    op_index: int | None = None


@dataclass(frozen=True)
class GoldenFrame:
    """A frame: its level, its calls. An "off" frame is counted and not recorded."""

    level: str
    calls: tuple[Recorded, ...]
    label: int | None = None
    notes: dict[str, str] = field(default_factory=dict)
    stages: tuple[str, ...] = ()


_RAW = Recorded("raw", "", Values("uint8", (4, 5, 3), step=7))
_FUNCTION = Recorded(
    "function", "preprocess", Values("uint8", (4, 5, 3), step=7), Values("float32", (4, 5, 3), 7, 256, 1 / 128, -1.0)
)
_INPUT = Recorded("input", "", Values("float32", (1, 96, 96, 3), 37, 256, 1 / 128, -1.0))
_OUTPUT = Recorded("output", "", Values("float32", (1, 10), 3, 10, 0.125, -0.5))
_TYPES = (
    Recorded("input", "ids", Values("int32", (1, 6), 7, 100, special={4: 2**30, 5: -5})),
    Recorded("input", "mask", Values("int64", (1, 6), 1, 2)),
    Recorded("input", "wide", Values("float64", (3,), special={1: 1e300, 2: -1e300})),
    Recorded("input", "flags", Values("bool", (7,), 1, 2)),
    Recorded("input", "u16", Values("uint16", (2, 600), 59, 65536)),
    Recorded("input", "i16", Values("int16", (1200,), 59, 65536, 1.0, -32768.0)),
    Recorded("output", "empty", Values("float32", (0, 4))),
    Recorded("output", "one", Values("float32", (), offset=2.5)),
)
_LAYERS = (
    Recorded("layer", "conv", Values("int8", (1, 3, 3, 4), 5, 256, 1.0, -128.0), scale=0.05, zero_point=-3, op_index=0),
    Recorded("layer", "relu", Values("float32", (1, 8), 1, 8, 0.25, special={3: np.nan, 5: np.inf}), op_index=1),
    Recorded("layer", "wide", Values("float32", (1, 17, 17, 128), 101, 1009, 0.5, -100.0), op_index=2),
    Recorded("layer", "lost", Values("float32", (3,), special={0: np.nan, 1: np.inf, 2: -np.inf}), op_index=3),
)
_RESULTS = (
    Recorded("postprocessed", "classes", Values("int32", (3,), 2, 5)),
    Recorded("postprocessed", "caption", Values("text", words="naïve ☃")),
)

GOLDEN = (
    GoldenFrame("io", (_RAW, _FUNCTION, _INPUT, _OUTPUT, *_TYPES, *_RESULTS), 3, {"lens": "wide"}, ("resize",)),
    GoldenFrame("statistics", (_RAW, _FUNCTION, _INPUT, _OUTPUT, *_TYPES, *_LAYERS, *_RESULTS)),
    GoldenFrame("off", (_INPUT,)),
    GoldenFrame("layers", (_INPUT, *_LAYERS, _OUTPUT), label=0),
)


def record(folder: Path) -> Path:
    """Record the golden recording with the Python monitor.

    Args:
        folder: An empty folder.

    Returns:
        The file.
    """
    facts: dict[str, Any] = {
        name: value for name, value in FACTS.items() if name not in ("app", "app_version", "model_sha256", "pipeline")
    }
    pipeline = {"schema": "windtunnel.pipeline/1"}
    with Monitor(
        folder, "io", model=FACTS["model_sha256"], app="golden", app_version="1.0", pipeline=pipeline, raw=True, **facts
    ) as monitor:
        for sensor, values in SENSORS:
            monitor.sensor(sensor, values)
        for golden in GOLDEN:
            monitor.level = golden.level
            raw = next((call.values.make() for call in golden.calls if call.role == "raw"), None)
            with monitor.frame(raw=raw, label=golden.label) as frame:
                for call in golden.calls:
                    _do(frame, call)
                for stage in golden.stages:
                    with frame.stage(stage):
                        pass
                frame.note(**golden.notes)
    (file,) = folder.glob("*.mcap")
    return file


def _do(frame: Any, call: Recorded) -> None:
    value = call.values.make()
    match call.role:
        case "input":
            frame.input(value, call.name)
        case "output":
            frame.output(value, call.name)
        case "layer":
            frame.layer(call.name, value, call.scale, call.zero_point, call.op_index)
        case "postprocessed":
            frame.postprocessed(call.name, value)
        case "function":
            assert call.result is not None
            result = call.result.make()
            frame.call(call.name, lambda _: result, value)


def differences(file: Path) -> list[str]:
    """Compare a log with the golden recording: all but times, the session and the order of equal things.

    Args:
        file: The log.

    Returns:
        What differs; empty: nothing.
    """
    items = list(read(file))
    found = [f"skipped: {item}" for item in items if isinstance(item, Skipped)]
    header = next(item for item in items if isinstance(item, Header))
    if header.profile != "windtunnel.edge/1" or not header.library.startswith("windtunnel-monitor "):
        found.append(f"header: {header}")
    device = next(item.metadata for item in items if isinstance(item, Metadata) and item.name == "windtunnel.device")
    found += [
        f"fact {name}: {device.get(name)!r}, not {value!r}"
        for name, value in FACTS.items()
        if device.get(name) != value
    ]
    messages = [item for item in items if isinstance(item, Message)]
    sensors = [edge_pb2.SensorReading.FromString(item.data) for item in messages if item.channel_id == 2]
    said = [(reading.sensor, list(reading.values)) for reading in sensors]
    if said != list(SENSORS):
        found.append(f"sensors: {said}")
    frames = [edge_pb2.EdgeFrame.FromString(item.data) for item in messages if item.channel_id == 1]
    recorded = [(number, golden) for number, golden in enumerate(GOLDEN) if golden.level != "off"]
    if [frame.number for frame in frames] != [number for number, _ in recorded]:
        return [*found, f"frames: {[frame.number for frame in frames]}"]
    for frame, (number, golden) in zip(frames, recorded, strict=True):
        found += [f"frame {number}: {words}" for words in _frame_differences(frame, golden)]
    return found


def expected_frame(golden: GoldenFrame) -> edge_pb2.EdgeFrame:
    """The message of a golden frame, but its times."""
    level = {"statistics": 1, "io": 2, "layers": 3}[golden.level]
    frame = edge_pb2.EdgeFrame(level=level, values=golden.notes)  # type: ignore[arg-type]
    if golden.label is not None:
        frame.label = golden.label
    for call in golden.calls:
        roles = {"raw": (1,), "input": (2,), "output": (3,), "layer": (4,), "function": (5, 6), "postprocessed": (7,)}
        for role, values in zip(roles[call.role], (call.values, call.result), strict=False):
            assert values is not None
            frame.tensors.append(_expected_tensor(role, call, values, with_values=level >= 2))
    return frame


_ELEMENTS = ("", "float32", "float16", "float64", "uint8", "int8", "uint16", "int16", "int32", "int64", "bool", "text")


def _expected_tensor(role: int, call: Recorded, values: Values, with_values: bool) -> edge_pb2.EdgeTensor:
    made = values.make()
    tensor = edge_pb2.EdgeTensor(role=role, name=call.name, element=_ELEMENTS.index(values.element), shape=values.shape)  # type: ignore[arg-type]
    tensor.scale, tensor.zero_point = call.scale, call.zero_point
    tensor.op_index_plus_one = 0 if call.op_index is None else call.op_index + 1
    if with_values:
        tensor.data = made.encode() if isinstance(made, str) else made.tobytes()
    elif not isinstance(made, str):
        tensor.statistics.CopyFrom(slow_statistics(made))
    return tensor


def _frame_differences(frame: edge_pb2.EdgeFrame, golden: GoldenFrame) -> list[str]:
    expected = expected_frame(golden)
    found = []
    for name in ("level", "label", "values", "frames_lost", "left_out"):
        if getattr(frame, name) != getattr(expected, name) or frame.HasField("label") != expected.HasField("label"):
            found.append(f"{name}: {getattr(frame, name)!r}, not {getattr(expected, name)!r}")
    stages = {timing.name for timing in frame.timings if timing.kind == edge_pb2.EDGE_TIMING_KIND_STAGE}
    functions = {call.name for call in golden.calls if call.role == "function"}
    if stages != functions | set(golden.stages):
        found.append(f"stages: {sorted(stages)}")
    if sum(timing.kind == edge_pb2.EDGE_TIMING_KIND_FRAME for timing in frame.timings) != 1:
        found.append("the frame's own time is missing")
    if len(frame.tensors) != len(expected.tensors):
        return [*found, f"tensors: {[tensor.name for tensor in frame.tensors]}"]
    for got, want in zip(frame.tensors, expected.tensors, strict=True):
        found += [
            f"{edge_pb2.EdgeRole.Name(want.role)} {want.name!r}: {words}" for words in _tensor_differences(got, want)
        ]
    return found


def _tensor_differences(got: edge_pb2.EdgeTensor, want: edge_pb2.EdgeTensor) -> list[str]:
    names = ("role", "name", "element", "shape", "data", "scale", "zero_point", "redacted", "op_index_plus_one")
    found = [
        f"{name}: {str(getattr(got, name))[:80]}, not {str(getattr(want, name))[:80]}"
        for name in names
        if getattr(got, name) != getattr(want, name)
    ]
    if want.HasField("statistics"):
        found += _statistics_differences(got.statistics, want.statistics)
    return found


def _statistics_differences(got: edge_pb2.EdgeStatistics, want: edge_pb2.EdgeStatistics) -> list[str]:
    found = [
        f"{n}: {getattr(got, n)}, not {getattr(want, n)}"
        for n in ("count", "non_finite")
        if getattr(got, n) != getattr(want, n)
    ]
    largest = max(abs(want.min), abs(want.max), 1e-30)
    for name in ("min", "max", "mean", "std"):
        if abs(getattr(got, name) - getattr(want, name)) > 2e-6 * largest:
            found.append(f"{name}: {getattr(got, name)}, not {getattr(want, name)}")
    if list(got.quantiles) != list(want.quantiles):
        found.append(f"quantiles: {list(got.quantiles)}, not {list(want.quantiles)}")
    bound = 2e-6 * largest * max(want.count, 1) ** 0.5
    a, b = np.array(got.projection, np.float64), np.array(want.projection, np.float64)
    if a.shape != b.shape or (np.abs(a - b) > bound).any():
        found.append(f"projection: {a}, not {b}")
    return found


def slow_statistics(array: Any) -> edge_pb2.EdgeStatistics:
    """The formulas of docs/edge-log.md, value by value, without a thought of speed."""
    values = [float(value) for value in array.reshape(-1)]
    n = len(values)
    finite = [value for value in values if np.isfinite(value)]
    limit = float(np.finfo(np.float32).max)

    def stored(value: float) -> float:
        return float(np.float32(min(max(value, -limit), limit)))

    statistics = edge_pb2.EdgeStatistics(count=n, non_finite=n - len(finite))
    if finite:
        scale = max(abs(value) for value in finite) or 1.0
        mean = float(np.sum([value / scale for value in finite]) / len(finite)) * scale
        deviation = np.sqrt(np.mean([(value / scale - mean / scale) ** 2 for value in finite])) * scale
        statistics.min, statistics.max = stored(min(finite)), stored(max(finite))
        statistics.mean, statistics.std = stored(mean), stored(float(deviation))
    sample = values
    if n > 1024:
        edges = [j * n // 1024 for j in range(1025)]
        sample = [values[edges[j] + _h(j) % (edges[j + 1] - edges[j])] for j in range(1024)]
    sample = sorted(value for value in sample if np.isfinite(value))
    if sample:
        statistics.quantiles.extend(
            stored(sample[(p * (len(sample) - 1) + 50) // 100]) for p in (1, 5, 10, 25, 50, 75, 90, 95, 99)
        )
    k = min(n, 16)
    sums = [0.0] * k
    for i, value in enumerate(values):
        sign = -1.0 if _h(i // 64) >> (i % 64) & 1 else 1.0
        sums[(i + i // 64 + i // 1024) % k] += sign * value if np.isfinite(value) else 0.0
    statistics.projection.extend(map(stored, sums))
    return statistics


def _h(j: int) -> int:
    mask = 2**64 - 1
    z = (0x57494E4454554E4E + (j + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)
