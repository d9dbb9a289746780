"""Reading plans and diagnoses from the artifact store. A document is read once: its name is its content."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from windtunnel.errors import WindtunnelError
from windtunnel.metrics_store.domain import RunRecord
from windtunnel.metrics_store.use_cases.build_report import Diagnoses
from windtunnel.metrics_store.use_cases.ports import BlobReader
from windtunnel.plan import MAX_PLAN_BYTES, Plan, plan_from_json

_KEPT: Final = 256
_DIAGNOSIS_BYTES: Final = 32 * 1024**2


@dataclass(frozen=True, slots=True)
class PlanFound:
    """The plan of a run, or why there is none. Both empty: no plan was named yet."""

    plan: Plan | None = None
    problem: str = ""


class Documents:
    """Plans and diagnoses of runs.

    Args:
        artifacts: the store.
    """

    def __init__(self, artifacts: BlobReader) -> None:
        self._artifacts = artifacts
        self._plans: OrderedDict[str, PlanFound] = OrderedDict()

    def known_plan(self, sha256: str) -> PlanFound:
        """A plan that was read before.

        Args:
            sha256: of the plan.

        Returns:
            Empty: it was not.
        """
        return self._plans.get(sha256, PlanFound())

    async def plan(self, sha256: str) -> PlanFound:
        """Reads a plan.

        Args:
            sha256: of the plan.

        Returns:
            The plan, or why there is none.

        Raises:
            WindtunnelError: the store does not answer.
        """
        if not sha256 or sha256 in self._plans:
            return self.known_plan(sha256)
        try:
            found = PlanFound(plan_from_json(await self._artifacts.read_bytes(sha256, limit=MAX_PLAN_BYTES)))
        except WindtunnelError as error:
            if error.retryable:
                raise
            return PlanFound(problem=f"the plan {sha256} cannot be read: {error}")
        self._plans[sha256] = found
        while len(self._plans) > _KEPT:
            self._plans.popitem(last=False)
        return found

    async def diagnoses(self, run: RunRecord) -> Diagnoses:
        """Reads the diagnoses of the variants of a run.

        Args:
            run: its record.

        Returns:
            The diagnoses, and why some cannot be read.

        Raises:
            WindtunnelError: the store does not answer.
        """
        found: dict[str, Any] = {}
        unreadable: dict[str, str] = {}
        for name, state in run.variants.items():
            if state.compared is None or state.compared.diagnosis is None:
                continue
            try:
                found[name] = await self._diagnosis(state.compared.diagnosis.sha256)
            except WindtunnelError as error:
                if error.retryable:
                    raise
                unreadable[name] = str(error)
            except ValueError as error:
                unreadable[name] = f"the diagnosis is not JSON: {error}"
        return Diagnoses(found, unreadable)

    async def _diagnosis(self, sha256: str) -> dict[str, Any]:
        data = await self._artifacts.read_bytes(sha256, limit=_DIAGNOSIS_BYTES)
        value = json.loads(data, parse_constant=_refuse)
        if not isinstance(value, dict):
            raise ValueError(f"it is a {type(value).__name__}")
        return value


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not a number in JSON")
