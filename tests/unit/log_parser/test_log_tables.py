"""Tables by themselves: what is recognized is never dropped in silence."""

from __future__ import annotations

from typing import Any

import pytest

from windtunnel.log_parser import parse_log

TITLE = "==============Summary of All Runs w/ Different Performance Options==============\n"
ROWS = (
    "INFO:           cpu w/ 4 threads: count=50 first=34893 curr=33267 min=30791 max=37476 avg=33904.9 std=1780\n"
    "INFO: cpu w/ 2 threads (xnnpack): count=50 first=43192 curr=38624 min=33059 max=48052 avg=39220.2 std=2730\n"
    "INFO:                gpu-default: count=50 first=593 min=565 max=593 avg=577.5 std=7 p5=570 median=576 p95=590\n"
    "INFO:      nnapi(w/o accel name):  failed!\n"
    "INFO:             dsp w/ hexagon: count=50 first=200 curr=200 min=191 max=221 avg=202.5 std=6\n"
)
HEADER = "\t[node type]\t[first]\t[avg ms]\t[%]\t[cdf%]\t[mem KB]\t[times called]\t[Name]\n"
OPS = (
    "\tCONV_2D\t0.500\t0.400\t80.0%\t80.0%\t0.000\t1\t[conv]:0\n"
    "\tSOFTMAX\t0.100\t0.100\t20.0%\t100.0%\t0.000\t1\t[out]:1\n"
)
SUMMARY = (
    "============================== Summary by node type ==============================\n"
    "\t[Node type]\t[count]\t[avg ms]\t[avg %]\t[cdf %]\t[mem KB]\t[times called]\n"
    "\tCONV_2D\t1\t0.400\t80.0%\t80.0%\t0.000\t1\n"
)


def read(text: str) -> dict[str, Any]:
    return parse_log(text).to_json()


def test_the_table_of_performance_options_alone_is_a_run_for_each_row() -> None:
    log = read(TITLE + ROWS)
    runs = log["runs"]
    assert log["unrecognized_lines"] == 0
    asked = [(run["accelerator_requested"], run["threads"], run["inference"]["avg_us"]) for run in runs]
    assert asked == [
        ("cpu", 4, 33904.9),
        ("xnnpack", 2, 39220.2),
        ("gpu", None, 577.5),
        ("nnapi", None, None),
        ("hexagon", None, 202.5),
    ]
    assert runs[2]["inference"]["median_us"] == 576
    assert runs[2]["inference"]["p95_us"] == 590
    assert runs[3]["error"] == {"kind": "other", "message": "nnapi(w/o accel name): failed!"}
    assert [run["truncated"] for run in runs] == [False] * 5


def test_the_table_behind_its_runs_adds_none() -> None:
    first = "STARTING!\nGraph: [m.tflite]\nRunning benchmark for at least 1 iterations\ncount=1 curr=5\n"
    figures = "count=50 first=34893 curr=33267 min=30791 max=37476 avg=33904.9 std=1780"
    log = f"{first}Running benchmark for at least 50 iterations\n{figures}\n"
    log += "Inference timings in us: Init: 5, First inference: 5, Warmup (avg): 5, Inference (avg): 33904.9\n"
    runs = read(log + TITLE + f"          cpu w/ 4 threads: {figures}\n")["runs"]
    assert [run["model"] for run in runs] == ["m.tflite"]


def test_a_row_that_the_log_was_cut_in_states_nothing_that_may_be_cut() -> None:
    runs = read(TITLE + "          cpu w/ 4 threads: count=50 first=348")["runs"]
    assert (runs[0]["inference"]["count"], runs[0]["inference"]["first_us"], runs[0]["truncated"]) == (50, None, True)


@pytest.mark.parametrize("title", ["", "============================== Run Order ==============================\n"])
def test_a_table_of_ops_alone_is_a_run_with_ops(title: str) -> None:
    log = read(title + HEADER + OPS)
    assert [op["type"] for op in log["runs"][0]["ops"]] == ["CONV_2D", "SOFTMAX"]
    assert log["unrecognized_lines"] == 0


def test_the_slowest_ops_are_not_given_as_the_table_in_run_order() -> None:
    title = "============================== Top by Computation Time ==============================\n"
    run = read(title + HEADER + OPS)["runs"][0]
    assert (run["ops"], [op["type"] for op in run["top_ops"]]) == ([], ["CONV_2D", "SOFTMAX"])
    assert "Top by Computation Time" in run["warnings"][0]


def test_a_table_that_is_left_out_is_said() -> None:
    run = read(SUMMARY)["runs"][0]
    assert run["ops"] == []
    assert "Summary by node type" in run["warnings"][0]


def test_a_whole_profile_warns_of_nothing() -> None:
    title = "============================== {} ==============================\n"
    log = title.format("Run Order") + HEADER + OPS + title.format("Top by Computation Time") + HEADER + OPS + SUMMARY
    run = read(log)["runs"][0]
    assert (len(run["ops"]), run["top_ops"], run["warnings"]) == (2, [], [])


@pytest.mark.parametrize(
    ("unit", "p95", "expected"),
    [("ms", "1.5", 1500), ("us", "1500", 1500), ("µs", "1500", 1500), ("s", "0.0015", 1500), ("ns", "1500000", 1500)],
)
def test_percentiles_in_other_units(unit: str, p95: str, expected: float) -> None:
    block = f"BENCHMARK RESULTS\nInference (avg): {p95} {unit} (5 runs)\nInference (p95): {p95} {unit}\n{'=' * 40}\n"
    inference = read(block)["runs"][0]["inference"]
    assert (inference["p95_us"], inference["avg_us"], inference["count"]) == (expected, expected, 5)
    row = read(f"STARTING!\ncount=5 avg={p95}{unit} p95={p95}{unit}\n")["runs"][0]["warmup"]
    assert (row["p95_us"], row["avg_us"]) == (expected, expected)
    summary = read(f"STARTING!\nInference timings in {unit}: Init: 0, Inference (avg): {p95}\n")["runs"][0]
    assert summary["inference"]["avg_us"] == expected
