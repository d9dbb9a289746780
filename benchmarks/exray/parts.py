"""The parts of the evaluation, and their command line."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.app_diagnosis.outcomes import diagnose
from benchmarks.exray.page import page
from support.app_faults.case import Truth, written
from support.app_faults.images.app import prepared, right_app
from support.app_faults.images.cases import libraries
from support.app_faults.images.faults import FAULTS
from support.app_faults.images.models import IMAGE_MODELS, ImageModel
from support.app_faults.images.photos import CLASSES, photos
from support.app_faults.networks import network
from support.app_faults.runs import input_type, run

_ROOT = Path(__file__).resolve().parents[2]
_MODELS = ("mobile96", "torch64", "caffe48")
_SIZES = [(120, 160), (200, 150), (180, 300), (144, 144)]
# The paper's bugs; of each the first fault that a model can have.
BUGS = {
    "resize": ("resize_opencv_nearest", "resize_opencv_linear", "resize_opencv_area"),
    "channel order": ("swap",),
    "normalization": ("range_unit", "range_signed"),
    "rotation": ("turn_rotate90",),
}
_DIAGNOSED = 10
_LAYERED = ("MobileNet", "MobileNetV2", "ResNet50V2", "InceptionV3", "DenseNet121")
_FRAMES = 12


def main(description: str | None) -> int:
    """Measures parts and writes the page.

    Args:
        description: shown by --help.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--photos", type=int, default=120)
    parser.add_argument("--no-causes", action="store_true", help="figure4: accuracy alone, which takes seconds")
    parser.add_argument("--layered", default=",".join(_LAYERED), help="models of table3, of keras.applications")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    if arguments.json and arguments.json.exists():
        found = json.loads(arguments.json.read_text())
    for part in filter(None, arguments.parts.split(",")):
        found[part] = PARTS[part](arguments)
        print(json.dumps({part: found[part]}, indent=1), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(page(found, time.strftime("%Y-%m-%d")))
    return 0


def figure4(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Accuracy of each model with a right app and under each bug, and the causes named.

    Args:
        arguments: `photos`: how many; `no_causes`.

    Returns:
        For each model and form its accuracy and causes by bug.
    """
    rows = []
    for name in _MODELS:
        for form in ("float32", "int8"):
            model, path = IMAGE_MODELS[name], network(name, form)
            labels = np.arange(arguments.photos) % len(CLASSES)
            raw = photos(labels.tolist(), 4711, _SIZES)
            row: dict[str, Any] = {"model": name, "form": form, "photos": len(labels)}
            row["base"] = _under(model, path, raw, labels, None, arguments.no_causes)
            for bug, faults in BUGS.items():
                fault = next(one for one in faults if FAULTS[one].fits(model, form))
                row[bug] = _under(model, path, raw, labels, fault, arguments.no_causes)
            rows.append(row)
    return rows


def _under(
    model: ImageModel, path: Path, raw: list[Any], labels: Any, fault: str | None, no_causes: bool
) -> dict[str, Any]:
    app = right_app(model, libraries(model)[0])
    if fault:
        app = FAULTS[fault].change(app, model, np.random.default_rng(0))
    fed = prepared(app, model, raw, 0, input_type(path))
    out = next(iter(run(path, fed).outputs.values()))
    accuracy = float((out.reshape(len(out), -1).argmax(axis=1) == labels).mean())
    if no_causes:
        return {"fault": fault, "accuracy": accuracy, "named": None, "right": None}
    with tempfile.TemporaryDirectory() as folder:
        some = slice(0, _DIAGNOSED)
        arrays = {f"raw/{at}": one for at, one in enumerate(raw[some])}
        arrays |= {"input": np.stack(fed[some]), "output": out[some], "labels": labels[some]}
        case = written(Path(folder), Truth("figure4"), path, model.pipeline(), arrays)
        document = diagnose(case)
    causes = [cause["code"] for cause in document.get("causes", [])]
    wanted = [FAULTS[fault].code] if fault else []
    return {"fault": fault, "accuracy": accuracy, "named": causes, "right": causes == wanted}


def table1(arguments: argparse.Namespace) -> dict[str, int]:
    """Lines that an app needs for the monitor: those marked `monitor` in examples/.

    Args:
        arguments: not used.

    Returns:
        Lines by file.
    """
    found = {}
    for path in sorted((_ROOT / "examples").rglob("*")):
        if path.suffix in (".py", ".java", ".cpp", ".cc"):
            lines = path.read_text().splitlines()
            count = sum(line.rstrip().endswith(("# monitor", "// monitor")) for line in lines)
            if count:
                found[str(path.relative_to(_ROOT))] = count
    return found


def table2(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the monitor adds to a frame.

    Args:
        arguments: not used.

    Returns:
        The figures of benchmarks/edge_monitor.py.
    """
    command = [sys.executable, str(_ROOT / "benchmarks" / "edge_monitor.py"), "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
    figures: dict[str, Any] = json.loads(ended.stdout[ended.stdout.index("{") :])["figures"]
    return figures


_BUILD = """
import sys, keras, tensorflow as tf
keras.utils.set_random_seed(1)
model = getattr(keras.applications, sys.argv[1])(weights=None)
model.export(sys.argv[2] + ".saved", verbose=False)
open(sys.argv[2], "wb").write(tf.lite.TFLiteConverter.from_saved_model(sys.argv[2] + ".saved").convert())
"""


def table3(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Time and disk of a frame without the monitor and with per-layer outputs; weights are random.

    Args:
        arguments: `layered`: models of keras.applications.

    Returns:
        Figures by model.
    """
    rows = []
    for name in arguments.layered.split(","):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.tflite"
            subprocess.run([sys.executable, "-c", _BUILD, name, str(path)], check=True, capture_output=True)
            rows.append({"model": name, "size_bytes": path.stat().st_size, **_logged(path, Path(folder) / "log")})
    return rows


def _logged(path: Path, folder: Path) -> dict[str, Any]:
    from ai_edge_litert.interpreter import Interpreter

    from windtunnel.monitor import Monitor

    figures: dict[str, Any] = {"frames": _FRAMES}
    for level in ("bare", "layers"):
        interpreter: Any = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=level == "layers")
        interpreter.allocate_tensors()
        taken = interpreter.get_input_details()[0]
        x = np.random.default_rng(0).random(tuple(taken["shape"]), np.float32)
        monitor = Monitor(folder, level="layers") if level == "layers" else None
        watched = monitor.interpreter(interpreter) if monitor else interpreter
        times = []
        for _ in range(_FRAMES):
            began = time.perf_counter()
            watched.set_tensor(taken["index"], x)
            watched.invoke()
            times.append(time.perf_counter() - began)
        figures[f"{level}_ms"] = 1000 * float(np.median(times))
        if monitor:
            monitor.close(60.0)
            figures["log_bytes_per_frame"] = sum(one.stat().st_size for one in folder.iterdir()) // _FRAMES
            figures["frames_lost"] = monitor.frames_lost
    return figures


def figure5(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """nRMSE of each layer of an int8 model between its float model, on optimized and on reference kernels, and times.

    Args:
        arguments: not used.

    Returns:
        For each of both kernels the layers' errors and the time of a frame.
    """
    model = IMAGE_MODELS["mobile96"]
    path = network("mobile96", "int8")
    raw = photos(list(range(10)), 4712, _SIZES)
    fed = prepared(right_app(model, "opencv"), model, raw, 0, input_type(path))
    rows: list[dict[str, Any]] = []
    for kernels, plain in (("optimized", False), ("reference", True)):
        began = time.perf_counter()
        ran = run(path, fed, layers=True, plain_kernels=plain)
        rows.append({"kernels": kernels, "ms": 1000 * (time.perf_counter() - began) / len(fed), "ran": ran.layers})
    layers = [
        {"layer": name.split(";")[0], "nrmse": _nrmse(rows[0]["ran"][name], rows[1]["ran"][name])}
        for name in rows[0]["ran"]
    ]
    times = {row["kernels"]: row["ms"] for row in rows}
    return [{"layers": layers, "ms": times, "max_nrmse": max(layer["nrmse"] for layer in layers)}]


def _nrmse(one: Any, other: Any) -> float:
    first, second = one.astype(np.float64), other.astype(np.float64)
    wide = max(np.ptp(first), np.ptp(second), 1e-12)
    return float(np.sqrt(np.mean((first - second) ** 2)) / wide)


PARTS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "figure4": figure4,
    "table1": table1,
    "table2": table2,
    "table3": table3,
    "figure5": figure5,
}
