"""A `gcloud` whose Device Run is simulated: a program of its own, with its state in a folder.

Sessions have the shapes of the API's description (devicerun v1alpha); texts are those that users have seen. The
executable really runs, in a folder that stands for the phone; its output is not kept, only what is pulled.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from support.farm_peers.google.device_run import DEVICES, Bucket, end_session, show, submitted
from support.farm_peers.google.discovery import api
from support.farm_peers.google.gcloud_flags import Given, Refused, understand
from support.farm_peers.google.google_errors import GoogleError


@dataclass(frozen=True)
class SessionBehavior:
    """What happens to a session; virtual seconds. `result` empty: what really happened. `cause`: INFRA or CUSTOMER."""

    created_after_s: float = 0.0
    pending_s: float = 10.0
    run_s: float = 40.0
    suspended_s: float = 0.0
    result: str = ""
    cause: str = ""
    reason: str = ""
    message: str = ""
    files_lost: bool = False
    # The end of the path of a file that reaches the phone damaged.
    damaged: str = ""


@dataclass(frozen=True)
class CallFault:
    """The next `times` calls of a command fail with this text and code; `lost`: after they have done their work."""

    command: str
    text: str
    code: int = 1
    times: int = 1
    lost: bool = False


class FakeGcloud:
    """The program and its state, for tests.

    Args:
        folder: for both.
        storage_url: of the server that holds the buckets.
        bucket: of Device Run, if none is named.
    """

    def __init__(self, folder: Path, storage_url: str, bucket: str) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.executable = folder / "gcloud"
        tests = Path(__file__).parents[3]
        self.executable.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(tests)!r})\n"
            "from support.farm_peers.google.fake_gcloud import main\n"
            f"sys.exit(main(sys.argv[1:], {str(folder)!r}))\n",
            encoding="utf-8",
        )
        self.executable.chmod(0o755)
        with state_of(folder) as state:
            state |= {"now": 1_798_000_000.0, "step_s": 0.0, "sessions": [], "coming": [], "faults": [], "calls": [],
                      "storage": storage_url, "bucket": bucket, "received": [], "number": 0}  # fmt: skip

    def advance(self, seconds: float) -> None:
        """Lets virtual time pass."""
        with state_of(self._folder) as state:
            state["now"] += seconds

    def advance_per_call(self, seconds: float) -> None:
        """Lets virtual time pass with each call."""
        with state_of(self._folder) as state:
            state["step_s"] = seconds

    def behave(self, *behaviors: SessionBehavior) -> None:
        """What happens to the next sessions."""
        with state_of(self._folder) as state:
            state["coming"] += [asdict(one) for one in behaviors]

    def fail(self, *faults: CallFault) -> None:
        """Which calls fail."""
        with state_of(self._folder) as state:
            state["faults"] += [asdict(one) for one in faults]

    def state(self) -> Mapping[str, Any]:
        """Sessions, calls (with their environment), and what phones received."""
        with state_of(self._folder) as state:
            return dict(state)


@contextmanager
def state_of(folder: Path) -> Iterator[dict[str, Any]]:
    """The state, locked; stored again at the end."""
    path = folder / "state.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        try:
            yield state
        finally:
            path.write_text(json.dumps(state))


def main(arguments: list[str], folder: str) -> int:
    """Runs a command line."""
    try:
        given = understand(arguments)
        with state_of(Path(folder)) as state:
            state["now"] += state["step_s"]
            shown = {name: value for name, value in os.environ.items() if name.startswith("CLOUDSDK_")}
            state["calls"].append({"arguments": arguments, "environment": shown})
            return _answer(given, state)
    except Refused as refused:
        sys.stderr.write(refused.text)
        return refused.code


def _answer(given: Given, state: dict[str, Any]) -> int:
    fault = next((one for one in state["faults"] if one["times"] > 0 and one["command"] == given.command[-1]), None)
    if fault is not None:
        fault["times"] -= 1
        if not fault["lost"]:
            raise Refused(fault["text"], fault["code"])
    try:
        code = _COMMANDS[given.command](given, state)
    except GoogleError as error:
        raise given.refuse(f"{error.status}: {error.message}", 1) from error
    if fault is not None:
        raise Refused(fault["text"], fault["code"])
    return code


def _submit(given: Given, state: dict[str, Any]) -> int:
    project = given.value("project")
    if not project:
        raise given.refuse("The required property [project] is not currently set.", 1)
    bucket = Bucket(state["storage"])
    session = submitted(given, state, bucket)
    session["behavior"] = state["coming"].pop(0) if state["coming"] else asdict(SessionBehavior())
    state["sessions"].append(session)
    name = session["name"].rpartition("/")[2]
    sys.stderr.write(f"Initiated long-running operation [operation-{state['number']}] to create session.\n")
    sys.stderr.write(f"Creating session [{name}] in location [{given.value('location', 'global')}].\n")
    sys.stderr.write(
        "Result files will be stored at [https://console.cloud.google.com/storage/browser/"
        f"{session['bucket']}/automation/sessions/{name}/].\n"
    )
    if "async" not in given.flags:
        return _wait(Given(("sessions", "wait"), given.flags, name), state)
    return 0


def _list(given: Given, state: dict[str, Any]) -> int:
    project = given.value("project")
    found = [
        show(session, state) for session in reversed(state["sessions"])
        if session["name"].startswith(f"projects/{project}/") and _is_there(session, state)
    ]  # fmt: skip
    limit = int(given.value("limit", "1000000"))
    _print(given, found[:limit])
    return 0


def _describe(given: Given, state: dict[str, Any]) -> int:
    session = _found(given, state)
    shown = show(session, state)
    if "full" in given.flags:
        api("devicerun.v1alpha").check_value({"$ref": "Session"}, shown, "", is_answer=True)
        _print(given, shown)
        return 0
    _print_summary(session, shown)
    return 0


def _print_summary(session: Mapping[str, Any], shown: Mapping[str, Any]) -> None:
    """Not JSON, whatever --format says."""
    report, name = shown["sessionReport"], session["name"].rpartition("/")[2]
    if report["status"]["statusType"] != "DONE":
        print(f"Session [{name}] status is [{report['status']['statusType']}].")
        return
    print(f"Session [{name}] finished with result [{report['result']['resultType']}].")
    print("JOB NAME  EXECUTION NAME  EXECUTION RESULT")
    for job in report["jobReports"]:
        for execution in job["executionReports"]:
            print(f"{job['displayName']}   {execution['displayName']}   {execution['result']['resultType']}")


def _wait(given: Given, state: dict[str, Any]) -> int:
    session = _found(given, state)
    behavior = session["behavior"]
    state["now"] = max(
        state["now"], session["created"] + behavior["pending_s"] + behavior["run_s"] + behavior["suspended_s"]
    )
    _print_summary(session, show(session, state))
    return 0


def _cancel(given: Given, state: dict[str, Any]) -> int:
    session = _found(given, state)
    if show(session, state)["sessionReport"]["status"]["statusType"] == "DONE":
        raise GoogleError("FAILED_PRECONDITION", f"Session {given.positional} has already finished.")
    end_session(session, state, "CANCELLED")
    sys.stderr.write(f"Canceled session [{given.positional}].\n")
    return 0


def _devices(given: Given, state: dict[str, Any]) -> int:
    project = given.value("project", "p")
    devices = [{**one, "name": f"projects/{project}/locations/global/devices/{one['name']}"} for one in DEVICES]
    _print(given, devices)
    return 0


def _found(given: Given, state: dict[str, Any]) -> dict[str, Any]:
    wanted = given.positional.rpartition("/")[2]
    for session in state["sessions"]:
        if session["name"].endswith(f"/{wanted}") and _is_there(session, state):
            found: dict[str, Any] = session
            return found
    raise GoogleError(
        "NOT_FOUND", f"Resource 'projects/{given.value('project')}/locations/global/sessions/{wanted}' was not found"
    )


def _is_there(session: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
    return bool(state["now"] >= session["created"] + session["behavior"]["created_after_s"])


def _print(given: Given, value: Any) -> None:
    if given.value("format").startswith("json"):
        print(json.dumps(value, indent=2))
    else:
        import yaml

        print(yaml.safe_dump(value))


_COMMANDS = {
    ("devices", "list"): _devices,
    ("sessions", "list"): _list,
    ("sessions", "describe"): _describe,
    ("sessions", "wait"): _wait,
    ("sessions", "cancel"): _cancel,
    ("sessions", "submit", "android-executable"): _submit,
}
