"""Which lines of a logcat are whose, and what the app reports."""

from __future__ import annotations

import pytest

from windtunnel.farm_dispatcher.adapters.firebase.game_loop import split_log, status_of_report

MARK = "I tflite_BenchmarkModelActivity: Running TensorFlow Lite benchmark with scenario: {}\n"


def test_each_scenario_has_its_lines() -> None:
    log = f"boot\n{MARK.format(4)}a\nb\n{MARK.format(12)}c\n"
    assert split_log(log, [4, 12, 5]) == {4: f"{MARK.format(4)}a\nb\n", 12: f"{MARK.format(12)}c\n", 5: ""}


def test_one_scenario_has_all_lines_from_its_beginning() -> None:
    assert split_log(f"boot\n{MARK.format(4)}a\n", [4]) == {4: f"{MARK.format(4)}a\n"}
    assert split_log("boot\na\n", [4]) == {4: "boot\na\n"}
    # The whole log of an instrumentation.
    assert split_log("a\n", [0]) == {0: "a\n"}


def test_runs_of_an_app_that_prints_no_scenario() -> None:
    log = "boot\nI tflite: STARTING!\na\nI tflite: STARTING!\nb\n"
    assert split_log(log, [4, 5]) == {4: "I tflite: STARTING!\na\n", 5: "I tflite: STARTING!\nb\n"}
    # Three scenarios and two runs: nobody knows whose they are.
    assert split_log(log, [4, 5, 6]) == {4: "", 5: "", 6: ""}
    assert split_log("a\n", [4, 5]) == {4: "", 5: ""}


@pytest.mark.parametrize(
    ("text", "status"),
    [('{"status": "OK"}', "OK"), ('{"status": "TFLite delegate error"}', "TFLite delegate error"),
     ("{}", ""), ("[]", ""), ("not JSON", ""), ("", "")],
)  # fmt: skip
def test_what_the_app_reports(text: str, status: str) -> None:
    assert status_of_report(text) == status
