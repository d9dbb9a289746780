"""Noise between the lines of a benchmark changes nothing, and a log of any size needs the same memory."""

from __future__ import annotations

import io
import random
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pytest
import yaml

from windtunnel.log_parser import parse_log
from windtunnel.log_parser.domain.lines.signals import SIGNALS, Scanner
from windtunnel.log_parser.use_cases.parse_log import read_log

HERE = Path(__file__).parent
NOISE = (
    ("ActivityManager", "Start proc 12345:com.android.vending/u0a123 for service {com.android.vending/x.Svc}"),
    ("ActivityManager", "Killing 2345:com.google.android.apps.photos/u0a88 (adj 965): empty for 1803s"),
    ("WifiService", "onWifiUsabilityStats rssi=-57 linkSpeed=433 txBad=0 retry=2 lost 0"),
    ("BufferQueueProducer", "queueBuffer: fps=59.97 dur=1000.52 max=18.23 min=15.06"),
    ("zygote64", "GC freed 12345(512KB) AllocSpace objects, 49% free, 5MB/10MB, paused 120us total 20.3ms"),
    ("NetworkMonitor", 'Unable to resolve host "example.com": No address associated with hostname'),
    ("lmkd", "Kill 'com.google.android.youtube' (15964), uid 10137, oom_score_adj 950 to free 92212kB rss"),
    ("chatty", ""),
)
Form = Callable[[int, str, str], str]
WITH_PID: dict[str, Form] = {
    "threadtime": lambda pid, tag, text: f"07-14 13:14:52.097 {pid:5} {pid + 1:5} I {tag:8}: {text}\n",
    "brief": lambda pid, tag, text: f"I/{tag:8}({pid:5}): {text}\n",
    "time": lambda pid, tag, text: f"07-14 13:14:52.097 I/{tag:8}({pid:5}): {text}\n",
    "process": lambda pid, tag, text: f"I({pid:5}) {text}  ({tag})\n",
    "long": lambda pid, tag, text: f"[ 07-14 13:14:52.097 {pid:5}:{pid + 1:5} I/{tag:8} ]\n{text}\n\n",
    "Android Studio": lambda pid, tag, text: (
        f"2023-07-14 13:14:52.097  {pid}-{pid}  {tag:23} com.example.app                      I  {text}\n"
    ),
}
WITHOUT_PID: dict[str, Form] = {
    "tag": lambda pid, tag, text: f"I/{tag:8}: {text}\n",
    "no pid": lambda pid, tag, text: f"07-14 13:14:52.097 I {tag:8}: {text}\n",
}
LOGS = {
    "profiled_scientific": (HERE / "logs/profiled_scientific.txt").read_text(),
    "gpu_full_nnapi_none": (HERE / "logs/gpu_full_nnapi_none.txt").read_text(),
    "litert_profiled": (HERE / "logs/litert_profiled.txt").read_text(),
    "two_runs_op_version": (HERE / "logs/two_runs_op_version.txt").read_text(),
    "game_loop_reports_alone": next(
        case["log"]
        for case in yaml.safe_load((HERE / "reports.yaml").read_text())
        if case["name"] == "game_loop_reports_alone"
    ),
}


def noise(rng: random.Random, form: Form, lines: int) -> str:
    return "".join(form(rng.randrange(500, 9000), *rng.choice(NOISE)) for _ in range(lines))


def logged(name: str, form: Form, between: int, inside: int) -> tuple[str, str]:
    """A log in a logcat format, without and with noise: some between its lines, much in its middle."""
    rng = random.Random(5)
    lines = [re.sub(r"^(?:INFO|VERBOSE): ", "", line) for line in LOGS[name].splitlines() if line.strip()]
    quiet = [form(21767, "native", line) for line in lines]
    middle = len(quiet) // 2
    loud = [
        line + noise(rng, form, rng.randrange(between + 1)) + (noise(rng, form, inside) if index == middle else "")
        for index, line in enumerate(quiet)
    ]
    return "".join(quiet), noise(rng, form, 300) + "".join(loud) + noise(rng, form, 300)


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("form", WITH_PID)
def test_noise_of_other_processes_changes_nothing(form: str, name: str) -> None:
    quiet, loud = logged(name, WITH_PID[form], between=60, inside=800)
    assert parse_log(loud).runs == parse_log(quiet).runs


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("form", WITHOUT_PID)
def test_noise_between_lines_without_a_process_changes_nothing(form: str, name: str) -> None:
    quiet, loud = logged(name, WITHOUT_PID[form], between=4, inside=200)
    assert parse_log(loud).runs == parse_log(quiet).runs


@pytest.mark.parametrize("form", [*WITH_PID, *WITHOUT_PID])
def test_every_line_of_noise_is_counted_once(form: str) -> None:
    made = {**WITH_PID, **WITHOUT_PID}[form]
    rng = random.Random(3)
    kinds = [rng.choice(NOISE[2:6]) for _ in range(3000)]
    text = "".join(made(rng.randrange(500, 9000), *kind) for kind in kinds)
    assert parse_log(text).unrecognized_lines == 3000
    listed: list[int] = []

    def take(number: int, line: str) -> bool:
        listed.append(number)
        return True

    assert read_log(lambda: io.BytesIO(text.encode()), take).unrecognized_lines == len(listed) == 3000
    assert listed == sorted(set(listed))


@pytest.mark.heavy
def test_memory_does_not_grow_with_the_log() -> None:
    form = WITH_PID["threadtime"]
    rng = random.Random(1)
    piece = "".join(form(rng.randrange(500, 9000), *rng.choice(NOISE[2:6])) for _ in range(10_000)).encode()
    run = logged("gpu_full_nnapi_none", form, 0, 0)[0].encode()

    class Repeated(io.RawIOBase):
        """A log that is made while it is read."""

        def __init__(self, pieces: int) -> None:
            self._left = [piece] * (pieces // 2) + [run] + [piece] * (pieces - pieces // 2)
            self._at = b""

        def read(self, size: int = -1) -> bytes:
            while self._left and len(self._at) < size:
                self._at += self._left.pop(0)
            taken, self._at = self._at[:size], self._at[size:]
            return taken

    def peak(pieces: int) -> int:
        tracemalloc.start()
        try:
            assert len(read_log(lambda: cast(BinaryIO, Repeated(pieces))).runs) == 1
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)
    assert peak(32) < peak(4) + 1_000_000


def test_each_signal_is_found_wherever_it_is() -> None:
    scanner = Scanner(SIGNALS)
    for signal in SIGNALS:
        for offset in range(5):
            block = np.frombuffer(b"\xf0" * offset + signal.upper().encode() + b"\xf0" * 3, dtype=np.uint8)
            assert len(scanner.find(block)) > 0, (signal, offset)
