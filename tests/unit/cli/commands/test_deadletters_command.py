"""`windtunnel deadletters replay` and `delete`: which letters they take."""

from __future__ import annotations

import json
from types import TracebackType

import pytest
from click.testing import CliRunner

from windtunnel import client
from windtunnel.bus import subjects
from windtunnel.bus.memory import MemoryBus
from windtunnel.cli.commands.server.deadletters import deadletters


class OneBus:
    """A client of a system of which only the bus is there."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus

    async def __aenter__(self) -> OneBus:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    async def bus(self) -> MemoryBus:
        return self._bus


@pytest.fixture
async def bus(monkeypatch: pytest.MonkeyPatch) -> MemoryBus:
    made = MemoryBus()
    for number in range(2):
        headers = {"dead-subject": subjects.MODEL_TRAINED, "Nats-Msg-Id": f"dead-{number}"}
        await made.publish(subjects.DEAD, headers, b"{}")
    monkeypatch.setattr(client, "AsyncClient", lambda: OneBus(made))
    return made


@pytest.mark.parametrize("command", ["replay", "delete"])
def test_a_letter_that_is_named_twice_is_taken_once(bus: MemoryBus, command: str) -> None:
    result = CliRunner().invoke(deadletters, [command, "1", "1", "--json"])
    assert result.exit_code == 0, result.output
    assert next(iter(json.loads(result.stdout).values())) == ["1"]


@pytest.mark.parametrize("command", ["replay", "delete"])
def test_all_letters_and_none(bus: MemoryBus, command: str) -> None:
    for expected in (["1", "2"], []):
        result = CliRunner().invoke(deadletters, [command, "--all", "--json"])
        assert result.exit_code == 0, result.output
        assert next(iter(json.loads(result.stdout).values())) == expected
    assert "no dead letters" in result.stderr


@pytest.mark.parametrize("arguments", [("replay",), ("delete",), ("replay", "1", "--all"), ("delete", "1", "--all")])
def test_ids_or_all(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(deadletters, list(arguments)).exit_code == 2
