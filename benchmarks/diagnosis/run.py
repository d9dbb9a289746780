"""The fault matrix: does the diagnosis name the cause and the place of a known fault, and nothing on a clean pair?

    python benchmarks/diagnosis/run.py [--arch A,B] [--only TEXT] [--seeds N] [--quick] [--jobs 2] [--json FILE]
                                       [--markdown docs/diagnosis.md] [--list] [--from FILE ...]

Models are built by tests/support (TensorFlow trains the networks once per machine); every case is made and compared in
a child process. --arch: names, `small` or `all`; --only: cases whose name contains TEXT (several: any of them,
separated by commas); --quick: every eighth case; --from: no
cases, but the tables of earlier --json files together.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(root), str(root / "tests")]
    from benchmarks.diagnosis.matrix import main

    sys.exit(main(__doc__))
