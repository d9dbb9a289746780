"""What the edge monitor costs per frame, in the app's own thread, compared with the bare app in one run.

    python benchmarks/edge_monitor.py [--json] [--frames N] [--model FLOAT.tflite]

The app is a 96x96x3 float classifier in a real LiteRT interpreter. Bare frames and frames with the monitor run in
turns, so that both meet the same machine. `added_us` is the difference of the medians of their times; `added_cpu_us`
that of the mean processor times of the app's thread, which other programs on the machine hardly change;
`added_mean_us` that of the mean times, in which the writing thread and every other program has its part. `explicit` is
an app that calls `frame.input` and `frame.output`; `adapter` is one line, `monitor.interpreter(interpreter)`. Memory is
the resident memory that a process gains by 2000 frames with the monitor, less what it gains by them without.
Without --model the model is MobileNetV2 (alpha 0.35) with random weights, which needs TensorFlow once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from windtunnel.monitor import Monitor

BLOCK, WARM = 50, 50
LIMITS = {"off": 1.0, "statistics": 100.0, "io": 50.0}  # microseconds per frame
MEMORY_LIMIT = 4_000_000
DISK_LIMIT = 410  # bytes per frame, in statistics mode
_BUILD = """
import sys, keras, tensorflow as tf
keras.utils.set_random_seed(1)
model = keras.applications.MobileNetV2((96, 96, 3), 0.35, weights=None)
open(sys.argv[1], "wb").write(tf.lite.TFLiteConverter.from_keras_model(model).convert())
"""
_MEMORY = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from windtunnel.monitor.facts import resident_bytes
interpreter = Interpreter(sys.argv[1])
interpreter.allocate_tensors()
input_at, output_at = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
x = np.random.default_rng(0).random((1, 96, 96, 3), np.float32)
def frame():
    interpreter.set_tensor(input_at, x)
    interpreter.invoke()
    return interpreter.get_tensor(output_at)
for _ in range(100):
    frame()
before = resident_bytes()
if sys.argv[2] != "bare":
    from windtunnel.monitor import Monitor
    interpreter = Monitor(sys.argv[3], sys.argv[2]).interpreter(interpreter)
most = 0
for _ in range(2000):
    frame()
    most = max(most, resident_bytes())
print(most - before)
"""


class App:
    """The bare app."""

    def __init__(self, model: Path) -> None:
        self.interpreter: Any = Interpreter(str(model))
        self.interpreter.allocate_tensors()
        self.input = self.interpreter.get_input_details()[0]["index"]
        self.output = self.interpreter.get_output_details()[0]["index"]
        self.x = np.random.default_rng(0).random((1, 96, 96, 3), np.float32)

    def frame(self) -> Any:
        self.interpreter.set_tensor(self.input, self.x)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.output)


def explicit(app: App, monitor: Monitor) -> Callable[[], Any]:
    """The app with calls of the monitor."""

    def frame() -> Any:
        with monitor.frame() as recorded:
            app.interpreter.set_tensor(app.input, app.x)
            recorded.input(app.x)
            app.interpreter.invoke()
            y = app.interpreter.get_tensor(app.output)
            recorded.output(y)
        return y

    return frame


def adapter(app: App, monitor: Monitor) -> Callable[[], Any]:
    """The app with one line."""
    interpreter = monitor.interpreter(app.interpreter)

    def frame() -> Any:
        interpreter.set_tensor(app.input, app.x)
        interpreter.invoke()
        return interpreter.get_tensor(app.output)

    return frame


def timed(frame: Callable[[], Any]) -> tuple[float, float]:
    """Time and processor time of a frame in this thread, in microseconds."""
    cpu, start = time.thread_time_ns(), time.perf_counter_ns()
    frame()
    end = time.perf_counter_ns()
    return (end - start) / 1000, (time.thread_time_ns() - cpu) / 1000


def block(frame: Callable[[], Any]) -> float:
    """Mean time of a frame, in microseconds."""
    start = time.perf_counter_ns()
    for _ in range(BLOCK):
        frame()
    return (time.perf_counter_ns() - start) / BLOCK / 1000


def empty_frame(level: str, folder: Path, way: str, frames: int) -> float:
    """Cost of a frame of which nothing is recorded, without the app: the difference of the app's times is noise."""
    monitor = Monitor(folder, level)

    class Nothing:
        def set_tensor(self, index: int, value: Any) -> None: ...
        def get_tensor(self, index: int) -> None: ...
        def tensor(self, index: int) -> None: ...
        def invoke(self) -> None: ...

    app = App.__new__(App)
    app.interpreter, app.input, app.output, app.x = Nothing(), 0, 0, np.empty(1, np.float32)
    monitored = (explicit if way == "explicit" else adapter)(app, monitor)
    differences = []
    for _ in range(max(frames // BLOCK, 20)):
        bare = block(app.frame)
        differences.append(block(monitored) - bare)
    return statistics.median(differences)


def measure(model: Path, level: str, way: str, folder: Path, frames: int) -> dict[str, float]:
    """Both apps in turns."""
    app, target = App(model), folder / f"{level}-{way}"
    monitor = Monitor(target, level)
    monitored = (explicit if way == "explicit" else adapter)(app, monitor)
    for _ in range(WARM):
        app.frame()
        monitored()
    bare, added = [], []
    for _ in range(frames):
        bare.append(timed(app.frame))
        added.append(timed(monitored))
    monitor.close()
    (bare_us, bare_cpu), (added_us, added_cpu) = zip(*bare, strict=True), zip(*added, strict=True)
    return {
        "bare_us": statistics.median(bare_us),
        "added_us": statistics.median(added_us) - statistics.median(bare_us),
        "added_cpu_us": statistics.fmean(added_cpu) - statistics.fmean(bare_cpu),
        "added_mean_us": statistics.fmean(added_us) - statistics.fmean(bare_us),
        "frames_lost": monitor.frames_lost,
        "bytes_per_frame": sum(file.stat().st_size for file in target.glob("*.mcap")) / (frames + WARM),
    }


def memory(model: Path, level: str, folder: Path) -> int:
    """Resident memory that the monitor adds, in bytes."""

    def gained(what: str) -> int:
        command = [sys.executable, "-c", _MEMORY, str(model), what, str(folder / f"memory-{what}")]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    return gained(level) - gained("bare")


def main() -> int:
    """Measure, print, and compare with the limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.add_argument("--frames", type=int, default=2000, help="frames per level and way (2000)")
    parser.add_argument("--model", type=Path, help="a classifier with one float input of 96x96x3")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = options.model or folder / "model.tflite"
        if options.model is None:
            subprocess.run([sys.executable, "-c", _BUILD, str(model)], check=True, capture_output=True)
        for way in ("explicit", "adapter"):
            figures[f"off {way}"] = {"added_us": empty_frame("off", folder, way, options.frames)}
            for level in ("statistics", "io"):
                figures[f"{level} {way}"] = measure(model, level, way, folder, options.frames)
        for level in ("statistics", "io"):
            figures[f"{level} adapter"]["memory_bytes"] = memory(model, level, folder)
    passed = all(within(name, values) for name, values in figures.items())
    if options.json:
        print(json.dumps({"figures": figures, "passed": passed}, indent=2))
        return 0 if passed else 1
    for name, values in figures.items():
        words = "  ".join(f"{key} {value:,.2f}" for key, value in values.items())
        print(f"{name:20} {'ok  ' if within(name, values) else 'OVER'} {words}")
    return 0 if passed else 1


def within(name: str, values: dict[str, float]) -> bool:
    """Whether the figures of a level keep its limits."""
    level = name.split()[0]
    disk = level != "statistics" or values["bytes_per_frame"] <= DISK_LIMIT
    return values["added_us"] <= LIMITS[level] and values.get("memory_bytes", 0) <= MEMORY_LIMIT and disk


if __name__ == "__main__":
    sys.exit(main())
