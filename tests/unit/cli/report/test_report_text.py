"""Reports for the terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from support import reports
from support.diagnoses import FUSED, diagnosis_of_named_model
from windtunnel.cli.report.formatting import NOT_COMPARED, was_compared
from windtunnel.cli.report.html.diagnosis_page import diagnosis_html
from windtunnel.cli.report.html.report_page import report_html
from windtunnel.cli.report.text.diagnosis_text import render_diagnosis
from windtunnel.cli.report.text.measurement_text import conversion_words
from windtunnel.cli.report.text.report_text import render_log, render_report
from windtunnel.log_parser import parse_log

_LOG = """STARTING!
Num threads: [4]
Graph: [model.tflite]
Loaded model model.tflite
INFO: Initialized session in 12.5ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
count=5 first=9000 curr=8000 min=7900 max=9000 avg=8200 std=100
Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=60 first=8100 curr=8000 min=7800 max=9100 avg=8050 std=90
Inference timings in us: Init: 12500, First inference: 9000, Warmup (avg): 8200, Inference (avg): 8050
ERROR: Something went wrong.
"""


def _shown(render: Any, document: dict[str, Any], width: int = 80) -> str:
    out = io.StringIO()
    render(document, Console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("document", [reports.report(6), reports.could_not_run()], ids=["six", "could_not_run"])
def test_lines_fit_and_carry_no_color(document: dict[str, Any], width: int) -> None:
    text = _shown(render_report, document, width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert "None" not in text


def test_verdict_and_reasons_come_first() -> None:
    lines = _shown(render_report, reports.report(6), 120).splitlines()
    assert lines[0] == "✗ FAILED  ssd-mobilenet 2026-11-20.3"
    assert "int8_per_tensor: accuracy_drop" in lines[1]
    assert "float32: size_mb" in lines[2]


def test_every_variant_has_its_figures() -> None:
    text = _shown(render_report, reports.report(6), 120)
    rows = [line.split() for line in text.splitlines()]
    assert ["int8", "3.59", "0.9681", "0.0117", "0.1060", "0.0573", "\u2013", "✗", "4/5"] in rows
    assert ["int8", "2.42", "3.15", "5.09", "3.20", "11.8", "\u2013"] in rows
    assert ["int8", "0.0117", "✗", "2.42", "✓", "3.59", "✓", "11.8", "✓", "0.0573", "✓"] in rows
    assert "block_3/conv_1/Conv2D;bias" in text
    assert "int8: calibrated with samples, the plan has no calibration set" in text
    assert "quantization.per_tensor at block_1/conv_1/Conv2D;bias (op 5), confidence 0.97, verified" in text


def test_what_qualifies_a_figure_is_shown() -> None:
    document = reports.report(2)
    for variant in document["variants"]:
        variant["cells"] = variant["cells"][:1]
        variant["cells"][0] |= {
            "nodes_delegated": 0,
            "nodes_total": 65,
            "input_shapes": {"serving_default_image:0": [1, 48, 48, 3]},
            "shapes_known": True,
        }
    document["variants"][1]["cells"][0] |= {"unstable": True, "warnings": ["the latency is unstable: the host is busy"]}
    lines = [" ".join(row.split()) for row in _shown(render_report, document, 120).splitlines()]
    assert any(one.startswith("float16 4.85 ") and one.endswith(" 0/65 unstable") for one in lines)
    assert "warning: float16: the latency is unstable: the host is busy" in lines
    assert lines.count("input 1x48x48x3") == 1


def test_a_gate_against_an_earlier_run_and_a_fallback_are_shown() -> None:
    document = reports.report(2)
    document["variants"][1]["cells"][0] |= {"fell_back": True, "nodes_delegated": 6, "nodes_total": 476}
    document["variants"][1]["gates"].append(reports.compared_gate(why="undecided"))
    shown = " ".join(_shown(render_report, document, width=120).split())
    assert "6/476 fell back" in shown
    said = (
        "1.15 times run run-7, interval 1.080 to 1.220, 1 in 20 pairs of identical jobs differs by over 8.0%; undecided"
    )
    assert f"latency_vs: {document['variants'][1]['name']}: {said}" in shown


def test_a_warning_that_differs_in_its_numbers_alone_is_said_once() -> None:
    document = reports.report(2)
    for variant, share in zip(document["variants"], ("1.9 of 2", "1.7 of 2"), strict=True):
        variant["cells"] = variant["cells"][:1]
        variant["cells"][0] |= {"unstable": True, "warnings": [f"the latency is unstable: others used {share} cores"]}
    lines = [" ".join(row.split()) for row in _shown(render_report, document, 120).splitlines()]
    assert "warning: float32, float16: the latency is unstable: others used 1.9 of 2 cores (float32)" in lines


def test_limits_of_single_variants_stand_beside_their_figures() -> None:
    document = reports.report(2)
    document["variants"][1]["gates"][2]["limit"] = 8
    text = _shown(render_report, document)
    assert "14.0 ≤ 5 ✗" in text
    assert "7.00 ≤ 8" in text


def test_what_could_not_run_says_why() -> None:
    text = _shown(render_report, reports.could_not_run())
    assert "? COULD NOT RUN" in text
    assert "float32: the process ended by signal 6 (SIGABRT)" in text
    assert "skipped" in text
    assert "\u2013 ?" in text


def test_names_cannot_drive_the_terminal() -> None:
    document = reports.report(1)
    document["model"]["name"] = "a\x1b[2J\x07[red]b\nc"
    document["variants"][0]["name"] = "[bold]x[/bold]\r"
    text = _shown(render_report, document, 120)
    assert "a\\x1b[2J\\x07[red]b\\x0ac" in text
    assert "\x1b" not in text and "\r" not in text
    assert "[bold]x" in text


def test_a_diagnosis_names_cause_coverage_and_largest_drift() -> None:
    text = _shown(render_diagnosis, reports.diagnosis(level=0.3, verdict="broken", causes=2), 100)
    assert text.startswith("✗ BROKEN")
    assert "kernel at block_1/conv_2/Conv2D;bias (op 6), confidence 0.87, not verified" in text
    assert "28 of 29 layers were compared" in text
    assert "not compared: head/reshape: no counterpart" in text
    assert "ruled out: conversion.weights" in text
    assert "27  block_6/conv_3/Conv2D;bias" in text


def test_a_layer_without_a_figure_is_the_worst() -> None:
    document = reports.diagnosis()
    document["layers"][3] = reports.layer("broken_layer", 3, None, "non_finite")
    rows = _shown(render_diagnosis, document).splitlines()
    head = next(number for number, line in enumerate(rows) if line.startswith("──"))
    assert rows[head + 1].split() == ["3", "broken_layer", "CONV_2D", "\u2013", "\u2013", "non", "finite"]


def test_a_layer_of_choices_is_not_over_the_threshold() -> None:
    document = reports.diagnosis(level=0.001)
    document["layers"][3] = reports.layer("chosen", 3, 5.0)
    assert next(row for row in _shown(render_diagnosis, document).splitlines() if "chosen" in row).endswith("diverges")
    document["layers"][3]["is_choice"] = True
    assert "diverges" not in next(row for row in _shown(render_diagnosis, document).splitlines() if "chosen" in row)


def test_a_stored_diagnosis_tells_of_random_inputs_in_its_settings() -> None:
    document = reports.diagnosis() | {"settings": {"synthetic_samples": True}}
    assert "397 seeded random inputs" in _shown(render_diagnosis, document, 200)


def test_what_could_not_be_judged_is_said_with_the_reason() -> None:
    document = reports.diagnosis() | {"settings": {"local_problem": "", "calibration_problem": "random inputs"}}
    text = _shown(render_diagnosis, document, 200)
    assert "not judged: calibration: random inputs" in text
    assert "isolated errors" not in text


def test_a_cause_says_what_shows_it_and_what_mends_it() -> None:
    text = " ".join(_shown(render_diagnosis, diagnosis_of_named_model(), 100).split())
    assert f"quantization.parameters at {FUSED} (op 0), confidence 0.90, verified by running" in text
    assert "the tensor represents 0 to 3, the observed range is 0 to 6; 3 % of the values are outside" in text
    assert "isolated error: nRMSE 0.2100, 0.0010 with the fix" in text
    assert "rounding explains a tenth of its isolated error." in text
    assert "3 % of the values are cut." not in text
    assert "fix: calibrate the tensor again: scale 0.0235" in text


def test_causes_of_the_same_reason_are_ruled_out_together() -> None:
    text = _shown(render_diagnosis, diagnosis_of_named_model(), 200)
    words = "quantization.calibration_clipped, quantization.calibration_wide: 5 activation ranges hold enough"
    assert f"ruled out: {words}" in text
    assert "only in the reference: gone: folded away" in text


def test_the_worst_layers_are_those_with_the_largest_own_error() -> None:
    rows = [line.split() for line in _shown(render_diagnosis, diagnosis_of_named_model(), 100).splitlines()]
    head = next(number for number, row in enumerate(rows) if row and row[0].startswith("──"))
    assert [row[0] for row in rows[head + 1 : head + 5]] == ["4", "0", "2", "3"]
    assert rows[head + 2][-3:] == ["diverges,", "at", "fault"]


def test_what_most_layers_begin_with_is_left_out_of_the_table() -> None:
    document = reports.diagnosis()
    for layer in document["layers"][1:]:
        layer["name"] = f"mobilenet/{layer['name']}"
    document["layers"][0]["nrmse"] = 0.5
    text = _shown(render_diagnosis, document, 100)
    assert "…/block_6/conv_3/Conv2D;bias" in text
    assert "block_0/conv_0/Conv2D;bias" in text and "…/block_0/conv_0" not in text


def test_several_causes_are_ranked() -> None:
    text = _shown(render_diagnosis, reports.diagnosis(causes=2), 120)
    assert "  1. quantization.per_tensor at" in text
    assert "  2. kernel at" in text


def test_a_log_in_milliseconds() -> None:
    text = _shown(render_log, parse_log(_LOG).to_json())
    rows = [line.split() for line in text.splitlines()]
    assert ["init", "12.5"] in rows
    assert ["first", "inference", "9.00"] in rows
    assert ["inference", "60", "8.10", "8.05", "7.80", "\u2013", "\u2013", "9.10", "0.09"] in rows
    assert "Run 1 of 1: model.tflite" in text
    assert "Something went wrong." in text


def test_an_empty_log() -> None:
    assert "No benchmark run was found." in _shown(render_log, parse_log("").to_json())


@pytest.mark.parametrize("width", [80, 100, 132])
def test_names_in_the_table_of_layers_stay_on_one_line(width: int) -> None:
    document = diagnosis_of_named_model()
    layer = document["layers"][0]
    names = ["a_rather_long_scope/of_a_block/" * count + "Relu6" for count in (1, 2, 5)]
    long = [{**layer, "name": name, "op": "DEPTHWISE_CONV_2D_OF_A_KIND", "op_index": 1200} for name in names]
    document["layers"] = long
    rows = _shown(render_diagnosis, document, width).split("Largest isolated error")[1].splitlines()[3:]
    assert [row.split()[0] for row in rows if row.strip()] == ["1200"] * 3
    assert all("Relu6" in row and len(row) <= width for row in rows if row.strip())


def test_the_headline_of_a_healthy_model_says_that_calibration_was_not_judged() -> None:
    document = reports.diagnosis() | {"settings": {"calibration_problem": "random inputs"}}
    assert _shown(render_diagnosis, document, 200).splitlines()[0] == "✓ HEALTHY, calibration not judged"
    page = diagnosis_html(document, reference="a.tflite", candidate="b.tflite")
    assert page.index("calibration not judged") < page.index("<h1>")
    document |= {"verdict": "broken"}
    assert _shown(render_diagnosis, document, 200).splitlines()[0] == "✗ BROKEN"
    assert _shown(render_diagnosis, reports.diagnosis(), 200).splitlines()[0] == "✓ HEALTHY"


def test_a_conversion_that_compared_nothing_did_not_pass() -> None:
    assert not was_compared({"passed": True, "output_nrmse": None, "agreement": None, "original": None})
    for judged in ({"output_nrmse": 0.0}, {"agreement": 1.0}, {"original": {"top1": 0.9}}):
        assert was_compared({"passed": True, **judged})
    assert was_compared({"passed": False})
    check: dict[str, Any] = {"synthetic": True, "passed": True, "samples": 16, "output_nrmse": None, "agreement": None}
    check |= {"original": None, "converted": None, "element_accuracy": {"converted": None}, "message": ""}
    said = conversion_words({"check": check, "size_bytes": 10, "ops": ["RELU"], "seconds": 0.1})
    assert NOT_COMPARED in said and "passed" not in said
    page = report_html(reports.report(1) | {"conversion": {"passed": True}})
    assert f"<p>{NOT_COMPARED}</p>" in page


def test_the_head_of_a_report_has_its_labels_and_its_trace() -> None:
    lines = _shown(render_report, reports.report(1) | {"trace_id": "0af7651916cd43dd"}).splitlines()
    assert "labels team=edge" in lines and "trace 0af7651916cd43dd" in lines
    assert "trace" not in _shown(render_report, reports.report(1) | {"labels": {}, "trace_id": None})


def test_a_log_that_stops_before_any_inference_says_so() -> None:
    words = "the log stops before any inference: it has no timings"
    started = "STARTING!\nGraph: [model.tflite]\nLoaded model model.tflite\nInitialized session in 0.9ms.\n"
    assert words in _shown(render_log, parse_log(started).to_json())
    assert words not in _shown(render_log, parse_log(_LOG).to_json())
