"""A program of its own: measures a model on ARM64 kernels or this host's, and writes the log of the benchmark tool.

Arguments: a JSON file with model, accelerator, threads, shapes, cpu ("" for this host), and log, the file to write.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import windtunnel.errors
from windtunnel.arm_emulator import run_arm
from windtunnel.errors import InvalidInput
from windtunnel.farm_dispatcher.adapters import benchmark
from windtunnel.farm_dispatcher.adapters.benchmark import benchmark_log
from windtunnel.farm_dispatcher.adapters.benchmark import emulated_benchmark as emulated
from windtunnel.farm_dispatcher.adapters.benchmark.delegation import Delegation
from windtunnel.farm_dispatcher.adapters.benchmark.measurement import Measured

REFUSED: Final = 3
_PACKAGES: Final = (
    Path(windtunnel.errors.__file__).absolute().parents[1],
    Path(str(benchmark.__file__)).absolute().parents[4],
)


def main() -> int:
    """Runs the job; ends with REFUSED where the runtime refuses the model, and prints why."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    job["result"] = f"{sys.argv[1]}.measured"
    try:
        if job["cpu"]:
            run_arm(job, job["cpu"], script=Path(emulated.__file__).absolute(), packages=_PACKAGES)
        else:
            _run_here(job)
    except InvalidInput as error:
        print(error.message)
        return REFUSED
    measured = _measured(json.loads(Path(job["result"]).read_text(encoding="utf-8")))
    log = benchmark_log.render(measured, warmup=emulated.WARMUP, inference=emulated.INFERENCE)
    Path(job["log"]).write_text(log, encoding="utf-8")
    return 0


def _run_here(job: dict[str, Any]) -> None:
    order = Path(f"{sys.argv[1]}.here")
    order.write_text(json.dumps(job), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, emulated.__file__, str(order)], stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise InvalidInput(done.stderr.rpartition("refused: ")[2].strip())


def _measured(values: dict[str, Any]) -> Measured:
    values |= {name: tuple(values[name]) for name in ("warmup_us", "inference_us", "zeroed_inputs")}
    shapes = {name: tuple(shape) for name, shape in values["input_shapes"].items()}
    return Measured(
        **{**values, "delegation": Delegation(**values["delegation"]), "input_shapes": shapes, "conditions": None}
    )


if __name__ == "__main__":
    sys.exit(main())
