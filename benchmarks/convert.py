"""What the conversion costs: a warm child process of the converter, compared with the bare TFLiteConverter call.

Both convert MobileNetV2 (keras.applications, random weights) from a .keras file that is already loaded, in a process
in which TensorFlow is warm. The converter's time is the time in the child plus the cost of sending the job. The
comparison with the original is extra work and has a separate row.

    python benchmarks/convert.py [--rounds 3] [--size 224] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from windtunnel.converter.adapters.tensorflow_job import tensorflow_job
from windtunnel.converter.convert import convert
from windtunnel.converter.domain.conversion import Format, Source
from windtunnel.isolation import ChildPool

ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


def make_model(path: Path, size: int) -> None:
    """MobileNetV2 as a .keras file."""
    import keras

    keras.utils.set_random_seed(1)
    keras.applications.MobileNetV2((size, size, 3), weights=None).save(path)


def bare(path: Path) -> float:
    """Seconds of the library's own call on the loaded model."""
    import keras
    import tensorflow as tf

    model = keras.saving.load_model(path, compile=False)
    started = time.perf_counter()
    tf.lite.TFLiteConverter.from_keras_model(model).convert()
    return time.perf_counter() - started


def nothing() -> None:
    """A job that does nothing: what is left is the cost of sending it."""


async def run(rounds: int, size: int, folder: Path) -> list[dict[str, Any]]:
    # By its own name, not as __main__: the child imports the jobs from here.
    jobs = importlib.import_module("convert")
    model = folder / "model.keras"
    ours, peers, whole, sending = [], [], [], []
    async with ChildPool(
        preload=("windtunnel.converter.adapters.tensorflow_convert", "windtunnel.converter.use_cases.check_conversion"),
        timeout_s=600,
        memory_mb=12_000,
        env={**ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parent)},
    ) as pool:
        await pool.run(jobs.make_model, model, size)
        await pool.run(jobs.bare, model)
        for index in range(rounds):
            peers.append(await pool.run(jobs.bare, model))
            started = time.perf_counter()
            await pool.run(jobs.nothing)
            sending.append(time.perf_counter() - started)
            job = await pool.run(tensorflow_job, Source(model, Format.KERAS), folder / "out.tflite", None, None)
            ours.append(job.seconds + sending[-1])
            started = time.perf_counter()
            await convert(model, folder / f"work-{index}", pool)
            whole.append(time.perf_counter() - started)
    peer = statistics.median(peers)
    rows = (("conversion", ours), ("load, conversion and check", whole))
    return [
        {
            "what": what,
            "ours_s": round(m := statistics.median(times), 2),
            "peer_s": round(peer, 2),
            "ratio": round(m / peer, 2),
        }
        for what, times in rows
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Warm conversion against the bare library call.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(run(options.rounds, options.size, Path(folder)))
    if options.json:
        print(json.dumps({"rounds": options.rounds, "size": options.size, "rows": rows}))
        return
    print("| MobileNetV2 | converter s | bare library call s | ratio |\n|---|---|---|---|")
    for row in rows:
        print("| {what} | {ours_s} | {peer_s} | {ratio} |".format(**row))


if __name__ == "__main__":
    main()
