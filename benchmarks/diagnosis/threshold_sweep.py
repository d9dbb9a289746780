"""How far can each threshold be changed before a case of the fault matrix gets a worse answer?

    python benchmarks/diagnosis/threshold_sweep.py [--folder FOLDER] [--json FILE] [--every N] [--run-every N]
                                                   [--only NAME,NAME] [--again]

Every case of the quick fault matrix is made and run once; its run is kept in --folder. Each run is then judged again
with one threshold changed by 1.1, 1.25, 1.5, 2, 4 and 10 in both directions (a ratio close to 1: its distance to 1),
as long as no answer gets worse. Where a changed threshold asks trials that the run does not hold, and for thresholds
that the models' run depends on, the models run again, on at most 40 cases. A threshold that is in the --json file with
its value is skipped unless --again; so a sweep that was interrupted continues.

--every: of the cases, only each such one. --run-every: of those, each such one may run again for a threshold that the
models' run depends on.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(root), str(root / "tests"), str(root / "tools")]
    from benchmarks.diagnosis.sweep_command import main

    sys.exit(main(__doc__))
