"""Homes in which nothing runs yet: commands that start together, an `up` that comes later, one that is interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.models import DigitsModels

pytestmark = pytest.mark.heavy


class Home:
    """A folder, and the command line in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "wt"
        self._logs = folder
        bare = {name: value for name, value in os.environ.items() if not name.startswith("WINDTUNNEL_")}
        self._environment = {**bare, "WINDTUNNEL_HOME": str(self.folder)}

    @contextmanager
    def start(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command in the background; what it says is in `said`. It is killed at the end where it still runs."""
        log = self._logs / arguments[0]
        with log.with_suffix(".out").open("wb") as out, log.with_suffix(".err").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "windtunnel.cli", *arguments], stdout=out, stderr=err, env=self._environment
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)

    def said(self, command: str, stream: str = "err") -> str:
        return (self._logs / f"{command}.{stream}").read_text()

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "windtunnel.cli", *arguments],
            capture_output=True,
            text=True,
            env=self._environment,
            timeout=240,
            check=False,
        )

    def run_id(self) -> str:
        """The run that `submit` has announced."""
        return "r-" + self.said("submit").partition("run r-")[2].partition(";")[0]

    def until(self, command: str, words: str, timeout_s: float = 120) -> None:
        deadline = time.monotonic() + timeout_s
        while words not in self.said(command):
            assert time.monotonic() < deadline, f"{command} does not say {words!r}: {self.said(command)}"
            time.sleep(0.1)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def submission(models: DigitsModels, plan: Path) -> tuple[str, ...]:
    return ("submit", str(models.float32), "--plan", str(plan), "--wait", "--json")


def test_three_lines_and_what_is_left_of_them(home: Home, submission: tuple[str, ...], tmp_path: Path) -> None:
    """`up &`, `submit --wait`, `report`: and the same answers once nothing runs any more."""
    with home.start("up") as up:
        result = home.cli(*submission)
        assert result.returncode == 0, result.stderr
        assert "embedded" not in result.stderr
        report: dict[str, Any] = json.loads(result.stdout)
        online = home.cli("report", report["run_id"], "--html", str(tmp_path / "online.html"))
        assert online.returncode == 0, online.stderr
        assert up.poll() is None
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 0, home.said("up")
    answers_without_a_server(home, report, tmp_path)


def answers_without_a_server(home: Home, report: dict[str, Any], tmp_path: Path) -> None:
    run_id = report["run_id"]
    offline = home.cli("report", run_id, "--json")
    assert offline.returncode == 0 and json.loads(offline.stdout) == report
    assert home.cli("report", run_id, "--html", str(tmp_path / "offline.html")).returncode == 0
    assert (tmp_path / "offline.html").read_bytes() == (tmp_path / "online.html").read_bytes()
    assert [run["run_id"] for run in json.loads(home.cli("runs", "--json").stdout)] == [run_id]
    target = tmp_path / "int8.tflite"
    assert home.cli("artifacts", "get", run_id, "--variant", "int8", "-o", str(target)).returncode == 0
    assert target.stat().st_size == report["variants"][1]["size_bytes"]
    assert home.cli("compare", run_id, run_id).returncode == 0
    assert json.loads(home.cli("watch", run_id, "--json").stdout) == report
    unknown = home.cli("report", "no-such-run")
    assert unknown.returncode == 2 and "'no-such-run'" in unknown.stderr
    canceled = home.cli("cancel", run_id)
    assert canceled.returncode == 2 and "has already ended" in canceled.stderr
    assert not (home.folder / "endpoints.json").exists()


def test_an_up_takes_over_and_the_run_goes_on(home: Home, submission: tuple[str, ...]) -> None:
    with home.start(*submission) as submit:
        home.until("submit", "; `windtunnel watch r-")
        with home.start("up") as up:
            assert submit.wait(200) == 0, home.said("submit")
            assert "takes over" in home.said("submit") and "taking over" in home.said("up")
            report = json.loads(home.said("submit", "out"))
            assert report["verdict"] == "passed" and report["run_id"] == home.run_id()
            assert [run["run_id"] for run in json.loads(home.cli("runs", "--json").stdout)] == [report["run_id"]]
            assert up.poll() is None


def test_an_interrupted_run_is_resumed_or_canceled(home: Home, submission: tuple[str, ...]) -> None:
    with home.start(*submission) as submit:
        home.until("submit", "the model is converted")
        begun = time.monotonic()
        submit.send_signal(signal.SIGINT)
        assert submit.wait(60) == 130
        # Five seconds for the services; the rest is Python's own.
        assert time.monotonic() - begun < 8
    run_id = home.run_id()
    said = home.said("submit")
    assert f"run {run_id} is not finished" in said
    for command in ("watch", "cancel"):
        assert f"`windtunnel {command} {run_id}`" in said.partition("is not finished")[2]
    assert no_process_of(home)
    assert json.loads(home.cli("report", run_id, "--json").stdout)["verdict"] is None
    resumed = home.cli("watch", run_id, "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert f"an unfinished run continues: {run_id}" in resumed.stderr
    assert json.loads(resumed.stdout)["verdict"] == "passed"


def test_a_run_is_canceled_though_nothing_runs(
    home: Home, submission: tuple[str, ...], plan: Path, tmp_path: Path
) -> None:
    # The run continues while the services start for `cancel`: with so many cells it cannot end before.
    longer = tmp_path / "longer.yaml"
    longer.write_text(plan.read_text().replace("threads: 1", "threads: [1, 2, 3, 4, 5, 6, 7, 8]"))
    with home.start(*(str(longer) if part == str(plan) else part for part in submission)) as submit:
        home.until("submit", "the model is converted")
        submit.send_signal(signal.SIGTERM)
        assert submit.wait(60) == 130
    run_id = home.run_id()
    result = home.cli("cancel", run_id, "--json")
    assert result.returncode == 0, result.stderr
    canceled = json.loads(result.stdout)
    assert [run["farm"] for run in canceled.pop("farm_runs", [])] in ([], ["local"])
    assert canceled == {"run_id": run_id, "verdict": "could_not_run", "canceled": True}
    assert json.loads(home.cli("report", run_id, "--json").stdout)["reasons"] == ["canceled on request"]
    assert home.cli("cancel", run_id).returncode == 0


def test_two_submissions_that_start_together_both_end(home: Home, submission: tuple[str, ...]) -> None:
    with home.start(*submission) as submit:
        second = home.cli(*submission)
        assert second.returncode == 0, second.stderr
        assert submit.wait(200) == 0, home.said("submit")
    assert {run["verdict"] for run in json.loads(home.cli("runs", "--json").stdout)} == {"passed"}


def no_process_of(home: Home) -> bool:
    """Whether nothing of this home runs any more."""
    named = f"WINDTUNNEL_HOME={home.folder}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if named in (entry / "environ").read_bytes():
                    return False
            except OSError:
                continue
    return True
