"""Scales, common order, figures and markup of reports."""

from __future__ import annotations

import math

import pytest

from windtunnel.cli.report.formatting import clean, elapsed, flat, gates_of, measure, moment, nrmse_text, shorten
from windtunnel.cli.report.html import chart_scale
from windtunnel.cli.report.html.drift_curves import common_order


def _keys(names: str) -> list[tuple[str, int]]:
    return [(name, 1) for name in names]


@pytest.mark.parametrize(
    ("sequences", "expected"),
    [
        ([], ""),
        (["abc"], "abc"),
        (["abcd", "axbd"], "axbcd"),
        (["abc", "xab"], "xabc"),
        (["ab", "xyz"], "abxyz"),
        (["abcdef", "bqrd", "aqz"], "abqzrcdef"),
    ],
)
def test_common_order_keeps_each_own_order(sequences: list[str], expected: str) -> None:
    found = common_order([_keys(one) for one in sequences])
    assert sorted(found) == sorted(_keys(expected))
    for one in sequences:
        assert [key for key in found if key in _keys(one)] == _keys(one)


def test_common_order_of_a_long_chain_needs_no_recursion() -> None:
    first = [(f"a{number}", 1) for number in range(3000)]
    second = [(f"b{number}", 1) for number in range(2999)]
    assert len(common_order([first, second])) == 5999


def test_linear_scale_begins_at_zero() -> None:
    found = chart_scale.fit([2.0, 5.0, 10.0], 0, 100)
    assert not found.log
    assert found.at(0) == 0
    assert found.at(5.4) == 50
    assert found.ticks() == [0, 5, 10]


@pytest.mark.parametrize("high", [1e-4, 3e-11, 1e-12, 4e-15, 7e-200, 8e5, 3e12])
def test_ticks_are_round_and_all_others_whatever_their_size(high: float) -> None:
    found = chart_scale.fit([high], 0, 100)
    ticks = found.ticks()
    assert len(ticks) >= 3
    assert ticks[0] == 0
    assert ticks == sorted(set(ticks))
    assert ticks[-1] == pytest.approx(high, rel=0.25)
    labels = [chart_scale.label(one) for one in ticks]
    assert len(set(labels)) == len(labels)
    assert [float(one) for one in labels] == pytest.approx(ticks, rel=1e-9, abs=0.0)


def test_a_threshold_that_allows_no_difference_at_all_has_a_scale() -> None:
    assert chart_scale.fit([math.ulp(0.0)], 0, 100).ticks()
    assert chart_scale.fit([0.02, math.ulp(0.0)], 0, 100).ticks()[0] == 0


def test_log_scale_of_whole_decades_holds_zero_at_its_floor() -> None:
    found = chart_scale.fit([0.0, 0.002, 0.5], 300, 0)
    assert found.log
    assert (found.low, found.high) == pytest.approx((0.001, 1.0))
    assert found.at(0.0) == 300
    assert found.at(0.1) == pytest.approx(100)
    assert found.ticks() == pytest.approx([0.001, 0.01, 0.1, 1.0])


def test_scale_of_nothing_and_of_infinity() -> None:
    assert chart_scale.fit([], 0, 1).ticks()
    found = chart_scale.fit([math.inf, 1.0, 0.0], 0, 10)
    assert math.isfinite(found.at(0.5))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\u2013"),
        (True, "\u2013"),
        ("3", "\u2013"),
        (0, "0"),
        (0.00348, "0.00348"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (1234.5, "1234"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_measure(value: object, text: str) -> None:
    assert measure(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.0, "0"), (3.4e-5, "3.4e-05"), (0.1, "0.1000"), (None, "\u2013")])
def test_drift(value: object, text: str) -> None:
    assert nrmse_text(value) == text


def test_times() -> None:
    assert moment("2026-11-20T13:00:00+01:00") == "2026-11-20 12:00:00 UTC"
    assert moment("yesterday") == "yesterday"
    assert moment(None) == "\u2013"
    assert elapsed("2026-11-20T12:00:00Z", "2026-11-20T14:05:09Z") == "2 h 5 min"
    assert elapsed("2026-11-20T12:00:00Z", None) == "\u2013"


def test_clean_and_shorten() -> None:
    assert clean("a\u202eb\x00\n") == "a\\u202eb\\x00\\x0a"
    assert shorten("abcdefghij", 5) == "ab…ij"
    assert shorten("abc", 5) == "abc"


def test_flat_names_nested_fields() -> None:
    value = {"a": {"b": 1, "c": [1, 2]}, "d": [{"e": None}], "f": True}
    assert flat(value) == [("a.b", "1"), ("a.c", "1, 2"), ("d[0].e", "\u2013"), ("f", "yes")]


def test_an_unknown_figure_is_neither_kept_nor_exceeded() -> None:
    gates = gates_of({"gates": [{"gate": "size_mb", "limit": 5, "measured": None, "passed": None}]})
    assert [(gate.mark, gate.column, gate.limit) for gate in gates] == [("?", "size", "5")]


def test_a_gate_can_fail_without_a_figure() -> None:
    # A layer that holds NaN has no nRMSE, and its gate fails all the same.
    gates = gates_of({"gates": [{"gate": "layer_nrmse", "limit": 0.1, "measured": None, "passed": False}]})
    assert [gate.mark for gate in gates] == ["✗"]


def test_a_gate_shows_the_bound_that_it_was_judged_at() -> None:
    entry = {"gate": "expected_accuracy", "limit": 0.9275, "measured": 0.9, "passed": True, "bound": "at_least"}
    (judged,) = gates_of({"gates": [entry | {"judged_at": 0.85}]})
    (plain,) = gates_of({"gates": [entry | {"judged_at": None}]})
    assert (judged.sign, judged.limit, plain.limit) == ("≥", "0.85", "0.9275")
