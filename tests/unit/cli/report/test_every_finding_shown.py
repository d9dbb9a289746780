"""Every kind of finding: its JSON, read back, and its words in the terminal and on the page."""

from __future__ import annotations

import html
import io
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from support.cause_findings import FINDINGS
from support.diagnoses import diagnosis_of_named_model
from windtunnel import schemas
from windtunnel.cli.report.evidence import evidence_words
from windtunnel.cli.report.html.diagnosis_page import diagnosis_html
from windtunnel.cli.report.text.diagnosis_text import render_diagnosis
from windtunnel.diagnosis.findings.cause_finding import CauseFinding, kinds
from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.fixes import Fix, fix_words
from windtunnel.diagnosis.findings.kinds.reading import finding_of
from windtunnel.diagnosis.findings.trial import LayerTrial, OutputTrial, SubgraphPlace, Trial

_TRIAL = Trial(LayerTrial(0.2, 0.01), OutputTrial(0.25, 0.002), (0.1, 0.001))


def _cause(finding: CauseFinding) -> Cause:
    return Cause(finding, 0.9, "conv", 3, trial=Trial(), rule="a_rule")


def _words(finding: CauseFinding) -> list[str]:
    return [*finding.words(), fix_words(finding.fix().to_json(), "conv")]


def _name(finding: CauseFinding) -> str:
    return type(finding).__name__


def _document(finding: CauseFinding) -> dict[str, Any]:
    return {**diagnosis_of_named_model(), "causes": [_cause(finding).to_json()]}


def test_there_is_a_sample_of_each_kind() -> None:
    assert {type(one) for one in FINDINGS} == set(kinds())


@pytest.mark.parametrize("finding", FINDINGS, ids=_name)
def test_a_finding_has_json_of_the_schema_and_is_read_back(finding: CauseFinding) -> None:
    jsonschema.validate(_document(finding), schemas.load("diagnosis"))
    read = finding_of(_cause(finding).to_json())
    assert type(read.finding) is type(finding) and read.rest == {}
    assert read.finding.evidence() == finding.evidence()


@pytest.mark.parametrize("trial", [Trial(LayerTrial(0.2)), Trial(output=OutputTrial(0.25, 0.002)), _TRIAL])
@pytest.mark.parametrize("finding", FINDINGS, ids=_name)
def test_a_finding_is_read_back_with_what_its_trial_showed(finding: CauseFinding, trial: Trial) -> None:
    read = finding_of(Cause(finding, 0.9, "conv", 3, trial=trial, rule="a_rule").to_json())
    assert type(read.finding) is type(finding) and read.rest == {}
    # Some kinds say the isolated error themselves.
    assert read.finding.evidence() | trial.evidence() == finding.evidence() | trial.evidence()


@pytest.mark.parametrize("finding", FINDINGS, ids=_name)
def test_terminal_and_page_show_its_words(finding: CauseFinding) -> None:
    document, stream = _document(finding), io.StringIO()
    render_diagnosis(document, Console(file=stream, width=2000))
    page = html.unescape(diagnosis_html(document, reference="a.tflite", candidate="b.tflite"))
    assert all(_words(finding))
    for words in _words(finding):
        assert words in stream.getvalue() and words in page


def test_a_trial_and_a_place_in_another_graph_are_told_behind_the_finding() -> None:
    finding, inside = FINDINGS[0], SubgraphPlace("while/body", "x", 2)
    cause = Cause(finding, 0.9, trial=_TRIAL, inside=inside, rule="a_rule")
    assert evidence_words(cause.to_json()) == list(cause.words())
    assert cause.words()[len(finding.words()) :] == (
        "isolated error: nRMSE 0.2000, 0.0100 with the fix",
        "the output's error falls from nRMSE 0.2500 to 0.0020 with the fix",
        "with the other causes fixed, the output's error falls from nRMSE 0.1000 to 0.0010",
        "it is inside while/body: x (op 2 there)",
    )


@pytest.mark.parametrize("lacking", ["code", "fix", "words"])
def test_a_kind_that_lacks_its_code_its_fix_or_its_words_cannot_be_defined(lacking: str) -> None:
    body: dict[str, Any] = {
        "code": CauseCode.KERNEL,
        "fix": lambda self: Fix(action="wait"),
        "words": lambda self: ("it waits",),
    }
    del body[lacking]
    with pytest.raises(TypeError, match=f"has no {lacking}"):
        type("Unfinished", (CauseFinding,), body)
