"""Runs a job on a farm and waits for its end, without records: for a caller who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.domain.device_runs import Collected, Phase, Polled, Submitted
from windtunnel.farm_dispatcher.domain.farm import Farm, Files
from windtunnel.farm_dispatcher.domain.jobs import FarmRunRequest
from windtunnel.farm_dispatcher.domain.polling import next_wait

T = TypeVar("T")
OnState = Callable[[Submitted, Polled], None]
# After a cancellation: a farm that is asked to start something is asked for so long what it has started.
_KNOWN_S: Final = 60.0


def _silent(*_: Any) -> None:
    """Reports nothing."""


async def run_once(
    farm: Farm,
    request: FarmRunRequest,
    files: Files,
    into: Path,
    on_state: OnState = _silent,
    *,
    found: Submitted | None = None,
    patience_s: float = 0.0,
    on_cancel: Callable[[], None] = _silent,
) -> tuple[Submitted, Collected]:
    """Submits a farm run, waits for it and collects it. A caller who gives up cancels it on the farm.

    Args:
        farm: that runs it.
        request: what to run.
        files: gives the artifacts that the jobs name.
        into: an empty folder for files.
        on_state: called with what the farm says.
        found: the farm run, if it was submitted before; it is not submitted then.
        patience_s: how long a farm may be busy or silent before that is an error, in seconds.
        on_cancel: called before the farm is asked to cancel it.

    Returns:
        The farm run as the farm knows it, and what it left.

    Raises:
        FarmError: the farm failed.
        CancelledError: the caller gave up.
    """

    async def submit() -> Submitted:
        if found is not None:
            return found
        return await _patiently(farm, lambda: farm.submit(request, files), patience_s)

    submitting = asyncio.ensure_future(submit())
    try:
        # Not given up half-way: what a farm has started without anybody knowing its id would run, and be billed.
        submitted = await asyncio.shield(submitting)
        return submitted, await _collect_ended(farm, submitted, request, into, on_state, patience_s)
    except asyncio.CancelledError:
        on_cancel()
        await _cancel(farm, request, submitting)
        raise


async def _collect_ended(
    farm: Farm, submitted: Submitted, request: FarmRunRequest, into: Path, on_state: OnState, patience_s: float
) -> Collected:
    waited = 0.0
    while True:
        polled = await _patiently(farm, lambda: farm.poll(submitted), patience_s)
        on_state(submitted, polled)
        if polled.phase is Phase.LOST:
            raise FarmError(f"farm run {submitted.id} is lost: {polled.words}", hint="run it again")
        if polled.phase is Phase.ENDED:
            return await _patiently(farm, lambda: farm.collect(submitted, request, into), patience_s)
        wait = next_wait(waited, farm.settings.poll_seconds)
        await asyncio.sleep(wait)
        waited += wait


async def _patiently(farm: Farm, call: Callable[[], Awaitable[T]], patience_s: float) -> T:
    """Repeats a call while the farm says that it may succeed later.

    Raises:
        FarmError: it refuses, or has not answered for so long.
    """
    waited = 0.0
    while True:
        try:
            return await call()
        except FarmError as error:
            if not error.retryable or waited >= patience_s:
                raise
        wait = next_wait(waited, farm.settings.poll_seconds)
        await asyncio.sleep(wait)
        waited += wait


async def _cancel(farm: Farm, request: FarmRunRequest, submitting: asyncio.Future[Submitted]) -> None:
    await asyncio.wait([submitting], timeout=_KNOWN_S)
    submitted: Submitted | None = None
    if submitting.done() and submitting.exception() is None:
        submitted = submitting.result()
    else:
        submitting.cancel()
        await asyncio.wait([submitting])
        submitted = await farm.find(request.key)
    if submitted is not None:
        await farm.cancel(submitted)
