"""What the Java monitor costs the thread of an app, compared with a bare copy of the same bytes, in one run.

    python benchmarks/edge_monitor_java.py [--frames 2000] [--pause-us 1000] [--json]

A frame has a 96x96x3 float input and ten scores. The bare copy and the levels take turns, after a warm-up, with a pause
before each; the figures are medians. `--json` prints the figures alone. Exit code 1: a bound is exceeded.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SDK = Path(__file__).parents[1] / "sdk/java"
# Figure, bound, unit.
BOUNDS = (
    ("off_us", 1.0, "us"),
    ("statistics_us", 80.0, "us"),
    ("io_copies", 3.0, "bare copies"),
    ("heap_bytes", 4e6, "bytes"),
    ("statistics_bytes_per_frame", 410.0, "bytes"),
)


def measure(frames: int, pause_us: int) -> dict[str, float]:
    """Build the monitor and run the benchmark.

    Args:
        frames: Frames for each figure.
        pause_us: Pause before each measured call, in microseconds.

    Returns:
        Figures by name.
    """
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([str(SDK / "build"), folder], check=True, stdout=subprocess.DEVNULL)
        jar, classes = f"{folder}/windtunnel-monitor.jar", f"{folder}/benchmark"
        source = SDK / "src/benchmark/java/MonitorBenchmark.java"
        subprocess.run(["javac", "-cp", jar, "-d", classes, str(source)], check=True)
        # This garbage collector measures the heap exactly.
        command = ["java", "-XX:+UseSerialGC", "-cp", f"{jar}:{classes}", "MonitorBenchmark"]
        done = subprocess.run(
            [*command, f"{folder}/log", str(frames), str(pause_us)], check=True, capture_output=True, text=True
        )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> int:
    """Measure, print, compare with the bounds.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--pause-us", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not shutil.which("javac"):
        print("error: there is no JDK: install openjdk-17-jdk-headless", file=sys.stderr)
        return 2
    figures = measure(options.frames, options.pause_us)
    exceeded = [name for name, bound, _ in BOUNDS if figures[name] > bound]
    if options.json:
        print(json.dumps(figures))
    else:
        print(f"bare copy: {figures['copy_us']:.2f} us; io: {figures['io_us']:.2f} us")
        for name, bound, unit in BOUNDS:
            words = "EXCEEDED" if name in exceeded else "ok"
            print(f"{name:28} {figures[name]:>12.2f}  bound {bound:>10.0f} {unit:12} {words}")
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
