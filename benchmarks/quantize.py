"""Quantization by the use case, in a warm child process, compared with the bare litert-quantizer call.

    python benchmarks/quantize.py [--json] [--model FLOAT.tflite] [--samples N] [--repeat N]

Both read the model and the calibration set from files and write the result to a file. The use case also reads it back
and checks it. The goal is 1.05 or less. Without --model the model is
MobileNetV2 at 224x224 with random weights, which needs TensorFlow once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from litert_quantizer import quantizer

from windtunnel.diagnosis.quantize import litert_quantizer as litert
from windtunnel.diagnosis.quantize.make_variant import quantize
from windtunnel.diagnosis.quantize.variants import Calibration
from windtunnel.isolation import ChildPool
from windtunnel.plan import VariantSpec
from windtunnel.tflite import read_model

VARIANTS = ("float16", "dynamic_range", "int8", "int16x8")
LIMIT = 1.05
_BUILD = """
import sys, keras, tensorflow as tf
keras.utils.set_random_seed(1)
model = keras.applications.MobileNetV2(weights=None)
open(sys.argv[1], "wb").write(tf.lite.TFLiteConverter.from_keras_model(model).convert())
"""


def bare(model: Path, variant: str, samples: Path, target: Path) -> None:
    """What a script that calls the library by itself does, with the library's defaults."""
    work = quantizer.Quantizer(str(model), litert.BUILTIN[variant]())
    ranges = None
    if work.need_calibration:
        signature = read_model(model).signatures[0]
        x = np.load(samples)["x"]
        name = next(iter(signature.inputs))
        ranges = work.calibrate({signature.key: [{name: row[None]} for row in x]})
    work.quantize(ranges).export_model(target)


async def ours(pool: ChildPool, model: Path, variant: str, samples: Path, folder: Path) -> None:
    """The use case, as the service and the CLI call it."""
    calibration = Calibration(samples) if variant.startswith("int") else None
    await quantize(model, VariantSpec(variant), folder, pool, calibration=calibration)


async def compare(model: Path, samples: Path, folder: Path, repeat: int) -> list[dict[str, Any]]:
    """One row for each variant; the two sides take turns, so that both see the same machine."""
    rows = []
    preload = ("windtunnel.diagnosis.quantize.litert_quantizer",)
    async with ChildPool(preload=preload, timeout_s=600, memory_mb=8000) as pool:
        for variant in VARIANTS:
            times: dict[str, list[float]] = {"bare": [], "ours": []}
            for turn in range(repeat + 1):
                place = folder / f"{variant}-{turn}"
                place.mkdir()
                started = time.perf_counter()
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    bare(model, variant, samples, place / "bare.tflite")
                middle = time.perf_counter()
                await ours(pool, model, variant, samples, place)
                if turn:
                    times["bare"].append(middle - started)
                    times["ours"].append(time.perf_counter() - middle)
            medians = {name: statistics.median(values) for name, values in times.items()}
            rows.append(row(variant, medians["bare"], medians["ours"]))
    return [*rows, row("all", sum(one["bare_s"] for one in rows), sum(one["ours_s"] for one in rows))]


def row(variant: str, bare_s: float, ours_s: float) -> dict[str, Any]:
    """One line of the result; "all" is what a plan with every built-in variant costs."""
    return {"variant": variant, "bare_s": bare_s, "ours_s": ours_s, "ratio": ours_s / bare_s}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--model", type=Path, help="a float32 .tflite with one input")
    parser.add_argument("--samples", type=int, default=20, help="calibration samples")
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = arguments.model
        if model is None:
            model = folder / "mobilenet_v2.tflite"
            subprocess.run([sys.executable, "-c", _BUILD, str(model)], check=True, capture_output=True)
        (source,) = read_model(model).inputs
        shape = (arguments.samples, *source.shape[1:])
        x = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
        np.savez(folder / "samples.npz", x=x)
        rows = asyncio.run(compare(model, folder / "samples.npz", folder, arguments.repeat))
    if arguments.json:
        print(json.dumps({"benchmark": "quantize", "limit": LIMIT, "rows": rows}))
    else:
        print("| variant | bare library s | Windtunnel s | ratio |\n|---|---:|---:|---:|")
        for one in rows:
            print(f"| {one['variant']} | {one['bare_s']:.3f} | {one['ours_s']:.3f} | {one['ratio']:.2f} |")


if __name__ == "__main__":
    main()
