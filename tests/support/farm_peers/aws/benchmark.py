"""Files that stand for the benchmark tool on the peer's phones: one measures really, one only prints."""

from __future__ import annotations

import sys
from pathlib import Path

from windtunnel.farm_dispatcher.adapters.benchmark import benchmark_log
from windtunnel.farm_dispatcher.adapters.benchmark.delegation import Delegation
from windtunnel.farm_dispatcher.adapters.benchmark.measurement import Measured

_MEASURES = '''#!{python}
"""benchmark_model: loads the model of --graph with LiteRT, measures it, prints the tool's log."""
import os
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from windtunnel.farm_dispatcher.adapters.benchmark import benchmark_log, measure_model
from windtunnel.farm_dispatcher.adapters.benchmark.measurement import Series

flags = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:] if "=" in word)
graph = Path(flags["graph"])
if not graph.exists():
    print(f"ERROR: Failed to load model {{graph}}", file=sys.stderr)
    raise SystemExit(1)
accelerator = "xnnpack" if flags.get("use_xnnpack") in ("1", "true") else "builtin"
# LiteRT writes some lines of the log itself, and too early.
said = os.dup(2)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
short = dict(warmup=Series(1, 0.0, 2, 1.0), inference=Series(5, 0.05, 20, 1.0))
try:
    measured = measure_model.measure(
        graph, accelerator, int(flags.get("num_threads", 1)), None, measure_model.Procedure(**short)
    )
except Exception as error:
    os.write(said, f"ERROR: Failed to initialize the model: {{error}}\\n".encode())
    raise SystemExit(1)
print(benchmark_log.render(measured), end="")
'''

_PRINTS = """#!/bin/sh
# benchmark_model that takes no time: its figures are fixed.
graph=
for word in "$@"; do case "$word" in --graph=*) graph=${word#--graph=};; esac; done
[ -e "$graph" ] || { echo "ERROR: Failed to load model $graph" >&2; exit 1; }
case "$(head -c 5 "$graph")" in
  CRASH) kill -SEGV $$;;
  SLEEP) sleep 600;;
  FAILS) echo "ERROR: Failed to initialize the interpreter" >&2; exit 1;;
esac
cat <<'LOG'
@LOG@LOG
"""


def measuring_benchmark(path: Path) -> Path:
    """Writes the one that runs the model."""
    search = [entry for entry in sys.path if entry]
    path.write_text(_MEASURES.format(python=sys.executable, path=search))
    path.chmod(0o755)
    return path


def printing_benchmark(path: Path) -> Path:
    """Writes the one that prints fixed figures. A model that begins with CRASH, SLEEP or FAILS does that."""
    times = (1200.5, 1100.0, 1300.25, 1150.0)
    delegation = Delegation(3, 4, 1, 1)
    measured = Measured(4096, "xnnpack", 1, 5000.0, times[:1], times, 1.5, 2.25, delegation)
    path.write_text(_PRINTS.replace("@LOG@", benchmark_log.render(measured)))
    path.chmod(0o755)
    return path
