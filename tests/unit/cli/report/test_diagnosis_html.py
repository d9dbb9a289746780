"""The page of a diagnosis: causes with evidence, curves, distributions, layers."""

from __future__ import annotations

import copy
import re
from typing import Any

import jsonschema
import pytest

from support import reports
from support.diagnoses import FUSED, diagnosis_of_named_model
from windtunnel import schemas
from windtunnel.cli.report.html.diagnosis_page import diagnosis_html
from windtunnel.cli.report.html.drift_chart import drift_chart
from windtunnel.cli.report.html.drift_curves import ISOLATED, curve
from windtunnel.cli.report.html.histogram_chart import histogram_chart
from windtunnel.cli.report.html.report_page import report_html


def _page(document: dict[str, Any]) -> str:
    return diagnosis_html(document, reference="float32.tflite", candidate="int8.tflite")


def _classes(page: str, name: str) -> int:
    found = re.findall(r'class="([^"]*)"', page)
    return sum(name in one.split() for one in found)


def test_the_document_of_these_tests_is_a_real_one() -> None:
    jsonschema.validate(diagnosis_of_named_model(), schemas.load("diagnosis"))


def test_a_cause_has_its_evidence_its_proof_and_its_fix() -> None:
    page = _page(diagnosis_of_named_model())
    assert "quantization.parameters" in page
    assert "verified by running" in page
    assert "the tensor represents 0 to 3, the observed range is 0 to 6; 3 % of the values are outside" in page
    causes, table = page.split('<table class="layers">')
    assert "rounding explains a tenth of its isolated error." in causes
    assert "3 % of the values are cut." not in causes
    assert "3 % of the values are cut." in table
    assert "calibrate the tensor again: scale 0.0235" in page
    assert "evidence: held" in page


def test_a_cause_names_the_rule_that_decided_it_if_the_document_does() -> None:
    document = diagnosis_of_named_model()
    document["causes"][0].pop("rule", None)
    assert "decided by rule" not in _page(document)
    document["causes"][0]["rule"] = "range_<clipped>"
    assert "decided by rule <code>range_&lt;clipped&gt;</code>" in _page(document)


def test_both_curves_are_drawn_and_the_culprit_is_marked_on_them() -> None:
    page = _page(diagnosis_of_named_model())
    assert "<b>accumulated</b>" in page
    assert "<b>isolated</b>" in page
    assert _classes(page, "diamond") == 2
    assert _classes(page, "culprit-line") == 1
    assert "cause: quantization.parameters" in page


def test_without_own_errors_there_is_one_curve() -> None:
    document = diagnosis_of_named_model()
    for layer in document["layers"]:
        layer["local_nrmse"] = None
    page = _page(document)
    assert "<b>isolated</b>" not in page
    assert "isolated nRMSE" not in page
    assert _classes(page, "diamond") == 1


def test_own_errors_have_no_threshold_and_no_first_layer_over_it() -> None:
    chart = drift_chart([curve("isolated", 0, diagnosis_of_named_model(), ISOLATED)])
    assert "threshold" not in chart
    assert "first diverges" not in chart
    assert _classes(chart, "cross") == 0


def test_what_is_nothing_beside_the_largest_stretches_no_axis() -> None:
    document = diagnosis_of_named_model()
    document["layers"][1]["local_nrmse"] = 4.9e-9
    isolated = drift_chart([curve("isolated", 0, document, ISOLATED)])
    assert "1e-4" not in isolated
    assert "\u2264 0.001" in isolated


def test_curves_of_variants_stand_over_the_layers_of_the_reference() -> None:
    one, other = diagnosis_of_named_model(), diagnosis_of_named_model()
    for layer in other["layers"]:
        layer["name"] = f"renamed/{layer['name']}"
    other["causes"] = []
    del other["layers"][2]
    chart = drift_chart([curve("int8", 0, one), curve("float16", 1, other)])
    assert _classes(chart, "strip") == 6
    assert _classes(chart, "diamond") == 1
    assert "int8: </b>" not in chart
    assert "int8: <code>quantization.parameters</code>" in chart


def test_a_report_draws_own_errors_of_all_variants_below() -> None:
    document = reports.report(3)
    assert "Isolated error per layer" not in report_html(document)
    for variant in document["variants"]:
        for layer in variant["diagnosis"]["layers"]:
            layer["local_nrmse"] = 0.01
    assert "Isolated error per layer" in report_html(document)


def test_a_report_folds_the_distributions_of_culprits_away() -> None:
    document = reports.report(2)
    assert "Values of the layers at fault" not in report_html(document)
    document["variants"][1]["diagnosis"] = diagnosis_of_named_model()
    page = report_html(document)
    assert page.index("<summary>Values of the layers at fault</summary>") < page.index("the tensor ends at 3")


def test_the_layer_table_begins_with_the_culprit_and_has_all_figures() -> None:
    page = _page(diagnosis_of_named_model())
    table = page[page.index('<table class="layers">') :]
    rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)[1:]
    assert [re.sub("<.*?>", " ", row).split()[0] for row in rows] == ["0", "4", "2", "3", "1", "1"]
    cells = [re.sub("<.*?>", "", cell) for cell in re.findall(r"<td.*?</td>", rows[0], re.DOTALL)]
    assert cells[2:] == [
        "0.2100",
        "0.20000.1800 to 0.2200",
        "0.4000 (no. 3)",
        "17.0",
        "0.9800",
        "-0.25",
        "3",
        "51 %",
        "2 / 1 of 4",
    ]
    assert "non finite" in rows[1]


def test_figures_that_no_layer_has_have_no_column() -> None:
    page = _page(reports.diagnosis())
    assert "dead channels" not in page
    assert "SNR dB" not in page


def test_layers_that_were_not_compared_are_named_with_reasons() -> None:
    page = _page(diagnosis_of_named_model())
    assert "6 of 7 layers were compared." in page
    assert "<code>lost</code> (RESHAPE): no counterpart" in page
    assert "<code>gone</code> (PAD): folded away" in page


def test_the_histogram_shows_both_models_and_where_the_tensor_ends() -> None:
    page = _page(diagnosis_of_named_model())
    assert "Values of the layers at fault" in page
    assert "3 to 4.5: reference 6, candidate 0" in page
    assert "the tensor ends at 3" in page
    assert "ends at 0" not in page
    document = diagnosis_of_named_model()
    del document["histograms"]
    assert "Values of the layers at fault" not in _page(document)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"edges": [0.0, 1.0], "reference": [1], "candidate": [1, 2]},
        {"edges": [0.0], "reference": [1], "candidate": [1]},
        {"edges": [1.0, 0.0], "reference": [1], "candidate": [1]},
        {"edges": [0.0, None], "reference": [1], "candidate": [1]},
    ],
)
def test_a_histogram_that_does_not_fit_together_is_not_drawn(data: dict[str, Any]) -> None:
    assert histogram_chart(data) == ""


def test_a_limit_at_the_very_end_of_the_chart_is_no_news() -> None:
    data = {"edges": [-1e-5, 3.0, 6.0], "reference": [5, 5], "candidate": [5, 5]}
    assert "ends at" not in histogram_chart(data, [0.0, 6.0])
    assert histogram_chart(data, [0.0, 3.0]).count("the tensor ends at") == 1


def test_a_histogram_is_logarithmic_only_where_one_bin_towers() -> None:
    even = {"edges": [0.0, 1.0, 2.0, 3.0], "reference": [10, 12, 9], "candidate": [9, 12, 10]}
    assert "logarithmic" not in histogram_chart(even)
    assert "logarithmic" in histogram_chart({**even, "reference": [10_000, 12, 9]})


def test_a_histogram_of_no_values_is_flat() -> None:
    assert 'class="area"' in histogram_chart({"edges": [0.0, 1.0], "reference": [0], "candidate": [0]})


def test_a_cause_without_a_place_is_told_but_not_drawn() -> None:
    document = diagnosis_of_named_model()
    document["causes"][0] |= {"code": "quantization.accumulated", "place": {"layer": None, "op_index": None}}
    page = _page(document)
    assert "quantization.accumulated" in page
    assert _classes(page, "diamond") == 0


def test_many_layers_scroll_under_their_heads() -> None:
    assert 'class="scroll tall"' in _page(reports.diagnosis(layers=40))
    assert 'class="scroll tall"' not in _page(diagnosis_of_named_model())


def test_hostile_names_stay_text_everywhere() -> None:
    hostile = '"><script>alert(1)</script>\u202e\x1b[31m'
    document = copy.deepcopy(diagnosis_of_named_model())
    for layer in document["layers"]:
        if layer["name"] == FUSED:
            layer["name"] = hostile
    document["causes"][0]["place"]["layer"] = hostile
    document["causes"][0]["fix"]["action"] = hostile
    document["histograms"] = {hostile: document["histograms"][FUSED]}
    document["layers"][0]["why"] = [{"kind": "clipped", "text": hostile}]
    page = _page(document)
    assert "<script" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page


def test_a_layer_of_choices_is_nowhere_over() -> None:
    document = diagnosis_of_named_model()
    before = _classes(_page(document), "bad"), _classes(_page(document), "ring")
    document["layers"].append({**document["layers"][-1], "name": "choice", "reference": "choice", "nrmse": 9.0})
    over = _page(document)
    assert (_classes(over, "bad"), _classes(over, "ring")) > before
    document["layers"][-1]["is_choice"] = True
    calm = _page(document)
    assert (_classes(calm, "bad"), _classes(calm, "ring")) == before


def test_a_layer_of_choices_does_not_come_first_over_the_threshold() -> None:
    document = reports.diagnosis(level=0.001)
    document["layers"][2]["nrmse"] = 5.0
    assert curve("int8", 0, document).first_over is not None
    document["layers"][2]["is_choice"] = True
    assert curve("int8", 0, document).first_over is None


def test_what_could_not_be_judged_is_on_the_page() -> None:
    document = diagnosis_of_named_model() | {"settings": {"local_problem": "a copy could not be run"}}
    assert "not judged: isolated errors of layers: a copy could not be run" in _page(document)


@pytest.mark.parametrize("place", ["top", "settings"])
def test_random_inputs_are_named_wherever_the_document_tells_of_them(place: str) -> None:
    document = diagnosis_of_named_model()
    document.setdefault("settings", {})["synthetic_samples"] = place == "settings"
    document["synthetic_samples"] = place == "top"
    assert "48 seeded random inputs" in _page(document)
    document["settings"]["synthetic_samples"] = document["synthetic_samples"] = False
    assert "48 samples" in _page(document)


def test_layers_below_the_curves_are_numbered_as_in_tables() -> None:
    document = diagnosis_of_named_model()
    for number, layer in enumerate(document["layers"]):
        layer["op_index"] = 3 * number + 7
    chart = drift_chart([curve("a", 0, document)])
    below = re.findall(r'y="332"[^>]*>([^<]*)<', chart)
    assert below == [str(3 * number + 7) for number in range(len(document["layers"]))]


def test_a_histogram_shows_the_range_of_its_own_tensor_not_that_of_the_input() -> None:
    document = copy.deepcopy(diagnosis_of_named_model())
    cause = document["causes"][0]
    cause["evidence"]["tensors"] = ["tfl.quantize"]
    layer = next(one for one in document["layers"] if one["name"] == cause["place"]["layer"])
    layer["why"] = []
    assert "the tensor ends at" not in _page(document)
    layer["why"] = [{"kind": "clipped", "text": "cut", "held": [0.0, 4.0]}]
    page = _page(document)
    assert "the tensor ends at 4" in page and "the tensor ends at 3" not in page
