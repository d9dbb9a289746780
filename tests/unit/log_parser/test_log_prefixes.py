"""What stands before the messages changes nothing: the answer is that of the plain log."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from windtunnel.log_parser import parse_log
from windtunnel.log_parser.domain.lines.read_lines import message_of

LOGS = Path(__file__).parent / "logs"
# One log with its own levels before the messages, one with rows of tables.
NAMES = ("xnnpack_implicit", "profiled_scientific", "litert_benchmark_npu")


def lines_of(name: str) -> list[str]:
    return [line for line in (LOGS / f"{name}.txt").read_text().splitlines() if line.strip()]


def parsed(text: str) -> dict[str, Any]:
    return parse_log(text).to_json()


FIXED = {
    "GitHub Actions": "2026-09-14T10:21:30.0004312Z ",
    "docker --timestamps": "2026-09-14T10:21:30.000431278Z ",
    "kubectl --timestamps": "2026-09-14T10:21:30.000431278+02:00 ",
    "kubectl --prefix": "[pod/bench-7d9f/runner] ",
    "CRI": "2026-09-14T10:21:30.000431278Z stdout F ",
    "docker compose": "bench-1  | ",
    "gh run view --log": "bench\tRun ./bench\t2026-09-14T10:21:30.0004312Z ",
    "GitLab": "2026-09-14T10:21:30.000431Z 00O ",
    "Jenkins, ISO": "[2026-09-14T10:21:30.123Z] ",
    "Jenkins, clock": "10:21:30  ",
    "Jenkins, elapsed": "00:00:01.234  ",
    "TeamCity": "[10:21:30] : [Step 1/2] ",
    "clock in brackets": "[10:21:30] ",
    "Azure": "2026-09-14T10:21:30.0004312Z ##[debug]",
    "Python, brackets": "2026-09-14 10:21:30,000 [INFO] bench: ",
    "Python, spaces": "2026-09-14 10:21:30,000 INFO bench.runner: ",
    "Python, no name": "2026-09-14 10:21:30,000 INFO ",
    "Python, dashes": "2026-09-14 10:21:30,000 - bench - INFO - ",
    "Python, level first": "2026-09-14 10:21:30,000 - INFO - bench - ",
    "Python, default": "INFO:bench:",
    "Python, level only": "[INFO] ",
    "Python, name then level": "2026-09-14 10:21:30,000 bench.runner INFO: ",
    "Flask": "[2026-09-14 10:21:30,000] INFO in bench: ",
    "pytest": "INFO     bench:run.py:30 ",
    "loguru": "2026-09-14 10:21:30.000 | INFO     | bench:run:12 - ",
    "Go": "2026/09/14 10:21:30 ",
    "journalctl": "Sep 14 10:21:30 imx8mp bench[811]: ",
    "journalctl, kernel": "Sep 14 10:21:30 imx8mp bench: ",
    "journalctl -o short-precise": "Sep 14 10:21:30.123456 imx8mp bench[811]: ",
    "journalctl -o short-iso": "2026-09-14T10:21:30+0200 imx8mp bench[811]: ",
    "journalctl -o short-iso-precise": "2026-09-14T10:21:30.123456+02:00 imx8mp bench[811]: ",
    "journalctl -o short-full": "Mon 2026-09-14 10:21:30 CEST imx8mp bench[811]: ",
    "journalctl -o short-unix": "1789381290.000431 imx8mp bench[811]: ",
    "journalctl -o short-monotonic": "[  123.456789] imx8mp bench[811]: ",
    "journalctl -o with-unit": "Mon 2026-09-14 10:21:30 CEST imx8mp bench.service[811]: ",
    "journalctl -o cat": "",
    "dmesg": "[  123.456789] ",
    "RFC 3164": "<14>Sep 14 10:21:30 imx8mp bench[811]: ",
    "RFC 5424": "<14>1 2026-09-14T10:21:30.000Z imx8mp bench 811 - - ",
    "ts": "Sep 14 10:21:30 ",
    "ts with fractions": "1789381290.123456 ",
    "mpirun": "[1,0]<stdout>:",
    "a quoted mail": "> ",
    "a pasted code block": "    ",
    "xcodebuild": "2026-09-14 10:21:30.123456+0200 TFLiteBenchmark[1234:56789] ",
    "os_log with its category": "2026-09-14 10:21:30.123456+0200 TFLiteBenchmark[1234:56789] [org.app:bench] ",
    "log show": "2026-09-14 10:21:30.123456+0200 0x1a2b3c   Default     0x0          1234   0    TFLiteBenchmark: ",
    "log show, compact": "2026-09-14 10:21:30.123 Df TFLiteBenchmark[1234:5a6b] ",
    "log show, syslog": "2026-09-14 10:21:30.123456+0200  localhost TFLiteBenchmark[1234]: (TensorFlowLiteC) ",
    "idevicesyslog": "Sep 14 10:21:30 iPhone TFLiteBenchmark(TensorFlowLiteC)[1234] <Notice>: ",
    "idevicesyslog, new": "Sep 14 10:21:30.123456 TFLiteBenchmark(TensorFlowLiteC)[1234] <Notice>: ",
    "logcat brief": "I/tflite  ( 8123): ",
    "logcat brief, uid": "I/tflite  (10123: 8123): ",
    "logcat tag": "I/tflite  : ",
    "logcat thread": "I( 8123: 8140) ",
    "logcat time": "09-14 10:21:30.000 I/tflite  ( 8123): ",
    "logcat threadtime": "09-14 10:21:30.000  8123  8140 I tflite  : ",
    "logcat year zone": "2026-09-14 10:21:30.000 +0200  8123  8140 I tflite  : ",
    "logcat usec": "09-14 10:21:30.000123  8123  8140 I tflite  : ",
    "logcat uid": "09-14 10:21:30.000 10123  8123  8140 I tflite  : ",
    "logcat uid by name": "09-14 10:21:30.000 u0_a123  8123  8140 I tflite  : ",
    "logcat epoch": "      1789381290.000  8123  8140 I tflite  : ",
    "logcat epoch, time": "1789381290.000 I/tflite  ( 8123): ",
    "logcat monotonic": "      123.456  8123  8140 I tflite  : ",
    "logcat color": "\x1b[38;5;40m09-14 10:21:30.000  8123  8140 I tflite  : ",
    "logcat under GitHub Actions": "2026-09-14T10:21:30.0004312Z 09-14 10:21:30.000  8123  8140 I tflite  : ",
    "Python in docker": "2026-09-14T10:21:30.000431278Z 2026-09-14 10:21:30,000 [INFO] bench: ",
    "a logger nobody knows": "«bench» job=17 step=3 @ ",
    "another logger nobody knows": "t=0.123 lvl=info mod=bench.cc:12 :: ",
    "two layers, one of them unknown": "2026-09-14T10:21:30.0004312Z (worker-3) >>> ",
}
AROUND: dict[str, Callable[[str], str]] = {
    "logcat process": lambda line: f"I( 8123) {line}  (tflite)",
    "logcat long": lambda line: f"[ 09-14 10:21:30.000  8123: 8140 I/tflite   ]\n{line}\n",
    "logcat long, uid and epoch": lambda line: f"[ 1789381290.000 10123: 8123: 8140 I/tflite   ]\n{line}\n",
    "docker's json-file": lambda line: json.dumps(
        {"log": f"{line}\n", "stream": "stdout", "time": "2026-09-14T10:21Z"}
    ),
    "journalctl -o json": lambda line: json.dumps({"PRIORITY": "6", "MESSAGE": line, "_PID": "811"}),
    "colors around": lambda line: f"\x1b[1;32m{line}\x1b[0m\x1b[K",
    "a progress bar before": lambda line: f"10%\r20%\r{line}",
    "Windows": lambda line: f"{line}\r",
    "adb shell of old": lambda line: f"{line}\r\r",
    "Buildkite": lambda line: f"\x1b_bk;t=1789381290000\x07{line}",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prefix", FIXED.values(), ids=FIXED.keys())
def test_a_prefix_changes_nothing(prefix: str, name: str) -> None:
    lines = lines_of(name)
    plain = parsed("\n".join(lines) + "\n")
    assert parsed("".join(f"{prefix}{line}\n" for line in lines)) == plain


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND.keys())
def test_what_stands_around_a_message_changes_nothing(around: Callable[[str], str], name: str) -> None:
    lines = lines_of(name)
    plain = parsed("\n".join(lines) + "\n")
    assert parsed("".join(f"{around(line)}\n" for line in lines)) == plain


@pytest.mark.parametrize("name", NAMES)
def test_prefixes_that_differ_from_line_to_line_change_nothing(name: str) -> None:
    lines = lines_of(name)
    changing = [f"2026-09-14T10:{n // 60:02}:{n % 60:02}.{n:07}Z [w{n % 3}] {line}" for n, line in enumerate(lines)]
    assert parsed("\n".join(changing) + "\n")["runs"] == parsed("\n".join(lines) + "\n")["runs"]


def test_several_runs_in_one_file_each_behind_its_own_prefix() -> None:
    pieces = [(prefix, lines_of("xnnpack_implicit")) for prefix in list(FIXED.values())[:12]]
    text = "".join(f"{prefix}{line}\n" for prefix, lines in pieces for line in lines)
    runs = parsed(text)["runs"]
    assert len(runs) == 12
    assert all(run == runs[0] for run in runs)


def test_levels_of_outer_loggers_count_where_the_message_has_none() -> None:
    text = "STARTING!\nLoaded model m.tflite\n2026-09-14 10:21:30,000 [WARNING] tflite: weird thing\n"
    assert parsed(text)["runs"][0]["warnings"] == ["weird thing"]


@pytest.mark.parametrize(
    "line",
    [
        "Graph: [/data/a.tflite]",
        "64 nodes observed",
        "Info: not known",
        "1. first",
        "sh: benchmark_model: not found",
    ],
)
def test_messages_keep_their_beginning(line: str) -> None:
    assert message_of(line).text.endswith(line[3:])
