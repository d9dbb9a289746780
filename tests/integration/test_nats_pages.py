"""Pages of a bucket on NATS while somebody removes what they list."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from support.service_runtime import open_bus
from windtunnel.bus.nats.bucket import NatsBucket


@pytest.mark.parametrize("removed", [(3, 19), (18, 19), tuple(range(20))], ids=["some", "the last ones", "all"])
async def test_records_that_are_removed_after_they_were_counted_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: tuple[int, ...]
) -> None:
    async with open_bus("nats", tmp_path) as bus:
        bucket = await bus.bucket("windtunnel_farm_runs")
        assert isinstance(bucket, NatsBucket)
        for number in range(20):
            await bucket.put(f"q.{number}", b"x")
        counted = bucket._js.add_consumer

        async def removed_then(*args: Any, **named: Any) -> Any:
            consumer = await counted(*args, **named)
            for number in removed:
                await bucket.forget(f"q.{number}")
            return consumer

        monkeypatch.setattr(bucket._js, "add_consumer", removed_then)
        begun = time.monotonic()
        page = await bucket.page("q", 64)
        assert [one.key for one in page] == [f"q.{number}" for number in range(20) if number not in removed]
        assert time.monotonic() - begun < 4
