"""The evaluation of the ML-EXray paper (arXiv 2111.04779), repeated as far as data and hardware here allow.

    python benchmarks/exray/run.py [--parts figure4,table1,table2,table3,figure5] [--photos 120] [--json FILE]
                                   [--markdown docs/exray.md]

figure4: accuracy under each preprocessing bug, and what `windtunnel diagnose` names; table1: lines of code, counted in
examples/; table2: overhead per frame (benchmarks/edge_monitor.py); table3: per-layer logging; figure5: error of each
layer of an int8 model on optimized and reference kernels. With --json, other parts are kept from FILE.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(root), str(root / "tests")]
    from benchmarks.exray.parts import main

    sys.exit(main(__doc__))
