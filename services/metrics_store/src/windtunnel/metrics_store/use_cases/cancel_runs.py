"""Ending a run on request: no service works for it any more, and it gets its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from windtunnel.errors import InvalidInput, NotFound
from windtunnel.metrics_store.domain import facts
from windtunnel.metrics_store.domain.event_content import EventContent
from windtunnel.metrics_store.domain.stored_run import event_key
from windtunnel.metrics_store.use_cases.complete_runs import SOURCE, Completer
from windtunnel.metrics_store.use_cases.ports import RunRepository
from windtunnel.service.cancellation import Cancellations

EVENT_TYPE: Final = "windtunnel.run.canceled.v1"
_LONGEST_REASON: Final = 500


@dataclass(frozen=True, slots=True)
class RunCanceler:
    """Cancels runs."""

    repository: RunRepository
    completer: Completer
    canceled: Cancellations

    async def cancel(self, run_id: str, reason: str) -> bool:
        """Ends a run. Repeating it changes nothing.

        Args:
            run_id: of the run.
            reason: for people; may be empty.

        Returns:
            False: the run had ended before, and stays as it is.

        Raises:
            NotFound: there is no such run.
            InvalidInput: the reason has more than 500 characters.
            Unavailable: the bus does not answer; asking again is harmless.
        """
        if len(reason) > _LONGEST_REASON:
            raise InvalidInput(f"the reason has {len(reason)} characters", hint=f"at most {_LONGEST_REASON}")
        stored = await self.repository.load(run_id)
        if stored is None:
            raise NotFound(f"there is no run {run_id[:80]!r}", hint="`windtunnel runs` lists them")
        if stored.verdict is not None:
            return stored.record.canceled is not None
        # Before the verdict: once that is known, nobody works for the run.
        await self.canceled.add(run_id)
        key = f"cancel.{run_id}"
        fact = facts.Canceled(self.completer.clock(), reason.strip())
        text = "the run is canceled" + (f": {fact.reason}" if fact.reason else "")
        await self.repository.record(
            EventContent(run_id, key, (fact,), text),
            key=event_key(SOURCE, key),
            event_type=EVENT_TYPE,
            at=fact.at,
            assess=self.completer.assess,
        )
        self.completer.changed.notify()
        await self.completer.look(run_id)
        after = await self.repository.load(run_id)
        return after is not None and not after.final
