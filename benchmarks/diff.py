"""What comparing every layer costs: the all-layer diff, plain inference, and TensorFlow's debugger.

MobileNetV2 (keras.applications, 224) float32 and int8, with XNNPACK and without a delegate. Every interpreter has one
thread; the diff runs the models on one core and sums their layers on another. Plain inferences are timed before and
after the diff, in its process. Then come the memory over many frames, and sizes of the layer log.

    python benchmarks/diff.py [--frames 80] [--memory-frames 1000] [--log-frames 4] [--no-tensorflow] [--json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support.mobilenet import MobileNet, mobilenet, time_quantization_debugger
from windtunnel.diagnosis.execution.output_sums import OutputSums
from windtunnel.diagnosis.execution.run_samples import Models, ahead_of, sum_samples
from windtunnel.diagnosis.graph import match_layers
from windtunnel.diagnosis.layer_log.compare_logs import compare_logs
from windtunnel.diagnosis.layer_log.log_file import LayerLog, LogWriter, Mode
from windtunnel.diagnosis.numerics.layer_sums import LayerFigures
from windtunnel.tflite import Accelerator, Runner, dequantize

Inputs = dict[str, NDArray[Any]]


class Frames:
    """The samples again and again, `count` of them; `visit` is called on each."""

    labels: NDArray[Any] | None = None

    def __init__(self, models: MobileNet, name: str, count: int, *, noise: bool = False) -> None:
        x = np.load(models.samples)["x"]
        self._x = np.random.default_rng(1).uniform(-1, 1, x.shape).astype(np.float32) if noise else x
        self._name = name
        self.count = count

    def __iter__(self) -> Iterator[Inputs]:
        for one in islice(cycle(self._x), self.count):
            self.visit()
            yield {self._name: one[None]}

    def visit(self) -> None:
        """A frame is asked for."""


class Timed(Frames):
    """Notes when each frame was asked for."""

    def __init__(self, models: MobileNet, name: str, count: int) -> None:
        super().__init__(models, name, count)
        self.asked: list[float] = []

    def visit(self) -> None:
        self.asked.append(time.perf_counter())

    @property
    def taken(self) -> list[float]:
        """Seconds from frame to frame; the first ones hold what is made once."""
        return [after - before for before, after in pairwise(self.asked)][2:]


class Weighed(Frames):
    """Notes the resident memory after each frame."""

    resident_mb: list[float]

    def visit(self) -> None:
        self.resident_mb.append(psutil.Process().memory_info().rss / 1e6)


def _compare(models: MobileNet, frames: Frames, accelerator: Accelerator, **settings: Any) -> list[LayerFigures]:
    both = _both(models, accelerator)
    facts = both.reference.facts, both.candidate.facts
    pairs = match_layers(*facts).pairs
    summed = sum_samples(both, frames, pairs, OutputSums(*facts, None), ahead=ahead_of(both, pairs), **settings)
    return summed.figures()


def _both(models: MobileNet, accelerator: Accelerator = "xnnpack") -> Models:
    return Models(*(Runner(path, accelerator=accelerator, preserve_all=True) for path in (models.float32, models.int8)))


def speed(models: MobileNet, frames: int, accelerator: Accelerator) -> dict[str, Any]:
    """Milliseconds per frame, medians and means, of plain inferences and of the diff (its own inferences included)."""
    plain = [Runner(path, accelerator=accelerator) for path in (models.float32, models.int8)]
    timed = Timed(models, plain[0].facts.inputs[0].name, frames)
    inference = _plain(models, plain, frames // 2)
    _compare(models, timed, accelerator)
    inference += _plain(models, plain, frames // 2)
    compared = timed.taken
    median = statistics.median(inference), statistics.median(compared)
    return {
        "plain_ms": 1e3 * median[0],
        "diff_ms": 1e3 * median[1],
        "diff_mean_ms": 1e3 * statistics.fmean(compared),
        "ratio": median[1] / median[0],
        "ratio_of_means": statistics.fmean(compared) / statistics.fmean(inference),
    }


def _plain(models: MobileNet, plain: list[Runner], frames: int) -> list[float]:
    """Seconds of both models, one after the other, frame by frame."""
    timed = Timed(models, plain[0].facts.inputs[0].name, frames)
    for inputs in timed:
        (array,) = inputs.values()
        for runner in plain:
            runner.run({runner.facts.inputs[0].name: array})
    return timed.taken


def _weigh(models: MobileNet, frames: int, queue: Any) -> None:
    weighed = Weighed(models, Runner(models.float32).facts.inputs[0].name, frames)
    weighed.resident_mb = []
    _compare(models, weighed, "xnnpack")
    queue.put(weighed.resident_mb)


def memory(models: MobileNet, frames: int) -> dict[str, float]:
    """Resident MB of a process of its own: mean of the frames 50 to 100 and of the last 100."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=_weigh, args=(models, frames, queue))
    child.start()
    found = queue.get(timeout=600)
    child.join()
    first, last = statistics.fmean(found[50:100]), statistics.fmean(found[-100:])
    return {"first_100_mb": first, "last_100_mb": last, "growth_mb": last - first}


def layer_log(models: MobileNet, frames: int, *, noise: bool) -> dict[str, Any]:
    """Sizes of both modes for both models against the same tensors as text."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, path in (("float32", models.float32), ("int8", models.int8)):
            runner = Runner(path, preserve_all=True)
            modes: tuple[Mode, ...] = ("lossless", "statistics")
            logs = {mode: LogWriter(Path(folder, f"{name}.{mode}"), runner, mode) for mode in modes}
            text, taken = 0, dict.fromkeys(modes, 0.0)
            for inputs in Frames(models, runner.facts.inputs[0].name, frames, noise=noise):
                runner.run(inputs)
                text += 0 if text else _text(runner)
                for mode, log in logs.items():
                    start = time.perf_counter()
                    log.add(runner)
                    taken[mode] += time.perf_counter() - start
            for log in logs.values():
                log.close()
            layers = len(LayerLog(logs["statistics"].path).header["layers"])
            sizes = {mode: log.path.stat().st_size for mode, log in logs.items()}
            found[name] = {
                "text_bytes_per_frame": text,
                "lossless_bytes_per_frame": sizes["lossless"] / frames,
                "lossless_times_smaller": text * frames / sizes["lossless"],
                "statistics_bytes_per_layer_and_frame": sizes["statistics"] / frames / layers,
                "lossless_ms": 1e3 * taken["lossless"] / frames,
                "statistics_ms": 1e3 * taken["statistics"] / frames,
            }
    return found


def _text(runner: Runner) -> int:
    """Bytes of all layers of the last run as "%.9g", integers dequantized, one space between."""
    size = 0
    for layer in runner.layers():
        values = dequantize(layer.array, layer.tensor.quantization).astype(np.float32).ravel().tolist()
        size += len(" ".join(["%.9g" % value for value in values])) + 1  # noqa: UP031
    return size


def estimator(models: MobileNet, frames: int) -> dict[str, float]:
    """How far nRMSE from two statistics logs is from the true one, over the layers."""
    with tempfile.TemporaryDirectory() as folder:
        both = _both(models)
        facts = both.reference.facts, both.candidate.facts
        pairs = match_layers(*facts).pairs
        given = Frames(models, facts[0].inputs[0].name, frames)
        paths = Path(folder, "a"), Path(folder, "b")
        with LogWriter(paths[0], both[0], "statistics") as a, LogWriter(paths[1], both[1], "statistics") as b:
            true = sum_samples(both, given, pairs, OutputSums(*facts, None), logs=(a, b)).figures()
        names = [(pair.reference.tensor.name, pair.candidate.tensor.name) for pair in pairs]
        found = compare_logs(*paths, pairs=names)
    ratios = [one.nrmse / two.nrmse - 1 for one, two in zip(found, true, strict=True) if one.nrmse and two.nrmse]
    return {
        "frames": frames,
        "layers": len(ratios),
        "bias": statistics.fmean(ratios),
        "std": statistics.stdev(ratios),
        "stated_std": found[0].relative_error,
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything, as one dict."""
    models = mobilenet()
    accelerators: tuple[Accelerator, ...] = ("xnnpack", "builtin")
    found: dict[str, Any] = {"speed": {one: speed(models, arguments.frames, one) for one in accelerators}}
    if not arguments.no_tensorflow:
        found["quantization_debugger"] = debugger = time_quantization_debugger(models, 20)
        # Its time per frame is a mean as well.
        ours = found["speed"]["xnnpack"]["diff_mean_ms"] / 1e3
        debugger["times_ours"] = debugger["frame_s"] / ours
    found["memory"] = memory(models, arguments.memory_frames)
    found["layer_log"] = {
        "smooth inputs": layer_log(models, arguments.log_frames, noise=False),
        "inputs of white noise": layer_log(models, arguments.log_frames, noise=True),
    }
    found["estimator"] = [estimator(models, frames) for frames in (1, 20)]
    return found


def _print(found: dict[str, Any], indent: int = 0) -> None:
    for name, value in found.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                print(" " * indent + name)
                _print(one, indent + 2)
            else:
                print(" " * indent + f"{name:<40}{one:>12,.4g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--memory-frames", type=int, default=1000)
    parser.add_argument("--log-frames", type=int, default=4)
    parser.add_argument("--no-tensorflow", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments)
    print(json.dumps(found, indent=2)) if arguments.json else _print(found)


if __name__ == "__main__":
    main()
