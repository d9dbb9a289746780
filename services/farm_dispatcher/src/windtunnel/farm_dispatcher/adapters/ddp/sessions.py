"""Sessions of Device Run as gcloud prints them: JSON of the API, or sentences of gcloud."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from windtunnel.farm_dispatcher.adapters.ddp.gcloud import Output
from windtunnel.farm_dispatcher.domain.device_runs import Phase

# By statusType. A session that is suspended waits for quota.
PHASES: Final[Mapping[str, Phase]] = {
    "STATUS_TYPE_UNSPECIFIED": Phase.QUEUED,
    "PENDING": Phase.QUEUED,
    "SUSPENDED": Phase.QUEUED,
    "RUNNING": Phase.RUNNING,
    "DONE": Phase.ENDED,
}
KEY_LABEL: Final = "windtunnel-key"
_CREATED: Final = re.compile(r"[Ss]ession \[([\w-]+)\]")
_STATUS: Final = re.compile(r"status is \[(\w+)\]")
_RESULT: Final = re.compile(r"finished with result \[(\w+)\]")
_URL: Final = re.compile(r"\[(https://console\.cloud\.google\.com/[^\]\s]+)\]")


@dataclass(frozen=True, slots=True)
class Session:
    """A session: its report as the API describes it."""

    name: str
    report: Mapping[str, Any]
    folder: str = ""

    @property
    def words(self) -> str:
        """Its state, in Device Run's words."""
        status = str(self.report.get("status", {}).get("statusType", "STATUS_TYPE_UNSPECIFIED"))
        result = str(self.result.get("resultType", ""))
        return f"{status} {result}".strip()

    @property
    def phase(self) -> Phase:
        """How far it is."""
        return PHASES.get(self.words.partition(" ")[0], Phase.RUNNING)

    @property
    def result(self) -> Mapping[str, Any]:
        """The innermost result, that of the execution if there is one: only it names its cause."""
        found: Mapping[str, Any] = self.report.get("result", {})
        for execution in self._executions():
            found = execution.get("result", found)
        return found

    @property
    def output_files(self) -> tuple[str, ...]:
        """gs:// addresses of what the execution wrote; of several attempts, of the last."""
        executions = list(self._executions())
        written = executions[-1].get("outputFiles", ()) if executions else ()
        paths = (one.get("gcsOutputFile", {}).get("path") for one in written)
        return tuple(str(path) for path in paths if path)

    @property
    def billed_minutes(self) -> Decimal:
        """Google has published no rule: each attempt's time on its device, rounded up to minutes."""
        return Decimal(sum(math.ceil(_seconds(execution) / 60) for execution in self._executions()))

    def _executions(self) -> Iterator[Mapping[str, Any]]:
        for job in self.report.get("jobReports", ()):
            yield from job.get("executionReports", ())


def _seconds(execution: Mapping[str, Any]) -> float:
    try:
        began, ended = (datetime.datetime.fromisoformat(execution[name]) for name in ("startTime", "endTime"))
    except (KeyError, ValueError, TypeError):
        return 0.0
    return max(0.0, (ended - began).total_seconds())


def created_name(output: Output) -> str:
    """The id of the session that `submit` made.

    Args:
        output: of the command.

    Returns:
        Empty: it does not say.
    """
    told = output.json
    if isinstance(told, Mapping):
        target = str(told.get("metadata", {}).get("target", "")) if "metadata" in told else str(told.get("name", ""))
        if "/sessions/" in target:
            return target.rpartition("/")[2]
    found = _CREATED.search(output.err) or _CREATED.search(output.out)
    return "" if found is None else found[1]


def created_url(output: Output) -> str:
    """The web page of the results of a new session.

    Args:
        output: of `submit`.

    Returns:
        Empty: it does not say.
    """
    found = _URL.search(output.err) or _URL.search(output.out)
    return "" if found is None else found[1]


def read_session(output: Output, name: str) -> Session:
    """A session as `describe` prints it.

    Args:
        output: of the command.
        name: of the session.

    Returns:
        The session.
    """
    told = output.json
    if isinstance(told, Mapping):
        return _session(told, name)
    result, status = _RESULT.search(output.out), _STATUS.search(output.out)
    if result is not None:
        return Session(name, {"status": {"statusType": "DONE"}, "result": {"resultType": result[1]}})
    return Session(name, {"status": {"statusType": "STATUS_TYPE_UNSPECIFIED" if status is None else status[1]}})


def _session(told: Mapping[str, Any], name: str) -> Session:
    output = told.get("sessionConfig", {}).get("outputDirectoryConfig", {}).get("gcsOutputDirectory", {})
    return Session(
        str(told.get("name", name)).rpartition("/")[2] or name,
        told.get("sessionReport", {}),
        str(output.get("path", "")),
    )


def labeled(listed: Any, key: str) -> Sequence[str]:
    """The sessions that carry a key.

    Args:
        listed: JSON of `sessions list`.
        key: of a farm run.

    Returns:
        Their ids, in the order of the list.
    """
    sessions = [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    return [str(one.get("name", "")).rpartition("/")[2] for one in sessions if _has_key(one, key)]


def _has_key(value: Any, key: str) -> bool:
    """Whether a label of the session has the key. gcloud puts labels on the jobs of a session."""
    if isinstance(value, Mapping):
        labels = value.get("labels")
        if isinstance(labels, Mapping) and labels.get(KEY_LABEL) == key:
            return True
        return any(_has_key(inner, key) for inner in value.values())
    return isinstance(value, list) and any(_has_key(inner, key) for inner in value)
