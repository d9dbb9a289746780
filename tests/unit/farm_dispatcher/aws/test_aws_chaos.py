"""Many farm runs while the service throttles, fails and loses answers: each runs once, and the bill is right."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import TypeVar

import pytest

from support.farm_peers.aws.api import Refused
from support.farm_peers.aws.bench import AwsBench, new_client, settings
from support.farm_peers.aws.faults import Bucket, Outcome
from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.aws.aws_farm import AwsFarm
from windtunnel.farm_dispatcher.domain.device_runs import Collected, Phase
from windtunnel.farm_dispatcher.domain.jobs import FarmRunRequest
from windtunnel.farms.failure_kinds import FailureKind

pytestmark = pytest.mark.heavy
_OPERATIONS = (
    "ListRuns", "ScheduleRun", "GetRun", "ListJobs", "ListArtifacts", "CreateUpload", "GetUpload", "ListUploads",
)  # fmt: skip
_RUNS = 10
T = TypeVar("T")


class Trouble:
    """Puts faults into the peer, each time somebody asks."""

    def __init__(self, bench: AwsBench, seed: int) -> None:
        self._bench, self._draw = bench, random.Random(seed)
        bench.peer.faults.buckets |= {"GetRun": Bucket(8, 40.0), "ListRuns": Bucket(8, 40.0)}

    def add(self) -> None:
        faults, operation = self._bench.peer.faults, self._draw.choice(_OPERATIONS)
        match self._draw.randrange(8):
            case 0:
                faults.refuse.setdefault(operation, []).append(Refused("ServiceUnavailable", "later", 503))
            case 1:
                faults.refuse.setdefault(operation, []).append(Refused("ThrottlingException", "Rate exceeded"))
            case 2:
                faults.drop.append(operation)
            case 3:
                faults.lose_answer.append("ScheduleRun")
            case 4:
                faults.failed_puts += 1

    async def patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Asks again as the scheduler does, as long as the farm says that it may succeed later."""
        for _ in range(200):
            self.add()
            try:
                return await ask()
            except FarmError as error:
                assert error.retryable, error
            await asyncio.sleep(0.002)
        raise AssertionError("it never succeeds")


async def one_run(bench: AwsBench, trouble: Trouble, request: FarmRunRequest, farms: list[AwsFarm]) -> Collected:
    """A farm run that each call may find in the hands of another process."""
    turn = iter(range(10_000))

    def farm() -> AwsFarm:
        return farms[next(turn) % len(farms)]

    submitted = await trouble.patiently(lambda: farm().submit(request, bench.files))
    for _ in range(500):
        polled = await trouble.patiently(lambda: farm().poll(submitted))
        if polled.phase is Phase.ENDED:
            break
        bench.peer.clock.advance(3)
        await asyncio.sleep(0.01)
    into = bench.folder / f"into-{request.key}"
    into.mkdir()
    return await trouble.patiently(lambda: farm().collect(submitted, request, into))


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_farm_run_runs_once_and_is_billed_once(bench: AwsBench, seed: int) -> None:
    binary = bench.benchmark()
    for number in range(_RUNS):
        outcome = Outcome(minutes=1.25 + number / 10)
        broken = replace(outcome, result="ERRORED", runs=False)
        bench.peer.faults.outcomes.append(broken if number % 4 == 3 else outcome)
    requests = [await bench.request(bench.job(b"%d" % n, binary), key=f"wt-{n}") for n in range(_RUNS)]
    second = new_client(bench.peer)
    farms, trouble = [bench.farm, AwsFarm(second, settings(bench.peer))], Trouble(bench, seed)
    collected = await asyncio.gather(*[one_run(bench, trouble, request, farms) for request in requests])
    second.close()
    names = sorted(run.name for run in bench.peer.runs.by_arn.values())
    assert names == sorted(request.key for request in requests)
    billed = sum((one.billed_minutes or Decimal(0) for one in collected), Decimal(0))
    spent = sum((Decimal(repr(job.minutes)) for job in bench.peer.runs.jobs()), Decimal(0))
    assert billed == spent > 0
    kinds = [one.results[0].failure.kind if one.results[0].failure else None for one in collected]
    assert kinds.count(FailureKind.INFRASTRUCTURE) == 2 and kinds.count(None) == _RUNS - 2
