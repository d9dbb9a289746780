"""Evidence in words, and the place of a cause among the layers."""

from __future__ import annotations

from typing import Any

import pytest

from windtunnel.cli.report.evidence import evidence_words, place_among, remedy_words
from windtunnel.cli.report.layer_names import layer_title


def test_what_a_fix_does_to_the_output_is_told_beside_other_evidence() -> None:
    evidence = {"local_nrmse": 0.2, "local_nrmse_mended": 0.01, "output_nrmse": 0.25, "output_nrmse_mended": 0.002}
    assert evidence_words({"evidence": evidence}) == [
        "isolated error: nRMSE 0.2000, 0.0100 with the fix",
        "the output's error falls from nRMSE 0.2500 to 0.0020 with the fix",
    ]


def test_unknown_evidence_is_listed_as_it_is() -> None:
    assert evidence_words({"evidence": {"strange": {"a": 1, "b": [1, 2]}}}) == ["strange.a 1; strange.b 1, 2"]
    assert evidence_words({"evidence": {}}) == []


def test_evidence_of_another_form_is_no_failure() -> None:
    odd: dict[str, Any] = {
        "constant": 3,
        "pattern": "noise",
        "channels": 8,
        "held": "x",
        "seen": 1,
        "departs": 5,
        "largest_own_errors": [1],
        "ranges_off": "many\x1b",
        "lost": [{"channels": 1, "range": [1]}, 3],
        "outputs": [{"nrmse": "x"}, 1],
        "exchanged": 4,
        "mask": "low",
        "rest": [1],
        "others": 2,
    }
    assert all("\x1b" not in words for words in evidence_words({"evidence": odd}))


def test_a_fix_leaves_out_the_layer_that_is_the_place() -> None:
    cause = {"place": {"layer": "a"}, "fix": {"action": "avoid_kernel", "tensor": "a", "zero_point": -128}}
    assert remedy_words(cause) == "avoid kernel: zero point -128"
    assert remedy_words({"fix": {}}) == ""


def test_a_fused_name_is_shown_by_its_first_part() -> None:
    assert layer_title("block/Relu;block/BiasAdd;block/MatMul", 20) == "block/Relu;…"
    assert layer_title("a;b", 20) == "a;b"
    assert len(layer_title("x" * 90, 30)) == 30


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ({"layer": "twin", "op_index": 3}, 2),
        ({"layer": "twin", "op_index": 9}, 1),
        ({"layer": "unknown", "op_index": 5}, 3),
        ({"layer": None, "op_index": 0}, 0),
        ({"layer": None, "op_index": None}, None),
        ({"layer": "unknown", "op_index": 77}, None),
    ],
)
def test_a_place_is_found_by_tensor_and_op(place: dict[str, Any], expected: int | None) -> None:
    layers = [
        {"name": "first", "op_index": 0},
        {"name": "twin", "op_index": 2},
        {"name": "twin", "op_index": 3},
        {"name": "folded", "op_index": 4, "members": [4, 5]},
    ]
    assert place_among(layers, place) == expected
