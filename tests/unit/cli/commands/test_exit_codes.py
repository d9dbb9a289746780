"""What a script learns from the command line: exit codes, and JSON in one form."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import click
import pytest

from windtunnel.bus import DeadLetter
from windtunnel.cli import main as module
from windtunnel.cli.commands.runs.watch import exit_code
from windtunnel.cli.commands.server.deadletters import _to_json
from windtunnel.client import Report


def crash() -> None:
    raise RuntimeError("nobody foresaw this")


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.cli.commands, "crash", click.Command("crash", callback=crash))
    monkeypatch.setattr("sys.argv", ["windtunnel", "crash"])


@pytest.mark.usefixtures("crashing")
def test_a_fault_of_ours_is_no_failed_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WINDTUNNEL_DEBUG", raising=False)
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: RuntimeError: nobody foresaw this\n")
    assert "WINDTUNNEL_DEBUG" in said and "Traceback" not in said


@pytest.mark.usefixtures("crashing")
def test_the_traceback_is_there_on_demand(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("WINDTUNNEL_DEBUG", "1")
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 2
    assert "Traceback" in caplog.text and "nobody foresaw this" in caplog.text


@pytest.mark.parametrize(("verdict", "code"), [("passed", 0), ("failed", 1), ("could_not_run", 2), (None, 0)])
def test_the_code_of_a_report(verdict: str | None, code: int) -> None:
    assert exit_code(Report({"verdict": verdict})) == code


def test_times_are_those_of_reports() -> None:
    at = datetime(2026, 11, 20, 12, 0, 0, 123456, timezone(timedelta(hours=2)))
    letter = DeadLetter("3", "windtunnel.model.trained", "e", "broken", 5, at, "converter", {}, b"")
    assert _to_json(letter)["at"] == "2026-11-20T10:00:00.123Z"


def test_every_command_that_says_something_says_it_in_json() -> None:
    groups = [command for command in module.cli.commands.values() if isinstance(command, click.Group)]
    alone = [command for command in module.cli.commands.values() if not isinstance(command, click.Group)]
    for command in [*alone, *(inner for group in groups for inner in group.commands.values())]:
        options = {text for parameter in command.params for text in parameter.opts}
        assert "--json" in options, command.name
        assert command.help and re.search(r"windtunnel \w+", command.help)
