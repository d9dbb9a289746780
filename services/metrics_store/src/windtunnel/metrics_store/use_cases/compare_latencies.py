"""Comparing the latencies of a run with those of an earlier one, for the gate `latency_vs`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from windtunnel.metrics_store.domain import RunRecord
from windtunnel.metrics_store.domain.latency_vs import CellComparison, compare_cell, noise_key, noise_of
from windtunnel.metrics_store.domain.record import CellState
from windtunnel.metrics_store.use_cases.ports import LatencyHistory
from windtunnel.plan import LAST_PASSED, LatencyVs, Plan


@dataclass(frozen=True, slots=True)
class LatencyComparer:
    """Compares cells with baselines, under the noise that the store's own history shows."""

    history: LatencyHistory

    async def compare(self, run: RunRecord, plan: Plan | None) -> Mapping[str, CellComparison]:
        """Compares every measured cell of a variant that has the gate.

        Args:
            run: its record.
            plan: of the run; None: not known.

        Returns:
            By cell id.

        Raises:
            Unavailable: the history cannot be read.
        """
        found: dict[str, CellComparison] = {}
        for variant in () if plan is None else plan.variants:
            bound = plan.gates_of(variant.name).latency_vs if plan is not None else None
            for cell in run.cells_of(variant.name) if bound is not None else ():
                if bound is not None and cell.measured is not None and cell.spec.times_count:
                    found[cell.spec.id] = await self._compare(run, cell, bound)
        return found

    async def _compare(self, run: RunRecord, cell: CellState, bound: LatencyVs) -> CellComparison:
        model = "" if run.seen is None else run.seen.model_name
        given = "" if bound.baseline == LAST_PASSED else bound.baseline
        baseline = await self.history.baseline("" if given else model, cell.spec, given, run.run_id)
        if baseline is None or not (given or baseline.jobs):
            return await self._without(cell, model, given)
        past = await self.history.past_jobs(cell.spec, (run.run_id, baseline.run_id))

        def compared() -> CellComparison:
            return compare_cell(cell, baseline, noise_of(noise_key(model, cell.spec), past), bound.max_increase)

        # The noise of a device with a long history takes seconds.
        return await asyncio.to_thread(compared)

    async def _without(self, cell: CellState, model: str, given: str) -> CellComparison:
        """Why there is no baseline. The first run of a model has none, and may pass all the same."""
        label = cell.spec.label
        if not given:
            why = f"no run of model {model!r} that passed has a latency of this variant there that can be trusted"
            return CellComparison(label, why=why, missing_baseline=True)
        if not await self.history.knows(given):
            return CellComparison(label, why=f"there is no run {given!r}, the baseline of the plan")
        return CellComparison(label, why=f"run {given} has not measured this variant there")
