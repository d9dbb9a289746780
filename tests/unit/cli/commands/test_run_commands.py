"""Commands on runs: what they make of their arguments, and how they show what they found."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from windtunnel.cli.commands.options import label_of
from windtunnel.cli.commands.runs.artifacts import _KINDS
from windtunnel.cli.commands.runs.runs import runs, since_of
from windtunnel.cli.commands.runs.watch import progress_words
from windtunnel.cli.home import reading
from windtunnel.cli.report.text.run_comparison_text import render_comparison, render_history, sparkline
from windtunnel.client import Comparison, History, Progress, RunFilter, RunSummary
from windtunnel.client.artifacts import KINDS
from windtunnel.client.comparison import ComparedRun, Row
from windtunnel.client.history import Point

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("36h", NOW - timedelta(hours=36)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-11-19T08:00Z", datetime(2026, 11, 19, 8, tzinfo=UTC)),
        ("2026-11-19T08:00+02:00", datetime(2026, 11, 19, 6, tzinfo=UTC)),
        ("2026-11-19", datetime(2026, 11, 19).astimezone(UTC)),
    ],
)
def test_since(text: str, expected: datetime) -> None:
    assert since_of(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "7", "d", "-3d", "2026-13-01"])
def test_a_time_that_cannot_be_read(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a time"):
        since_of(text, NOW)


def test_every_filter_of_runs_reaches_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[RunFilter, int]] = []

    async def runs_of(wanted: RunFilter, *, limit: int) -> list[RunSummary]:
        asked.append((wanted, limit))
        return []

    @contextlib.asynccontextmanager
    async def reading_client() -> AsyncIterator[SimpleNamespace]:
        yield SimpleNamespace(runs=runs_of)

    monkeypatch.setattr(reading, "reading_client", reading_client)
    given = "--model ssd --version 7 --label team=edge --state completed --verdict failed --since 2026-11-19T08:00Z"
    assert CliRunner().invoke(runs, [*given.split(), "--limit", "3"]).exit_code == 0
    since = datetime(2026, 11, 19, 8, tzinfo=UTC)
    assert asked == [(RunFilter("ssd", "7", "completed", "failed", {"team": "edge"}, since), 3)]
    assert CliRunner().invoke(runs, []).exit_code == 0
    assert asked[1] == (RunFilter(), 50)


def test_labels() -> None:
    assert label_of("team=edge") == ("team", "edge")
    assert label_of("a=b=c") == ("a", "b=c")
    for text in ("team", "=edge", ""):
        with pytest.raises(click.BadParameter):
            label_of(text)


def test_the_kinds_that_the_command_line_knows_are_the_clients() -> None:
    assert _KINDS == KINDS


def test_a_sparkline() -> None:
    assert sparkline([0.0, 1.0, None, 0.5]) == "▁█ ▅"
    assert sparkline([2.0, 2.0]) == "▅▅"
    assert sparkline([None, float("nan")]) == "  "
    assert sparkline([]) == ""


def compared(name: str, values: list[float | None], *, more: bool = True, unstable: bool = False) -> Row:
    first = values[0]
    differences = [None, *(None if v is None or first is None else v - first for v in values[1:])]
    ratios = [None, *(None if v is None or not first else v / first for v in values[1:])]
    return Row(f"variants[int8].{name}", "int8", name, "", more, None, values, differences, ratios, [False, unstable])


def test_a_comparison_in_words() -> None:
    runs = [ComparedRun(f"r-{n}", "ssd", str(n), "passed", None, {"team": "edge"}) for n in (1, 2)]
    rows = [
        compared("accuracy", [0.9, 0.8]),
        compared("size_bytes", [1e6, 2e6], more=False, unstable=True),
        compared("loss", [0.5, 0.5], more=False),
        compared("agreement", [None, None]),
    ]
    out = io.StringIO()
    render_comparison(Comparison(runs, rows, ["the runs follow different plans"]), Console(file=out, width=100))
    text = out.getvalue()
    assert "r-1" in text and "team=edge" in text and "note: the runs follow different plans" in text
    assert "0.8000 (-0.1000)" in text and "(+100.0 %)" in text and "(=)" in text and "unstable" in text
    assert "agreement" not in text


@pytest.mark.parametrize(
    ("second", "unstable", "spreads", "color"),
    [
        (3.0, (False, False), [0.1, 0.1], "31"),
        (1.0, (False, False), [0.1, None], "32"),
        (3.0, (False, False), [None, None], "31"),
        # Worthless on either side, or no more than the spread of either side.
        (3.0, (False, True), [0.1, 0.1], "2"),
        (3.0, (True, False), [0.1, 0.1], "2"),
        (2.1, (False, False), [0.01, 0.1], "2"),
        (2.1, (False, False), [0.1, None], "2"),
    ],
)
def test_a_latency_is_colored_only_if_the_difference_means_something(
    second: float, unstable: tuple[bool, bool], spreads: list[float | None], color: str
) -> None:
    row = compared("latency_ms.p50", [2.0, second], more=False)
    row = dataclasses.replace(row, unstable=unstable, spreads=spreads)
    runs = [ComparedRun(f"r-{n}", "ssd", str(n), "passed", None, {}) for n in (1, 2)]
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True, color_system="standard", legacy_windows=False)
    render_comparison(Comparison(runs, [row], []), console)
    assert re.search(r"\x1b\[(\d+)m \([+-]\d+\.\d %\)", out.getvalue())[1] == color  # type: ignore[index]


def test_a_history_in_words() -> None:
    points = [Point("r-1", "1", "passed", "2026-11-20T12:00:00Z", 0.9), Point("r-2", "2", None, None, None)]
    out = io.StringIO()
    render_history(History("ssd", "variants[int8].accuracy", points), Console(file=out, width=100))
    assert "variants[int8].accuracy of ssd, 2 runs" in out.getvalue() and "0.9" in out.getvalue()
    assert "r-2" in out.getvalue() and "None" not in out.getvalue()


@pytest.mark.parametrize(
    ("verdict", "text", "said"),
    [
        ("failed", "failed; gate size_mb of variant int8: 3 is over 2; more", "failed"),
        ("failed", "failed", "failed"),
        (None, "2 cells of variant int8 are planned", "2 cells of variant int8 are planned"),
        ("passed", "a late measurement", "a late measurement"),
    ],
)
def test_progress_ends_with_the_verdict_alone(verdict: str | None, text: str, said: str) -> None:
    assert progress_words(Progress("r-1", "completed", verdict, 8, 8, text)) == said
