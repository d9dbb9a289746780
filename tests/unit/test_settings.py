"""Settings from the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import Field

from windtunnel.errors import InvalidInput
from windtunnel.service import settings
from windtunnel.service.settings import ServiceSettings


class Settings(ServiceSettings):
    """A service's own, in addition to those of every service."""

    depth: int = Field(3, ge=1, description="How deep.")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WINDTUNNEL_")]:
        monkeypatch.delenv(name)


def test_without_variables_the_defaults_hold() -> None:
    loaded = settings.load(Settings)
    assert loaded.depth == 3
    assert loaded.nats_url == "nats://127.0.0.1:4222"
    assert loaded.home_folder == Path.home() / ".windtunnel"
    assert loaded.artifact_store == str(Path.home() / ".windtunnel" / "artifacts")


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = {
        "HOME": str(tmp_path),
        "DEPTH": "7",
        "SLOTS": "4",
        "ACK_WAIT_S": "1.5",
        "FILE_ROOTS": "/data:/more",
        "ARTIFACTS_URL": "s3://blobs",
        "OF_ANOTHER_SERVICE": "x",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"WINDTUNNEL_{name}", value)
    loaded = settings.load(Settings)
    assert (loaded.depth, loaded.slots, loaded.ack_wait_s) == (7, 4, 1.5)
    assert loaded.allowed_roots == (tmp_path / "inbox", Path("/data"), Path("/more"))
    assert loaded.artifact_store == "s3://blobs"


def test_all_bad_variables_are_named_together_with_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {"GRPC_PORT": "70000", "SLOTS": "none", "LOG_LEVEL": "loud", "ACK_WAIT_S": "0", "DEPTH": "0"}
    for name, value in bad.items():
        monkeypatch.setenv(f"WINDTUNNEL_{name}", value)
    with pytest.raises(InvalidInput) as caught:
        settings.load(Settings)
    for name, value in bad.items():
        assert f"WINDTUNNEL_{name}='{value}': " in caught.value.message
    assert caught.value.message.count("WINDTUNNEL_") == len(bad)
    assert "docs/settings.md" in caught.value.hint
