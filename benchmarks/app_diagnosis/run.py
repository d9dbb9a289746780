"""The matrix of apps with known faults: does `windtunnel diagnose` name every cause, and nothing about a right app?

    python benchmarks/app_diagnosis/run.py [--domain image,audio,...] [--only TEXT] [--seeds N] [--all-models]
                                           [--every N] [--jobs 2] [--json FILE] [--markdown docs/app-diagnosis.md]
                                           [--list] [--from FILE ...]
    python benchmarks/app_diagnosis/run.py --case NAME --keep DIR

Apps are made by tests/support/app_faults from seeds; networks are trained once per machine. --only: cases whose name
contains TEXT (several: any of them, separated by commas); --every: every n-th case; --case: one case, whose files stay
in DIR with what was expected and what was found; --from: no cases, but the tables of earlier --json files together.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(root), str(root / "tests")]
    from benchmarks.app_diagnosis.matrix import main

    sys.exit(main(__doc__))
