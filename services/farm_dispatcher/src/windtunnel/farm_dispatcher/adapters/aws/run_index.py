"""Runs of a project by their names. ListRuns cannot be asked for a name, so what was read once is not read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from windtunnel.farm_dispatcher.adapters.aws.client import DeviceFarmClient
from windtunnel.farm_dispatcher.adapters.aws.parts import Names

# Nobody asks for a farm run that is older.
_LOOK_BACK: Final = timedelta(days=7)
# A run may appear in lists so long after it was created.
_LATE: Final = timedelta(minutes=10)
_KEPT: Final[tuple[str, ...]] = ("arn", "name", "status", "webUrl", "created")


@dataclass
class RunIndex:
    """The runs of a project. Lists that are in order, the newest run first, are read as far as they are new.

    Attributes:
        client: of the service.
        project: its ARN.
    """

    client: DeviceFarmClient
    project: str
    _known: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Everything older was read; None: nothing was.
    _read_to: datetime | None = None

    async def find(self, names: Names) -> dict[str, dict[str, Any]]:
        """The runs that have some of the names.

        Args:
            names: to look for.

        Returns:
            The runs by their names.
        """
        oldest = datetime.now(UTC) - _LOOK_BACK
        if self._read_to is not None:
            oldest = max(oldest, self._read_to - _LATE)
        times: list[datetime] = []
        seen: dict[str, dict[str, Any]] = {}
        async for page in self.client.pages("list_runs", "runs", arn=self.project):
            for run in page:
                # Of runs with one name the newest counts: lists begin with it.
                seen.setdefault(run.get("name", ""), {name: run[name] for name in _KEPT if name in run})
            self._known.update(seen)
            if names.whole(found := self._of(names)) is not None:
                return found
            times += [run["created"] for run in page if isinstance(run.get("created"), datetime)]
            if times and times[-1] < oldest and _in_order(times):
                break
        self._read_to = times[0] if times and _in_order(times) else None
        return self._of(names)

    def _of(self, names: Names) -> dict[str, dict[str, Any]]:
        return {name: run for name, run in self._known.items() if names.fits(name)}


def _in_order(times: Sequence[datetime]) -> bool:
    return all(earlier <= later for later, earlier in pairwise(times))
