"""The log parser on logcat noise, compared with `for line in file` and `grep` on the same file in the same run.

    python benchmarks/log_parser.py [--json] [--mib 64] [--rounds 3]

The file is a logcat of many processes with one benchmark run in its middle, in each format of `adb logcat -v`. Lines
like those of a real phone come from activity manager, low memory killer and other services; about 1 in 100 has a text
that the parser looks for. Figures are MB per second of one core, the best of the rounds, and how much the memory has
grown in MiB after the first reading.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from windtunnel.log_parser import read_results

Row = dict[str, str | float]
Format = Callable[[int, int, str, str, str], str]

_TAGS = (
    "ActivityManager", "SurfaceFlinger", "WifiService", "ConnectivityService", "chatty", "BufferQueueProducer",
    "thermal-engine", "vendor.qti.hardware.perf", "PowerManagerService", "audio_hw_primary", "NetworkMonitor",
    "InputDispatcher", "GmsCore", "QCamera3HWI", "zygote64",
)  # fmt: skip
_MESSAGES = (
    "Start proc 12345:com.android.vending/u0a123 for service {com.android.vending/com.google.Finsky}",
    "onWifiUsabilityStats rssi=-57 linkSpeed=433 txBad=0 retry=2 lost 0",
    "Failed to find provider info for com.example.provider",
    "queueBuffer: fps=59.97 dur=1000.52 max=18.23 min=15.06",
    "uid=10123(u0_a123) identical 3 lines",
    "Error opening trace file: No such file or directory (2)",
    "handleComboKeys key press 24 count=1 first=3",
    "perf_lock_acq: duration 2000 num of args 4",
    "Waiting for memory pressure to fall, level=62 [ 1.25] (MB): 12.5",
    "setRequestedState: [MODE_NORMAL] -> [MODE_IN_COMMUNICATION]",
    'Unable to resolve host "example.com": No address associated with hostname',
    "GC freed 12345(512KB) AllocSpace objects, 12(240KB) LOS objects, 49% free, 5MB/10MB, paused 120us total 20.3ms",
)
_RARE = (
    "Killing 2345:com.google.android.apps.photos/u0a88 (adj 965): empty for 1803s",
    "Process com.google.android.apps.photos (pid 2345) has died: cch+75 CEM",
    "Kill 'com.google.android.youtube' (15964), uid 10137, oom_score_adj 950 to free 92212kB rss",
)
_RUN = (
    "Log parameter values verbosely: [0]",
    "Graph: [/data/local/tmp/mobilenet.tflite]",
    "Use gpu: [1]",
    "Loaded model /data/local/tmp/mobilenet.tflite",
    "Created TensorFlow Lite delegate for GPU.",
    "Replacing 62 out of 64 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 3 partitions for subgraph 0.",
    "Initialized session in 412.5ms.",
    "count=50 first=9100 curr=8000 min=7900 max=9100 avg=8100.5 std=150",
    "Inference timings in us: Init: 412500, First inference: 9100, Warmup (avg): 8200.5, Inference (avg): 8100.5",
)


def _stamp(number: int) -> str:
    return f"07-14 13:{number // 60_000 % 60:02}:{number // 1000 % 60:02}.{number % 1000:03}"


FORMATS: dict[str, Format] = {
    "threadtime": lambda n, pid, level, tag, text: f"{_stamp(n)} {pid:5} {pid + 7:5} {level} {tag:8}: {text}",
    "brief": lambda n, pid, level, tag, text: f"{level}/{tag:8}({pid:5}): {text}",
    "time": lambda n, pid, level, tag, text: f"{_stamp(n)} {level}/{tag:8}({pid:5}): {text}",
    "long": lambda n, pid, level, tag, text: f"[ {_stamp(n)} {pid:5}:{pid + 7:5} {level}/{tag:8} ]\n{text}\n",
    "process": lambda n, pid, level, tag, text: f"{level}({pid:5}) {text}  ({tag})",
    "tag": lambda n, pid, level, tag, text: f"{level}/{tag:8}: {text}",
    "Android Studio": lambda n, pid, level, tag, text: (
        f"2023-{_stamp(n)}  {pid}-{pid}  {tag:23} com.example.app                      {level}  {text}"
    ),
}


def write_log(path: Path, size: int, form: Format) -> None:
    """Writes a logcat of at least `size` bytes with one run in its middle."""
    rng = random.Random(7)
    lines = [
        form(
            number,
            rng.randint(500, 30_000),
            rng.choice("VDIIIWE"),
            rng.choice(_TAGS),
            rng.choice(_RARE if rng.random() < 0.01 else _MESSAGES),
        )
        for number in range(20_000)
    ]
    piece = ("\n".join(lines) + "\n").encode()
    run = "".join(form(1, 31_234, "I", "tflite", text) + "\n" for text in _RUN).encode()
    with path.open("wb") as file:
        for number in range(-(-size // len(piece))):
            file.write(piece)
            if number == size // len(piece) // 2:
                file.write(run)


def bare(path: Path) -> int:
    count = 0
    with path.open("rb") as file:
        for _ in file:
            count += 1
    return count


def grep(path: Path) -> None:
    subprocess.run(["grep", "-c", "tflite", str(path)], check=True, capture_output=True)


def parse(path: Path) -> None:
    runs = read_results(path).to_json()["runs"]
    delegate = runs[0]["delegate"]
    found = (len(runs), runs[0]["inference"]["avg_us"], delegate["nodes_delegated"], runs[0]["error"])
    assert found == (1, 8100.5, 62, None), found


def best(work: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        began = _processor_seconds()
        work()
        times.append(_processor_seconds() - began)
    return min(times)


def _processor_seconds() -> float:
    """Of this process and its children: other work on the machine does not count."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def measure(name: str, form: Format, mib: int, rounds: int) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "logcat.txt"
        write_log(path, mib << 20, form)
        size = path.stat().st_size / 1e6
        # The first reading also allocates what later ones use again.
        parse(path)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds = {
            "parser": best(lambda: parse(path), rounds),
            "for line in file": best(lambda: bare(path), rounds),
            "grep": best(lambda: grep(path), rounds),
        }
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    speeds = {what: round(size / one, 1) for what, one in seconds.items()}
    return {"format": name, **speeds, "memory growth MiB": round(grown, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = [measure(name, form, arguments.mib, arguments.rounds) for name, form in FORMATS.items()]
    if arguments.json:
        json.dump(rows, sys.stdout, indent=2)
        return 0
    print(f"{'MB/s':16}" + "".join(f"{title:>20}" for title in list(rows[0])[1:]))
    for row in rows:
        print(f"{row['format']:16}" + "".join(f"{value:>20}" for value in list(row.values())[1:]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
