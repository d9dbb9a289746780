"""Coverage is counted against the candidate's own list of layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from windtunnel.diagnosis.comparison.count_coverage import LOST, coverage_of
from windtunnel.diagnosis.findings.coverage import Unmatched
from windtunnel.diagnosis.graph import match_layers
from windtunnel.tflite import read_model


def test_a_layer_that_the_matching_lost_is_named(dense: Path) -> None:
    facts = read_model(dense)
    whole = match_layers(facts, facts)
    assert coverage_of(whole, ()).compared == coverage_of(whole, ()).total == len(whole.candidate.layers)
    lost = whole.pairs[1].candidate
    found = coverage_of(replace(whole, pairs=(whole.pairs[0], *whole.pairs[2:])), ())
    assert (found.compared, found.total) == (len(whole.pairs) - 1, len(whole.pairs))
    assert [(one.name, one.op_index, one.reason) for one in found.unmatched] == [
        (lost.tensor.name, lost.op_index, LOST)
    ]


def test_a_layer_that_was_set_aside_keeps_its_reason(dense: Path) -> None:
    facts = read_model(dense)
    whole = match_layers(facts, facts)
    found = coverage_of(whole.set_aside({}, {whole.pairs[0].candidate.tensor.index: "a reason"}), ())
    assert (found.compared, found.total) == (len(whole.pairs) - 1, len(whole.pairs))
    assert [one.reason for one in found.unmatched] == ["a reason"]


def test_text_and_layers_of_subgraphs_count_besides_the_list(dense: Path) -> None:
    facts = read_model(dense)
    whole = match_layers(facts, facts)
    text, inner = Unmatched("words", "CUSTOM", 0, "it holds text, no numbers"), Unmatched("body/x", "ADD", 1, "inside")
    found = coverage_of(whole.with_unmatched([text, inner]), [inner])
    assert (found.compared, found.total) == (len(whole.pairs), len(whole.pairs) + 2)
