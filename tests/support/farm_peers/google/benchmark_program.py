"""`benchmark_model` for simulated phones: the flags and the output of TensorFlow Lite's tool, measured on this host."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_FLAGS = ("graph", "num_threads", "use_xnnpack", "num_runs", "warmup_runs", "min_secs", "max_secs", "warmup_min_secs",
          "input_layer", "input_layer_shape", "enable_op_profiling", "report_peak_memory_footprint", "use_gpu",
          "require_full_delegation", "use_nnapi", "verbose")  # fmt: skip


def write_program(path: Path) -> Path:
    """Writes the program as an executable file of its own."""
    tests = Path(__file__).parents[3]
    path.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(tests)!r})\n"
        "from support.farm_peers.google.benchmark_program import main\nsys.exit(main(sys.argv[1:]))\n",
        encoding="utf-8",
    )
    path.chmod(0o755)
    return path


def main(arguments: list[str]) -> int:
    """Runs like the tool: 0, or 1 with the tool's words."""
    flags = dict(argument.removeprefix("--").partition("=")[::2] for argument in arguments)
    if unknown := set(flags) - set(_FLAGS):
        print(f"ERROR: Unconsumed cmdline flags: {' '.join(f'--{name}' for name in sorted(unknown))}", file=sys.stderr)
        return 1
    graph = flags.get("graph", "")
    if not Path(graph).is_file():
        print(f"ERROR: Could not open '{graph}'.\nERROR: Failed to mmap model {graph}", file=sys.stderr)
        return 1
    if flags.get("use_gpu") == "true":
        print("ERROR: GPU delegate is not supported on this device", file=sys.stderr)
        return 1
    from support.farm_peers.google.android_app import measure_bytes
    from windtunnel.errors import UserError
    from windtunnel.farm_dispatcher.adapters.benchmark import benchmark_log
    from windtunnel.farm_dispatcher.adapters.benchmark.emulated_benchmark import INFERENCE, WARMUP

    # What the runtime prints by itself would stand before the tool's own lines.
    quiet, loud = os.open(os.devnull, os.O_WRONLY), os.dup(2)
    os.dup2(quiet, 2)
    accelerator = "xnnpack" if flags.get("use_xnnpack") == "true" else "cpu"
    try:
        measured = measure_bytes(
            Path(graph).read_bytes(), accelerator, int(flags.get("num_threads", "1")), _shapes(flags)
        )
    except UserError as error:
        os.dup2(loud, 2)
        print(f"ERROR: {error}\nERROR: Benchmarking failed.", file=sys.stderr)
        return 1
    print(benchmark_log.render(measured, warmup=WARMUP, inference=INFERENCE).replace("model.tflite", graph), end="")
    return 0


def _shapes(flags: dict[str, str]) -> dict[str, tuple[int, ...]]:
    names = [name for name in flags.get("input_layer", "").split(",") if name]
    shapes = flags.get("input_layer_shape", "").split(":")
    return {name: tuple(map(int, shape.split(","))) for name, shape in zip(names, shapes, strict=False)}
