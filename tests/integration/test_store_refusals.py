"""An artifact store that cannot be used is reported at the start; if waiting does not help, the service ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from support.nats import NatsServer, nats_server
from support.servers import S3Server, free_port, start_seaweedfs

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with start_seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "nats") as server:
        yield server


def run(home: Path, nats: NatsServer, store: str, keys: dict[str, str], for_s: float) -> tuple[int | None, str]:
    """Exit code and log of the tiny service on `store`; None where it still ran after `for_s` seconds."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("WINDTUNNEL_", "AWS_"))}
    own = {"PYTHONPATH": str(TESTS), "WINDTUNNEL_HOME": str(home), "WINDTUNNEL_NATS_URL": nats.url}
    command = [sys.executable, "-m", "support.tiny_service"]
    environment = {**bare, **own, **keys, "WINDTUNNEL_ARTIFACTS_URL": store}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            _, said = process.communicate(timeout=for_s)
            return process.returncode, said.decode()
        except subprocess.TimeoutExpired:
            process.terminate()
            return None, process.communicate(timeout=20)[1].decode()


def test_no_bucket(tmp_path: Path, nats: NatsServer, s3: S3Server) -> None:
    code, said = run(tmp_path / "home", nats, f"s3://nothere?endpoint={s3.endpoint}", s3.environment, 25)
    assert code == 2
    assert f"s3://nothere at {s3.endpoint} does not exist" in said and "make the bucket" in said


def test_a_bucket_that_is_to_be_made(tmp_path: Path, nats: NatsServer, s3: S3Server) -> None:
    code, said = run(tmp_path / "home", nats, f"s3://newone?endpoint={s3.endpoint}&create=1", s3.environment, 8)
    assert (code, "cannot" in said) == (None, False)


def test_a_wrong_key(tmp_path: Path, nats: NatsServer, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=s3.endpoint, region_name="us-east-1").create_bucket(Bucket="there")
    keys = {**s3.environment, "AWS_SECRET_ACCESS_KEY": "not-the-secret"}
    code, said = run(tmp_path / "home", nats, f"s3://there?endpoint={s3.endpoint}", keys, 25)
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    told = [line["message"] for line in lines if "s3://there" in line["message"]]
    assert code == 2, said
    assert told and "not-the-secret" not in said


def test_a_server_that_does_not_answer_is_said_and_waited_for(tmp_path: Path, nats: NatsServer) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    store = f"s3://bucket?endpoint=http://127.0.0.1:{free_port()}"
    code, said = run(tmp_path / "home", nats, store, keys, 12)
    assert code is None
    assert "the artifact store cannot be used, trying again" in said
