"""The benchmark app on a simulated phone: the game loop variant of TensorFlow Lite's tool.

It is real in what counts: the pushed file (or the model in the package) is measured by LiteRT on this host, and the
log is what the tool prints, with the prefixes of logcat and other processes' lines between.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from windtunnel.errors import UserError
from windtunnel.farm_dispatcher.adapters.benchmark import benchmark_log
from windtunnel.farm_dispatcher.adapters.benchmark.emulated_benchmark import INFERENCE, PROCEDURE, WARMUP
from windtunnel.farm_dispatcher.adapters.benchmark.measure_model import measure
from windtunnel.farm_dispatcher.adapters.benchmark.measurement import Measured

GRAPH = "/data/local/tmp/graph"
IN_PACKAGE = "assets/windtunnel/model.tflite"
# Of tensorflow/lite/tools/benchmark/experimental/firebase: scenario, its name, accelerator and threads.
SCENARIOS: Mapping[int, tuple[str, str, int]] = {
    1: ("cpu_1thread", "cpu", 1),
    2: ("cpu_2threads", "cpu", 2),
    3: ("cpu_4threads", "cpu", 4),
    4: ("xnnpack_1thread", "xnnpack", 1),
    5: ("xnnpack_2threads", "xnnpack", 2),
    6: ("xnnpack_4threads", "xnnpack", 4),
    7: ("gpu_default", "gpu", 4),
    8: ("gpu_fp16", "gpu", 4),
    9: ("dsp_hexagon", "hexagon", 4),
    10: ("nnapi", "nnapi", 4),
}
_BOOT = (
    "I ActivityManager: Start proc 4321:org.tensorflow.lite.benchmark/u0a143 for activity",
    "W thermald: skin temperature 31.2",
    "D WifiHAL : count=3 avg=12",
)
_TOMBSTONE = (
    "F libc    : Fatal signal 11 (SIGSEGV), code 1 (SEGV_MAPERR), fault addr 0x0 in tid 4321 (tflite.benchmark)",
    "F DEBUG   : *** *** *** *** *** *** *** *** *** *** *** *** *** *** *** ***",
    "F DEBUG   : signal 11 (SIGSEGV), code 1 (SEGV_MAPERR), fault addr 0x0000000000000000",
    "F DEBUG   : backtrace:",
    "F DEBUG   :       #00 pc 000000000001c2a0  /data/app/lib/arm64/libtensorflowlite_benchmark.so",
)
_OUT_OF_MEMORY = (
    "I lowmemorykiller: Kill 'org.tensorflow.lite.benchmark' (4321), uid 10143, oom_score_adj 0 to free 1810432kB",
)

_DETAILS = {
    "native": {"crashed": True, "otherNativeCrash": True},
    "oom": {"deviceOutOfMemory": True, "crashed": True},
    "hang": {"timedOut": True},
}


@dataclass(frozen=True)
class Ran:
    """What a phone gives back: the logcat and files by their paths in the folder of results."""

    logcat: str
    files: Mapping[str, bytes]
    # Of the model that was found; empty: none.
    model: str = ""
    # Outcome of the step as Test Lab sees it.
    outcome: Mapping[str, Any] = field(default_factory=lambda: {"summary": "success"})


def model_of(package: bytes, pushed: Mapping[str, bytes]) -> bytes | None:
    """The model that the app opens: the pushed one, or that of the package."""
    if GRAPH in pushed:
        return pushed[GRAPH]
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        return archive.read(IN_PACKAGE) if IN_PACKAGE in archive.namelist() else None


def run_scenarios(
    package: bytes,
    pushed: Mapping[str, bytes],
    scenarios: Sequence[int],
    crash: str,
    pull: Sequence[str],
    crashes_at: int = 0,
) -> Ran:
    """Runs the app once for each scenario."""
    model = model_of(package, pushed)
    lines, files = list(_BOOT), {}
    for scenario in scenarios:
        lines.append(f"I tflite_BenchmarkModelActivity: Running TensorFlow Lite benchmark with scenario: {scenario}")
        printed, report, csv = _run(model, scenario)
        if crash and crashes_at in (0, scenario):
            lines += _cut(printed, crash)
            break
        lines += [*printed, *(f"E tflite  : {line}" for line in json.dumps(report, indent=2).splitlines())]
        files[f"game_loop_results/results_scenario_{scenario}.json"] = json.dumps(report, indent=2).encode()
        if csv and "/sdcard/benchmark_output" in pull:
            files[f"artifacts/sdcard/benchmark_output/benchmark_result_{report['benchmark config']}"] = csv.encode()
    lines.append("I ActivityManager: Process org.tensorflow.lite.benchmark (pid 4321) has died: fg TOP")
    for path in pull:
        files |= {f"artifacts{name}": data for name, data in pushed.items() if name.startswith(path.rstrip("/") + "/")}
    sha256 = hashlib.sha256(model).hexdigest() if model is not None else ""
    return Ran(_logcat(lines), files, sha256, _outcome(crash))


def _outcome(crash: str) -> Mapping[str, Any]:
    detail = _DETAILS.get(crash)
    return {"summary": "success"} if detail is None else {"summary": "failure", "failureDetail": detail}


def _cut(printed: Sequence[str], crash: str) -> list[str]:
    """A log that ends before its summary."""
    kept = list(printed[: max(3, len(printed) // 2)])
    return kept + list({"native": _TOMBSTONE, "oom": _OUT_OF_MEMORY}.get(crash, ()))


def _run(model: bytes | None, scenario: int) -> tuple[list[str], dict[str, str], str]:
    """The tool's lines, its report and its CSV file."""
    name, accelerator, threads = SCENARIOS.get(scenario, ("", "cpu", 4))
    report = {"name": "TFLite benchmark", "benchmark config": name, "status": "TFLite error"}
    if model is None:
        return [f"E tflite  : Could not open '{GRAPH}'.", "E tflite  : Failed to mmap model"], report, ""
    if accelerator not in ("cpu", "xnnpack"):
        return [f"E tflite  : {accelerator} delegate is not supported on this device"], report, ""
    try:
        measured = measure_bytes(model, accelerator, threads)
    except UserError as error:
        return [f"E tflite  : {' '.join(str(error).split())}"], report, ""
    text = benchmark_log.render(measured, warmup=WARMUP, inference=INFERENCE).replace("model.tflite", GRAPH)
    report |= {"status": "OK", "average time in us": _averages(measured),
               "overall memory usage": f"max resident set size = {measured.overall_mb or 0:g} MB"}  # fmt: skip
    return [_as_logcat(line) for line in text.splitlines()], report, _csv(name, measured)


def measure_bytes(
    model: bytes, accelerator: str, threads: int, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> Measured:
    """A real, short measurement on this host."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "graph")
        path.write_bytes(model)
        return measure(path, accelerator, threads, shapes, PROCEDURE)


def _averages(measured: Measured) -> str:
    warmup, inference = (sum(times) / len(times) for times in (measured.warmup_us, measured.inference_us))
    return f"init: {round(measured.init_us)}, warmup: {warmup:g}, inference: {inference:g}"


def _csv(name: str, measured: Measured) -> str:
    times = measured.inference_us
    return (
        "config_key,model_size,init_time,warmup_avg,inference_avg,inference_min,inference_max\n"
        f"{name},{measured.model_bytes / 1e6:g},{round(measured.init_us)},{sum(measured.warmup_us):g},"
        f"{sum(times) / len(times):g},{min(times):g},{max(times):g}\n"
    )


def _as_logcat(line: str) -> str:
    for word, level in (("INFO: ", "I"), ("VERBOSE: ", "V"), ("WARNING: ", "W"), ("ERROR: ", "E")):
        if line.startswith(word):
            return f"{level} tflite  : {line[len(word) :]}"
    return f"I tflite  : {line}"


def _logcat(lines: Sequence[str]) -> str:
    """threadtime, with lines of other processes between."""
    text = []
    for index, line in enumerate(lines):
        text.append(f"11-30 04:26:{index // 1000 % 60:02}.{index % 1000:03}  4321  4350 {line}")
        if index % 5 == 4:
            text.append(
                f"11-30 04:26:{index // 1000 % 60:02}.{index % 1000:03}  1022  1044 I chatty  : uid=1000 expire 2 lines"
            )
    return "--------- beginning of main\n" + "\n".join(text) + "\n"
