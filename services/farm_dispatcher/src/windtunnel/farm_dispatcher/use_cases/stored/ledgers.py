"""What runs and farms spend: reserved before a farm is asked, settled when its bill is known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from windtunnel.farm_dispatcher.domain.farm_settings import FarmSettings
from windtunnel.farm_dispatcher.domain.money import micro_usd, usd
from windtunnel.farm_dispatcher.use_cases.stored.records import Records, Stored
from windtunnel.v1 import farm_runs_pb2


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a farm run that one run pays. `limit`: what the run may spend in all; None: any amount."""

    run_id: str
    micro_usd: int
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class OverBudget:
    """A budget that does not suffice, in words. `run_id`: of the run that has it; empty: it is that of the day."""

    words: str
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class _Account:
    """A ledger that a farm run is entered in. `limit` in millionths of a dollar; None: any amount."""

    key: str
    amount: int
    limit: int | None
    words: str
    run_id: str = ""


class Ledgers:
    """Enters farm runs in the ledgers of their runs and of the day.

    Args:
        records: hold the ledgers.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        # Followers of one process would only fail each other's compare and set.
        self._changing = asyncio.Lock()

    async def reserve(
        self, farm: FarmSettings, key: str, shares: Sequence[Share], planned: datetime
    ) -> OverBudget | None:
        """Reserves what a farm run may cost, in every ledger or in none. Repeating it changes nothing.

        Args:
            farm: that will bill it.
            key: of the farm run.
            shares: what each run pays.
            planned: when the farm run was planned (UTC).

        Returns:
            The budget that does not suffice; None: it is reserved.
        """
        done: list[_Account] = []
        for account in _accounts(farm, shares, planned):
            over = await self._reserve_one(account, key)
            if over is not None:
                for earlier in done:
                    await self._change(earlier.key, lambda ledger: _drop(ledger, key))
                return over
            done.append(account)
        return None

    async def settle(self, farm: FarmSettings, key: str, shares: Sequence[Share], planned: datetime) -> None:
        """Replaces what was reserved by what is billed. Repeating it changes nothing.

        Args:
            farm: that bills it.
            key: of the farm run.
            shares: what each run pays of the bill.
            planned: when the farm run was planned (UTC).
        """
        for account in _accounts(farm, shares, planned):
            await self._change(account.key, partial(_settle, key=key, amount=account.amount))

    async def known_today(self, farm: str, now: datetime) -> int:
        """What is spent or reserved on a farm today (UTC).

        Args:
            farm: its name.
            now: the time (UTC).

        Returns:
            In millionths of a US dollar.
        """
        stored = await self._records.read(day_ledger(farm, now), farm_runs_pb2.Ledger)
        return 0 if stored is None else _known(stored.message)

    async def _reserve_one(self, account: _Account, key: str) -> OverBudget | None:
        over: list[OverBudget] = []

        def reserve(ledger: farm_runs_pb2.Ledger) -> bool:
            over.clear()
            if key in ledger.reserved_micro_usd:
                return False
            known = _known(ledger)
            if account.limit is not None and known + account.amount > account.limit:
                over.append(OverBudget(_over(account, known), account.run_id))
                return False
            ledger.reserved_micro_usd[key] = account.amount
            return True

        await self._change(account.key, reserve)
        return over[0] if over else None

    async def _change(self, key: str, change: Callable[[farm_runs_pb2.Ledger], bool]) -> None:
        """Changes a ledger; `change` returns False if there is nothing to write."""
        async with self._changing:
            while True:
                stored = await self._records.read(key, farm_runs_pb2.Ledger) or Stored(key, farm_runs_pb2.Ledger(), 0)
                if not change(stored.message) or await self._records.write(stored):
                    return


def run_ledger(run_id: str) -> str:
    """The key of the ledger of a run.

    Args:
        run_id: of the run.

    Returns:
        The key.
    """
    return f"ledger.run-{run_id}"


def day_ledger(farm: str, day: datetime) -> str:
    """The key of the ledger of a farm on one day (UTC).

    Args:
        farm: its name.
        day: any time of the day.

    Returns:
        The key.
    """
    return f"ledger.day-{farm}-{day:%Y%m%d}"


def _accounts(farm: FarmSettings, shares: Sequence[Share], planned: datetime) -> list[_Account]:
    of_day = None if farm.budget_usd.day is None else micro_usd(farm.budget_usd.day)
    day = _Account(
        day_ledger(farm.name, planned), sum(share.micro_usd for share in shares), of_day, f"farm {farm.name} today"
    )
    return [day, *(_of_run(farm, share) for share in shares)]


def _of_run(farm: FarmSettings, share: Share) -> _Account:
    limits = [share.limit, None if farm.budget_usd.run is None else micro_usd(farm.budget_usd.run)]
    known = [limit for limit in limits if limit is not None]
    limit = min(known, default=None)
    return _Account(run_ledger(share.run_id), share.micro_usd, limit, f"run {share.run_id}", share.run_id)


def _over(account: _Account, known: int) -> str:
    assert account.limit is not None
    return (
        f"the budget of {account.words} is {usd(account.limit):.2f} USD: {usd(known):.2f} are spent or reserved, and "
        f"this would cost {usd(account.amount):.2f} more"
    )


def _known(ledger: farm_runs_pb2.Ledger) -> int:
    return ledger.spent_micro_usd + sum(ledger.reserved_micro_usd.values())


def _drop(ledger: farm_runs_pb2.Ledger, key: str) -> bool:
    # Not `pop`: a map of protobuf gives 0 for a key that it does not have.
    if key not in ledger.reserved_micro_usd:
        return False
    del ledger.reserved_micro_usd[key]
    return True


def _settle(ledger: farm_runs_pb2.Ledger, key: str, amount: int) -> bool:
    if not _drop(ledger, key):
        return False
    ledger.spent_micro_usd += amount
    return True
