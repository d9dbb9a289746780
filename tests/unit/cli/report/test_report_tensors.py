"""Inputs and outputs of variants in reports."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from support import reports
from windtunnel.cli.report.html.report_page import report_html
from windtunnel.cli.report.signatures import Signature, signatures, tensor_text
from windtunnel.cli.report.text.report_text import render_report

IMAGE = {"name": "image", "shape": [-1, 32, 32, 3], "dtype": "float32", "scale": None, "zero_point": None}
BYTES = {"name": "image", "shape": [1, 32, 32, 3], "dtype": "int8", "scale": 1 / 255, "zero_point": -128}
SCORES = {"name": "scores", "shape": [1, 10], "dtype": "float32", "scale": None, "zero_point": None}


def test_a_tensor_in_words() -> None:
    assert tensor_text(IMAGE) == "image, float32 [?, 32, 32, 3]"
    assert tensor_text(BYTES) == "image, int8 [1, 32, 32, 3], scale 0.00392157, zero point -128"
    assert tensor_text({**BYTES, "scale": [0.1, 0.2], "zero_point": [0, 0]}).endswith("2 scales, one per channel")
    assert tensor_text({**SCORES, "shape": []}) == "scores, float32 []"


def test_variants_that_agree_share_a_line() -> None:
    found = signatures(
        [
            {"name": "float32", "inputs": [IMAGE], "outputs": [SCORES]},
            {"name": "int8", "inputs": [BYTES], "outputs": [SCORES]},
            {"name": "float16", "inputs": [IMAGE], "outputs": [SCORES]},
            {"name": "failed", "inputs": None, "outputs": None},
        ]
    )
    assert [one.variants for one in found] == [("float32", "float16"), ("int8",)]
    assert found[1] == Signature(("int8",), (tensor_text(BYTES),), (tensor_text(SCORES),))


def with_tensors() -> dict[str, Any]:
    document = reports.report(2)
    for variant, tensor in zip(document["variants"], (IMAGE, {**BYTES, "name": "<b>image</b>"}), strict=True):
        variant |= {"inputs": [tensor], "outputs": [SCORES]}
    return document


def test_both_kinds_of_report_show_them() -> None:
    out = io.StringIO()
    render_report(with_tensors(), Console(file=out, width=120))
    assert "Inputs and outputs" in out.getvalue() and "zero point -128" in out.getvalue()
    page = report_html(with_tensors())
    assert "Inputs and outputs" in page and "zero point -128" in page
    assert "&lt;b&gt;image" in page and "<b>image" not in page
    assert "Inputs and outputs" not in report_html(reports.report(2))
