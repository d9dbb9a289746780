"""A farm run as one or several runs of AWS Device Farm: an iOS app needs a run of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from windtunnel.farm_dispatcher.domain.device_runs import Submitted
from windtunnel.farm_dispatcher.domain.jobs import AppJob, FarmRunRequest

_PART: Final = re.compile(r"-part-(\d+)-of-(\d+)$")
_SEPARATOR: Final = ","
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Names:
    """The names of the runs of a farm run.

    Attributes:
        key: of the farm run.
        parts: how many runs it is; 0: not known, the names say it.
    """

    key: str
    parts: int = 0

    def fits(self, name: str) -> bool:
        """Whether a run has one of the names.

        Args:
            name: of the run.
        """
        if self.parts:
            return name in part_names(self.key, self.parts)
        return _PART.sub("", name) == self.key

    def whole(self, found: Mapping[str, T]) -> list[T] | None:
        """The runs of the farm run, in the order of its parts.

        Args:
            found: by the names that fit.

        Returns:
            None: one is missing.
        """
        counts = {int(match[2]) for name in found if (match := _PART.search(name))}
        for count in [self.parts] if self.parts else sorted({1, *counts}):
            names = part_names(self.key, count)
            if all(name in found for name in names):
                return [found[name] for name in names]
        return None


def part_names(key: str, count: int) -> tuple[str, ...]:
    """The names of the runs of a farm run, in their order.

    Args:
        key: of the farm run.
        count: how many runs it is.

    Returns:
        The key alone if it is one.
    """
    if count == 1:
        return (key,)
    return tuple(f"{key}-part-{number}-of-{count}" for number in range(1, count + 1))


def parts_of(request: FarmRunRequest) -> tuple[FarmRunRequest, ...]:
    """What each run does.

    Args:
        request: of the farm run.

    Returns:
        The request itself, or one for each entry, with the names of the runs as their keys.
    """
    if not any(isinstance(entry.job, AppJob) and entry.job.platform == "ios" for entry in request.entries):
        return (request,)
    names = part_names(request.key, len(request.entries))
    return tuple(
        replace(request, key=name, entries=(entry,), timeout_s=entry.job.timeout_s)
        for name, entry in zip(names, request.entries, strict=True)
    )


def submitted_of(runs: Sequence[Mapping[str, Any]], region: str) -> Submitted:
    """Runs as the scheduler knows them.

    Args:
        runs: as the service shows them.
        region: of the service.

    Returns:
        With the web page of the first.
    """
    return Submitted(_SEPARATOR.join(run["arn"] for run in runs), web_page(runs[0], region), runs[0].get("status", ""))


def arns_of(submitted: Submitted) -> tuple[str, ...]:
    """The ARNs of the runs of a farm run.

    Args:
        submitted: the farm run.

    Returns:
        In the order of the parts.
    """
    return tuple(submitted.id.split(_SEPARATOR))


def web_page(run: Mapping[str, Any], region: str) -> str:
    """The console's page of a run.

    Args:
        run: as the service shows it.
        region: of the service.

    Returns:
        As the service says, or made from the ARN.
    """
    if run.get("webUrl"):
        return str(run["webUrl"])
    project, _, identity = run["arn"].rsplit(":", 1)[1].partition("/")
    return (
        f"https://{region}.console.aws.amazon.com/devicefarm/home?region={region}"
        f"#/mobile/projects/{project}/runs/{identity}"
    )
