"""Estimates of cost as protobuf messages."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from windtunnel.farm_dispatcher.domain.estimates import CostEstimate
from windtunnel.farm_dispatcher.domain.money import micro_usd
from windtunnel.v1 import farm_dispatcher_pb2


def estimate_to_proto(estimate: CostEstimate, today: int | None) -> farm_dispatcher_pb2.CostEstimate:
    """An estimate on the wire.

    Args:
        estimate: of one farm.
        today: what is spent or reserved there today, in millionths of a US dollar; None: not known.

    Returns:
        The message.
    """
    budget = estimate.farm.budget_usd
    message = farm_dispatcher_pb2.CostEstimate(
        farm=estimate.farm.name,
        cells=estimate.cells,
        farm_runs=estimate.farm_runs,
        cost_micro_usd=estimate.cost,
        unpacked_micro_usd=estimate.unpacked,
        run_budget_micro_usd=_micros(budget.run),
        day_budget_micro_usd=_micros(budget.day),
        today_micro_usd=None if budget.day is None else today,
    )
    message.billed_time.FromTimedelta(timedelta(minutes=float(estimate.billed_minutes)))
    return message


def _micros(amount: Decimal | None) -> int | None:
    return None if amount is None else micro_usd(amount)
