"""Evidence in words, and the place of a cause among the layers."""

from __future__ import annotations

from typing import Any

import pytest

from windtunnel.cli.report.evidence import accounts, place_among, remedy_words
from windtunnel.cli.report.layer_names import layer_title


def _weights(**more: Any) -> dict[str, Any]:
    return {"constant": "w", "role": "weights", "values_beyond_precision": 5, "values": 9, **more}


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (
            _weights(pattern="noise", channels=[1, 2], relative_difference=0.21, largest_difference_steps=39.27),
            "weights w differ without a pattern in channels 1, 2: 5 of 9 values beyond what precision explains, "
            "21 % of their size, up to 39.3 quantization steps",
        ),
        (
            _weights(pattern="scaled", channels=[3], factors=[0.5]),
            "weights w are scaled in channel 3: by factors 0.5, 5 of 9 values beyond what precision explains",
        ),
        (
            {"constant": "b", "role": "bias", "pattern": "missing"},
            "bias b are zero throughout",
        ),
        (
            {"constant": "w", "pattern": "one_bit", "bit": 30, "at": 7, "reference": 0.5, "candidate": 1e38},
            "one bit of constant w differs: bit 30 of value 7, 1e+38 instead of 0.5",
        ),
        (
            {"activation": {"reference": "RELU6", "candidate": "NONE"}},
            "the activation is NONE instead of RELU6",
        ),
        ({"attribute": "stride_w", "reference": 1, "candidate": 2}, "stride_w is 2 instead of 1"),
        ({"inputs": {"reference": ["a", "b"], "candidate": ["b", "a"]}}, "it reads b, a instead of a, b"),
        (
            {"constant": "w", "channels": 16, "largest_to_median_channel": 41.0, "median_bits_lost": 5.36},
            "weights w have one scale for 16 channels: the largest is 41 times the median one, which loses 5.4 bits "
            "by it",
        ),
        (
            {"ranges_off": 12, "ranges": 65, "median_held_to_seen": 0.25},
            "12 of 65 activation ranges are off; the median one holds 0.25 times what the samples need",
        ),
        (
            {"scale": {"file": 0.5, "factor": 2.0}},
            "its scale 0.5 is off by a factor of 2",
        ),
        (
            {"largest_own_errors": [{"layer": "a", "local_nrmse": 0.02}], "root_sum_of_squares": 0.05},
            "largest isolated errors: a 0.0200",
        ),
        ({"non_finite": {"values": 3, "op": "EXP"}}, "3 values are NaN or infinite from EXP"),
        (
            {"departs": ["xnnpack"], "agree": ["ref", "cpu"]},
            "xnnpack diverges on the same inputs; reference, builtin agree",
        ),
        (
            {
                "local_nrmse": 0.4,
                "local_nrmse_on_other_kernels": 1e-6,
                "kernels": "xnnpack",
                "other_kernels": "none",
            },
            "run in isolation it differs by nRMSE 0.4000 on the kernels of XNNPACK, and differs by 1e-06 on the "
            "runtime's builtin kernels: the kernel is wrong, not the file",
        ),
        (
            {
                "local_nrmse": None,
                "local_nrmse_on_other_kernels": 0.0,
                "kernels": "reference",
                "other_kernels": "none",
                "non_finite": {"op": "EXP"},
            },
            "run in isolation it makes NaN or infinity on the reference kernels, and differs by 0 on the runtime's "
            "builtin kernels: the kernel is wrong, not the file",
        ),
        (
            {"output_nrmse": 0.25, "output_nrmse_mended": 0.002},
            "the output's error falls from nRMSE 0.2500 to 0.0020 with the fix",
        ),
        (
            {"output_nrmse": 0.25, "output_nrmse_mended": 0.25},
            "the output's error is nRMSE 0.2500, and 0.2500 with the fix",
        ),
        (
            {"output_nrmse": None, "output_nrmse_mended": 0.002},
            "with the fix the output's error is nRMSE 0.0020, without it there is no figure",
        ),
        (
            {"inside": {"graph": "while/body", "layer": "x", "op_index": 2}},
            "it is inside while/body: x (op 2 there)",
        ),
        (
            {"lost": [{"layer": "cls", "channels": [4, 6], "range": [0, 0.998], "constant": True, "value": 0.0}]},
            "channels 4-6 are lost (constant 0): cls reaches 0 to 0.998",
        ),
        (
            {"lost": [{"layer": "head", "channels": [2, 2], "range": [-1, 1], "constant": False, "steps": 1.5}]},
            "channel 2 is lost (left with 1.5 quantization steps): head reaches -1 to 1",
        ),
        (
            {"mask": {"constant": "low", "size": 1e9}, "rest": [-5, 5], "steps": 0.0},
            "the mask constant low is 1e+09 in size and sets the scale: the rest, -5 to 5, is left with 0 quantization "
            "steps",
        ),
        (
            {"kind": "inputs", "exchanged": ["left", "right"]},
            "the inputs left and right are exchanged: fed the other way, the outputs are right",
        ),
    ],
)
def test_evidence_in_words(evidence: dict[str, Any], expected: str) -> None:
    assert accounts({"evidence": evidence})[0] == expected


def test_a_fault_of_a_kernel_is_told_once() -> None:
    evidence = {"local_nrmse": 0.4, "local_nrmse_on_other_kernels": 0.0, "kernels": "none", "other_kernels": "xnnpack"}
    assert len(accounts({"evidence": evidence})) == 1


def test_what_a_fix_does_to_the_output_is_told_beside_other_evidence() -> None:
    evidence = {"local_nrmse": 0.2, "local_nrmse_mended": 0.01, "output_nrmse": 0.25, "output_nrmse_mended": 0.002}
    assert accounts({"evidence": evidence}) == [
        "isolated error: nRMSE 0.2000, 0.0100 with the fix",
        "the output's error falls from nRMSE 0.2500 to 0.0020 with the fix",
    ]


def test_unknown_evidence_is_listed_as_it_is() -> None:
    assert accounts({"evidence": {"strange": {"a": 1, "b": [1, 2]}}}) == ["strange.a 1; strange.b 1, 2"]
    assert accounts({"evidence": {}}) == []


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
    assert all("\x1b" not in words for words in accounts({"evidence": odd}))


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
