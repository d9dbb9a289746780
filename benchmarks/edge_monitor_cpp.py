"""What the C++ edge monitor costs per frame, in the app's own thread, next to a bare copy of the same bytes in one run.

    python benchmarks/edge_monitor_cpp.py [--json] [--frames N] [--rounds N] [--compiler g++]

The app is a 96x96x3 float classifier (sdk/cpp/bench/overhead.cpp): an input of 110592 bytes, an output of 40, 200
frames in a second. `monitor_us` is the median, `monitor_cpu_us` the mean processor time of the app's thread. Of the
rounds the one with the lowest median counts, because other programs only add. Memory is the resident memory that the
process gains.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

SDK = Path(__file__).parents[1] / "sdk" / "cpp"
LEVELS = ("off", "statistics", "io", "layers")
MEMORY_LIMIT = 4_000_000
DISK_LIMIT = 410  # bytes per frame, with statistics
Row = dict[str, float | str]


def build(folder: Path, compiler: str) -> Path:
    """Build the app.

    Args:
        folder: Where it is put.
        compiler: The C++ compiler.

    Returns:
        The app.
    """
    app = folder / "overhead"
    sources = [*sorted((SDK / "src").glob("*.cpp")), SDK / "bench" / "overhead.cpp"]
    includes = [f"-I{SDK / name}" for name in ("include", "src")]
    command = [compiler, "-std=c++17", "-O2", "-pthread", *includes, *map(str, sources), "-o", str(app)]
    subprocess.run(command, check=True)
    return app


def measure(app: Path, level: str, frames: int, rounds: int) -> Row:
    """Measure one level.

    Args:
        app: The app.
        level: The level.
        frames: Frames of a round.
        rounds: Rounds.

    Returns:
        The figures of the best round.
    """
    found: list[Row] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            command = [str(app), level, f"{folder}/log", str(frames)]
            found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return min(found, key=lambda row: float(row["monitor_us"]))


def misses(row: Row) -> list[str]:
    """Compare figures with their limits.

    Args:
        row: Figures of a level.

    Returns:
        What exceeds its limit.
    """
    limits = {"off": 1.0, "statistics": 60.0}
    limit = limits.get(str(row["level"]), 3 * float(row["copy_us"]))
    found = []
    if float(row["monitor_us"]) > limit:
        found.append(f"{row['level']}: {row['monitor_us']} us, limit {limit:.2f} us")
    if float(row["memory_bytes"]) > MEMORY_LIMIT:
        found.append(f"{row['level']}: {row['memory_bytes']} bytes of memory, limit {MEMORY_LIMIT}")
    if row["level"] == "statistics" and float(row["disk_bytes_per_frame"]) > DISK_LIMIT:
        found.append(f"{row['level']}: {row['disk_bytes_per_frame']} bytes per frame, limit {DISK_LIMIT}")
    return found


def main() -> int:
    """Measure all levels; exit code 1 if one exceeds its limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compiler", default="g++")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        app = build(Path(folder), given.compiler)
        rows = [measure(app, level, given.frames, given.rounds) for level in LEVELS]
    if given.json:
        print(json.dumps(rows))
    else:
        heads = ("copy us", "monitor us", "cpu us", "memory KB", "bytes/frame", "lost")
        print(f"{'level':12}" + "".join(f"{head:>12}" for head in heads))
        for row in rows:
            memory = float(row["memory_bytes"]) / 1000
            print(
                f"{row['level']:12}{row['copy_us']:12.2f}{row['monitor_us']:12.2f}{row['monitor_cpu_us']:12.2f}"
                f"{memory:12.0f}{row['disk_bytes_per_frame']:12.1f}{row['frames_lost']:12}"
            )
    over = [words for row in rows for words in misses(row)]
    print(*over, sep="\n", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
