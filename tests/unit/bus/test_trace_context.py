"""W3C Trace Context: what is carried on, what starts again."""

from __future__ import annotations

import asyncio
import re

import pytest

from windtunnel.telemetry.trace import (
    child_of,
    current_traceparent,
    trace_context,
    trace_id_of,
    traceparent_from,
    traceparent_in,
)

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
WELL_FORMED = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")


@pytest.mark.parametrize(
    ("parent", "flags"),
    [
        (f"00-{TRACE}-{SPAN}-01", "01"),
        (f"00-{TRACE}-{SPAN}-00", "00"),
        (f"00-{TRACE}-{SPAN}-03", "03"),
        (f"00-{TRACE}-{SPAN}-ff", "03"),
        (f"01-{TRACE}-{SPAN}-01", "01"),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", "01"),
    ],
)
def test_a_valid_parent_is_carried_on(parent: str, flags: str) -> None:
    child = child_of(parent)
    assert WELL_FORMED.match(child)
    assert child.startswith(f"00-{TRACE}-")
    assert child.endswith(f"-{flags}")
    assert SPAN not in child, "the child is a span of its own"


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "garbage",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-extra",
        f"00-{TRACE}-{SPAN}-01\n",
        f"01-{TRACE}-{SPAN}-01.extra",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f" 00-{TRACE}-{SPAN}-01",
    ],
)
def test_an_invalid_parent_starts_a_new_trace(parent: str) -> None:
    one, two = child_of(parent), child_of(parent)
    assert WELL_FORMED.match(one)
    assert one != two
    assert TRACE not in one.lower()


def test_the_context_holds_inside_and_is_gone_outside() -> None:
    assert current_traceparent() == ""
    with trace_context(f"00-{TRACE}-{SPAN}-01") as outer:
        assert current_traceparent() == outer
        with trace_context(outer) as inner:
            assert current_traceparent() == inner != outer
            assert inner.split("-")[1] == TRACE
        assert current_traceparent() == outer
    assert current_traceparent() == ""


async def test_tasks_do_not_see_each_other_s_context() -> None:
    async def work(number: int) -> tuple[str, str]:
        with trace_context("") as mine:
            await asyncio.sleep(0.001 * (number % 3))
            return mine, current_traceparent()

    results = await asyncio.gather(*(work(number) for number in range(10)))
    assert all(mine == seen for mine, seen in results)
    assert len({mine for mine, _ in results}) == 10


def test_a_trace_that_follows_from_a_seed_is_the_same_everywhere_and_valid() -> None:
    one, two = traceparent_from("/training\0event-1"), traceparent_from("/training\0event-1")
    assert trace_id_of(one) == trace_id_of(two) != trace_id_of(traceparent_from("/training\0event-2"))
    assert trace_id_of(child_of(one)) == trace_id_of(one)
    assert len(trace_id_of(one)) == 32


@pytest.mark.parametrize("wrong", ["", "0" * 32, "A" * 32, "ab" * 15, "ab" * 17, "xy" * 16])
def test_what_is_not_a_trace_id_gives_no_traceparent(wrong: str) -> None:
    assert traceparent_in(wrong) == ""


def test_a_trace_id_becomes_a_span_of_its_trace() -> None:
    assert trace_id_of(traceparent_in(TRACE)) == TRACE
