"""Where the client finds a running Windtunnel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from windtunnel.client import Endpoints, find_endpoints
from windtunnel.client.endpoints import home_folder
from windtunnel.errors import InvalidInput, Unavailable

WRITTEN: dict[str, Any] = {
    "nats": "nats://127.0.0.1:4000",
    "grpc": {"metrics_store": "127.0.0.1:4001", "converter": "127.0.0.1:4002"},
    "pids": {"up": os.getpid()},
    "artifacts": "s3://models",
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WINDTUNNEL_")]:
        monkeypatch.delenv(name)


def write(home: Path, text: str) -> Path:
    (home / "endpoints.json").write_text(text)
    return home


def test_the_file_of_a_running_one_is_read(tmp_path: Path) -> None:
    found = find_endpoints(write(tmp_path, json.dumps(WRITTEN)))
    assert found == Endpoints(WRITTEN["nats"], WRITTEN["grpc"], "s3://models", tmp_path)
    assert found.address_of("converter") == "127.0.0.1:4002"


def test_the_home_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDTUNNEL_HOME", str(write(tmp_path, json.dumps(WRITTEN))))
    assert find_endpoints().nats == WRITTEN["nats"]
    monkeypatch.delenv("WINDTUNNEL_HOME")
    assert home_folder() == Path.home() / ".windtunnel"


def test_variables_win_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDTUNNEL_NATS_URL", "nats://elsewhere:4222")
    monkeypatch.setenv("WINDTUNNEL_METRICS_STORE_ADDRESS", "store:443")
    monkeypatch.setenv("WINDTUNNEL_ARTIFACTS_URL", "gs://blobs")
    found = find_endpoints(write(tmp_path, json.dumps(WRITTEN)))
    assert (found.nats, found.artifacts) == ("nats://elsewhere:4222", "gs://blobs")
    assert found.grpc == {"metrics_store": "store:443", "converter": "127.0.0.1:4002"}


def test_variables_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDTUNNEL_NATS_URL", "nats://elsewhere:4222")
    found = find_endpoints(tmp_path)
    assert found == Endpoints(
        "nats://elsewhere:4222", {}, str(tmp_path / "artifacts"), tmp_path, artifacts_assumed=True
    )
    with pytest.raises(Unavailable, match="WINDTUNNEL_LAYER_DIFF_ADDRESS"):
        found.address_of("layer_diff")


def test_nothing_runs_there(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="windtunnel up"):
        find_endpoints(tmp_path)


def test_the_file_of_one_that_was_killed_counts_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    write(tmp_path, json.dumps({**WRITTEN, "pids": {"up": ended.pid}}))
    with pytest.raises(Unavailable, match="Windtunnel is not running"):
        find_endpoints(tmp_path)
    monkeypatch.setenv("WINDTUNNEL_NATS_URL", "nats://elsewhere:4222")
    assert find_endpoints(tmp_path).grpc == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("null", "a JSON object"),
        ("[]", "a JSON object"),
        ('{"grpc": []}', "grpc must be"),
        ('{"pids": null}', "pids must"),
    ],
)
def test_what_a_file_must_hold_is_said(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=rf"endpoints\.json cannot be read: .*{words}"):
        find_endpoints(write(tmp_path, text))


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"pids": {"up": "x"}}', '{"pids": 3}', "\udcff"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "endpoints.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InvalidInput, match=r"endpoints\.json cannot be read"):
        find_endpoints(tmp_path)


def test_the_address_of_a_service_is_enough_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDTUNNEL_METRICS_STORE_ADDRESS", "store:443")
    found = find_endpoints(tmp_path)
    assert (found.nats, found.address_of("metrics_store")) == ("", "store:443")
    monkeypatch.setenv("WINDTUNNEL_ARTIFACTS_URL", "s3://models")
    assert not find_endpoints(tmp_path).artifacts_assumed
