"""What the system costs: `model.trained` to the verdict, compared with the sum of its steps in sequence.

A whole system runs (`windtunnel up`); each round submits another MobileNetV2 0.35 at 96x96 with random weights, so
that no stored result helps. The steps are the services' use cases in warm child processes, called in sequence:
conversion with its check, each variant, each comparison, each measurement. Readiness of `up` is measured too.

    python benchmarks/end_to_end.py [--rounds 3] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from windtunnel.client import AsyncClient, find_endpoints
from windtunnel.converter.convert import convert
from windtunnel.diagnosis.comparison.compare_models import compare_models
from windtunnel.diagnosis.quantize.make_variant import quantize
from windtunnel.diagnosis.quantize.variants import Calibration
from windtunnel.farm_dispatcher.bench import bench, new_pool
from windtunnel.isolation import ChildPool
from windtunnel.plan import DataSet, DeviceFilter, Plan, VariantSpec

# Random weights seldom give a healthy int8 model.
VARIANTS = ("float32", "float16", "dynamic_range")
SAMPLES = 100
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


def make_model(path: Path, seed: int) -> None:
    """MobileNetV2 as a .keras file, with weights of its own."""
    import keras

    keras.utils.set_random_seed(seed)
    keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, classes=10).save(path)


def make_samples(folder: Path) -> None:
    """Random images in [-1, 1) with random labels."""
    generator = np.random.default_rng(1)
    x = generator.uniform(-1, 1, (SAMPLES, 96, 96, 3)).astype(np.float32)
    np.savez(folder / "samples.npz", x=x, y=generator.integers(0, 10, SAMPLES))


@asynccontextmanager
async def system(home: Path) -> AsyncIterator[tuple[AsyncClient, float]]:
    """A running system, a client of it, and the seconds until it was ready."""
    started = time.perf_counter()
    arguments = ("-m", "windtunnel.cli", "up", "--home", str(home), "--json")
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        ready_s = time.perf_counter() - started
        async with AsyncClient(find_endpoints(home)) as client:
            yield client, ready_s
    finally:
        process.terminate()
        await process.wait()


class Steps:
    """The steps of a run, in warm children, one after the other."""

    def __init__(self, converter: ChildPool, native: ChildPool, farm: ChildPool) -> None:
        self._converter = converter
        self._native = native
        self._farm = farm

    async def run(self, model: Path, samples: Path, work: Path) -> float:
        """Seconds for all of them."""
        started = time.perf_counter()
        converted = await convert(model, work / "convert", self._converter, samples=samples)
        for name in VARIANTS:
            variant = await quantize(
                converted.model, VariantSpec(name), work / name, self._native, calibration=Calibration(samples, 100)
            )
            await self._native.run(compare_models, converted.model, variant.model, samples, None)
            await bench(variant.model, "xnnpack", 1, self._farm, lock=work / "farm.lock")
        return time.perf_counter() - started


async def run(rounds: int, folder: Path) -> dict[str, Any]:
    make_samples(folder)
    samples = folder / "samples.npz"
    plan = Plan(
        data=DataSet(str(samples), str(samples)),
        variants=tuple(VariantSpec(name) for name in VARIANTS),
        devices=(DeviceFilter("local", accelerator=("xnnpack",), threads=(1,)),),
    )
    models = [folder / f"model-{seed}.keras" for seed in range(rounds + 1)]
    whole: list[float] = []
    parts: list[float] = []
    for seed, model in enumerate(models):
        await asyncio.to_thread(_make_in_a_process, model, seed)
    preload = ("windtunnel.converter.adapters.tensorflow_convert", "windtunnel.converter.use_cases.check_conversion")
    native = ("windtunnel.diagnosis.quantize.litert_quantizer", "windtunnel.diagnosis.comparison.compare_models")
    async with (
        ChildPool(preload=preload, timeout_s=600, memory_mb=12_000, env=ENVIRONMENT) as converter,
        ChildPool(preload=native, timeout_s=600, memory_mb=8_000) as others,
        new_pool(600, 8_000) as farm,
        system(folder / "home") as (client, ready_s),
    ):
        steps = Steps(converter, others, farm)
        for index, model in enumerate(models):
            started = time.perf_counter()
            await (await client.submit(model, plan=plan)).wait()
            seconds = time.perf_counter() - started
            sum_s = await steps.run(model, samples, folder / f"work-{index}")
            # The first round warms both sides.
            if index:
                whole.append(seconds)
                parts.append(sum_s)
    verdict_s, steps_s = statistics.median(whole), statistics.median(parts)
    return {
        "rounds": rounds,
        "ready_s": round(ready_s, 1),
        "verdict_s": round(verdict_s, 2),
        "steps_s": round(steps_s, 2),
        "ratio": round(verdict_s / steps_s, 2),
    }


def _make_in_a_process(model: Path, seed: int) -> None:
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import end_to_end, pathlib; "
    code += f"end_to_end.make_model(pathlib.Path({str(model)!r}), {seed})"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="model.trained to the verdict, against the sum of the steps.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(run(options.rounds, Path(folder)))
    if options.json:
        print(json.dumps(result))
        return
    print("| `up` ready s | verdict s | sum of steps s | ratio |\n|---|---|---|---|")
    print("| {ready_s} | {verdict_s} | {steps_s} | {ratio} |".format(**result))


if __name__ == "__main__":
    main()
