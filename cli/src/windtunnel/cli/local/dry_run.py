"""What a run would do on farms, and what it may cost: the document of `submit --dry-run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from windtunnel.enum_words import PLATFORM, RUN_AS

if TYPE_CHECKING:
    from windtunnel.plan import Plan
    from windtunnel.v1.farm_dispatcher_pb2 import CostEstimate, PlanCellsResponse
    from windtunnel.v1.types_pb2 import Cell

_MICROS = 1_000_000


def dry_run_document(model: str, plan: Plan, planned: Mapping[str, PlanCellsResponse]) -> dict[str, Any]:
    """The document `windtunnel.dry_run/1`.

    Args:
        model: as the user named it.
        plan: of the run.
        planned: the answer of the farms, by variant.

    Returns:
        The document. Costs are those of variants that get ready one after the other: if several are ready together,
        they share farm runs, and the run costs less.
    """
    variants: list[dict[str, Any]] = [
        {"name": name, "cells": list(map(_cell, answer.cells))} for name, answer in planned.items()
    ]
    cells = [cell for variant in variants for cell in variant["cells"]]
    farms = _farms([one for answer in planned.values() for one in answer.estimates])
    cost = _sum(farm["cost_usd"] for farm in farms)
    document: dict[str, Any] = {
        "schema": "windtunnel.dry_run/1",
        "model": model,
        "variants": variants,
        "farms": farms,
        "cells": sum(1 for cell in cells if cell["skip_reason"] is None),
        "skipped": sum(1 for cell in cells if cell["skip_reason"] is not None),
        "cost_usd": cost,
        "unpacked_cost_usd": _sum(farm["unpacked_cost_usd"] for farm in farms),
        "budget_usd": plan.budget_usd,
        "reuse_seconds": plan.reuse_seconds or None,
    }
    return {**document, "problems": _problems(document)}


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "farm": cell.farm,
        "device": cell.device or None,
        "platform": PLATFORM.read(cell.device_platform, cell.platform) or None,
        "os_version": cell.os_version or None,
        "accelerator": cell.accelerator or None,
        "threads": cell.threads,
        "run_as": RUN_AS.read(cell.run_as, "executable"),
        "skip_reason": cell.skip_reason or None,
    }


def _farms(estimates: Sequence[CostEstimate]) -> list[dict[str, Any]]:
    """One object for each farm: the sum over the variants."""
    by_farm: dict[str, list[CostEstimate]] = {}
    for estimate in estimates:
        by_farm.setdefault(estimate.farm, []).append(estimate)
    return [_farm(name, found) for name, found in by_farm.items()]


def _farm(name: str, estimates: Sequence[CostEstimate]) -> dict[str, Any]:
    last = estimates[-1]
    return {
        "farm": name,
        "cells": sum(one.cells for one in estimates),
        "farm_runs": sum(one.farm_runs for one in estimates),
        "billed_minutes": sum(one.billed_time.ToTimedelta().total_seconds() for one in estimates) / 60,
        "cost_usd": _total(estimates, "cost_micro_usd"),
        "unpacked_cost_usd": _total(estimates, "unpacked_micro_usd"),
        "budget_usd": {"run": _usd(last, "run_budget_micro_usd"), "day": _usd(last, "day_budget_micro_usd")},
        "today_usd": _usd(last, "today_micro_usd"),
    }


def _total(estimates: Sequence[CostEstimate], field: str) -> float | None:
    known = [int(getattr(one, field)) for one in estimates if one.HasField(field)]  # type: ignore[arg-type]
    return sum(known) / _MICROS if known else None


def _usd(estimate: CostEstimate, field: str) -> float | None:
    return getattr(estimate, field) / _MICROS if estimate.HasField(field) else None  # type: ignore[arg-type]


def _sum(amounts: Any) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return round(sum(known), 6) if known else None


def _problems(document: Mapping[str, Any]) -> list[str]:
    """Why the run should not be started as it is."""
    found = [] if document["cells"] else ["no cell can run"]
    cost, budget = document["cost_usd"] or 0.0, document["budget_usd"]
    if budget is not None and cost > budget:
        found.append(f"the plan's budget is ${budget:.2f}, and the run may cost ${cost:.2f}")
    for farm in document["farms"]:
        name, limits, own = farm["farm"], farm["budget_usd"], farm["cost_usd"] or 0.0
        if limits["run"] is not None and own > limits["run"]:
            found.append(f"farm {name} allows ${limits['run']:.2f} for a run, which may cost ${own:.2f} there")
        today = farm["today_usd"] or 0.0
        if limits["day"] is not None and today + own > limits["day"]:
            found.append(
                f"farm {name} allows ${limits['day']:.2f} a day: ${today:.2f} are spent or reserved today, and the run "
                f"may cost ${own:.2f} there"
            )
    return found
