"""Runs a job on a farm and waits for its end, without records: for a caller who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.domain.device_runs import Collected, Phase, Polled, Submitted
from windtunnel.farm_dispatcher.domain.farm import Farm, Files
from windtunnel.farm_dispatcher.domain.jobs import FarmRunRequest
from windtunnel.farm_dispatcher.domain.polling import next_wait


async def run_once(
    farm: Farm,
    request: FarmRunRequest,
    files: Files,
    into: Path,
    on_state: Callable[[Submitted, Polled], None] = lambda submitted, polled: None,
) -> tuple[Submitted, Collected]:
    """Submits a farm run, waits for it and collects it. A caller who gives up cancels it on the farm.

    Args:
        farm: that runs it.
        request: what to run.
        files: gives the artifacts that the jobs name.
        into: an empty folder for files.
        on_state: called with what the farm says.

    Returns:
        The farm run as the farm knows it, and what it left.

    Raises:
        FarmError: the farm failed.
        CancelledError: the caller gave up.
    """
    submitted = await farm.submit(request, files)
    try:
        await _ended(farm, submitted, on_state)
        return submitted, await farm.collect(submitted, request, into)
    except asyncio.CancelledError:
        await farm.cancel(submitted)
        raise


async def _ended(farm: Farm, submitted: Submitted, on_state: Callable[[Submitted, Polled], None]) -> None:
    waited = 0.0
    while True:
        polled = await farm.poll(submitted)
        on_state(submitted, polled)
        if polled.phase is Phase.LOST:
            raise FarmError(f"farm run {submitted.id} is lost: {polled.words}", hint="run it again")
        if polled.phase is Phase.ENDED:
            return
        wait = next_wait(waited, farm.settings.poll_seconds)
        await asyncio.sleep(wait)
        waited += wait
