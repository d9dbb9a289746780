"""Figures in messages."""

from __future__ import annotations

import pytest

from windtunnel.figures import compared_with, rounded


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0048193, "0.00482"),
        (17.2345, "17.2"),
        (103.456, "103"),
        (1030.4, "1030"),
        (-0.00625, "-0.00625"),
        (0.0, "0"),
        (123456.7, "123457"),
        (float("inf"), "inf"),
    ],
)
def test_three_digits(value: float, text: str) -> None:
    assert rounded(value) == text


@pytest.mark.parametrize(
    ("measured", "limit", "text"),
    [
        (0.0100048193, 0.01, "0.010005"),
        (10.000001, 10, "10.000001"),
        (0.2475, 0.1, "0.247"),
        (0.1 + 0.2, 0.3, "0.30000000000000004"),
        (9.9999, 10, "9.9999"),
        (103.4, 20, "103"),
    ],
)
def test_a_figure_lies_on_its_side_of_the_limit(measured: float, limit: float, text: str) -> None:
    assert compared_with(measured, limit) == text
