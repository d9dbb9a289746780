"""`watch` with many cells on farms: counts instead of lines; and what `cancel` says was canceled there."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from windtunnel.cli.commands.runs.cancel import _words
from windtunnel.cli.commands.runs.farm_summary import MANY, FarmSummary
from windtunnel.client import Progress
from windtunnel.v1 import farm_dispatcher_pb2 as pb
from windtunnel.v1 import types_pb2

PROGRESSED = "windtunnel.device_run.progressed.v1"


class Watched:
    """A run with `count` cells on aws: 3 measured, 1 failed; and one on this host."""

    run_id = "r-1"

    def __init__(self, count: int) -> None:
        states = ["measured"] * 3 + ["failed"] + [None] * (count - 4)
        cells = [{"farm": "aws", "platform": "android", "status": state} for state in states]
        host = {"farm": "local", "platform": "host", "status": None}
        skipped = {"farm": "ftl", "platform": "android", "status": "skipped"}
        self._report = {"variants": [{"cells": [*cells, host, skipped]}]}

    async def report(self) -> Any:
        return SimpleNamespace(json=self._report)


async def farm_runs(run_id: str) -> Sequence[pb.ActiveFarmRun]:
    info = types_pb2.FarmRunInfo(id="arn:1", url="https://console/1", words="RUNNING")
    return [
        pb.ActiveFarmRun(farm="aws", info=info, cells=8, running=True),
        pb.ActiveFarmRun(farm="aws", cells=2, running=False),
    ]


def step(event_type: str) -> Progress:
    return Progress("r-1", "running", None, 1, 40, "a step", event_type)


@pytest.mark.parametrize("count", [MANY, MANY + 1])
async def test_many_cells_are_counted(count: int) -> None:
    told: list[str] = []
    now = [0.0]
    summary = FarmSummary(Watched(count), farm_runs, told.append, lambda: now[0])  # type: ignore[arg-type]
    assert not await summary.counts(step("windtunnel.variant.ready.v1"))
    assert await summary.counts(step(PROGRESSED)) == (count > MANY)
    if count <= MANY:
        assert told == []
        return
    assert told == ["aws: 7 queued, 2 submitted, 8 running, 4 done of 21, 1 failed; https://console/1"]
    now[0] = 60.0
    assert await summary.counts(step("windtunnel.device_run.measured.v1"))
    # What has not changed is not shown again, and a failure keeps its line.
    assert len(told) == 1
    assert not await summary.counts(step("windtunnel.device_run.failed.v1"))


async def test_runs_without_farms_are_told_as_ever() -> None:
    told: list[str] = []
    summary = FarmSummary(Watched(100), farm_runs, told.append)  # type: ignore[arg-type]
    assert not await summary.counts(step("windtunnel.device_run.measured.v1"))
    assert told == []


def test_what_was_canceled_on_farms() -> None:
    canceled = {"farm": "aws", "device": "Pixel 8", "os_version": "14", "cells": 2, "farm_run": "arn:1", "url": None}
    assert _words(canceled) == "canceled on its farm: aws/Pixel 8@14, 2 cells (arn:1)"
    assert _words({**canceled, "cells": 1, "farm_run": None}) == "canceled on its farm: aws/Pixel 8@14, 1 cell"
