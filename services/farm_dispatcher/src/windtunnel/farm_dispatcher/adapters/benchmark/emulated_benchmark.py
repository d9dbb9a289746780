"""The measurement of `benchmark` as a program of its own, for the emulated Python of the farm `arm`."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Final

from windtunnel.errors import UserError
from windtunnel.farm_dispatcher.adapters.benchmark.measure_model import Procedure, measure
from windtunnel.farm_dispatcher.adapters.benchmark.measurement import NO_PATIENCE, Series

# Times under emulation mean nothing: this is to see that it runs, and keeps running.
WARMUP: Final = Series(min_runs=1, min_s=0.0, max_runs=1, max_s=600.0)
INFERENCE: Final = Series(min_runs=3, min_s=0.0, max_runs=3, max_s=600.0)
PROCEDURE: Final = Procedure(WARMUP, INFERENCE, NO_PATIENCE)
# What a worker of `windtunnel.arm_emulator` ends with where the runtime refuses a model.
_REFUSED: Final = 3


def main() -> int:
    """Measures `model` of the job in the file that is named, and writes the figures to its `result`."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        shapes = {name: tuple(shape) for name, shape in job["shapes"].items()}
        measured = measure(Path(job["model"]), job["accelerator"], job["threads"], shapes, PROCEDURE)
    except UserError as error:
        print("refused:", " ".join(str(error.__cause__ or error).split()), file=sys.stderr)
        return _REFUSED
    Path(job["result"]).write_text(json.dumps(dataclasses.asdict(measured)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
