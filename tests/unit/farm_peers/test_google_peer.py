"""The simulated Google APIs, by Google's own clients: requests are checked, answers have the described shapes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httplib2
import pytest
from google.api_core.exceptions import NotFound, PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

from support.base_apk import apk_bytes
from support.farm_peers.google.lab import INFRASTRUCTURE, NO_RESULT_URL, Behavior
from support.farm_peers.google.server import Fault, GooglePeer, Quota, google_peer
from support.graphs import dense_model
from windtunnel.log_parser import parse_log

PROJECT, BUCKET = "my-project", "my-bucket"


@dataclass
class Client:
    """The peer and Google's clients of it."""

    peer: GooglePeer
    matrices: Any
    steps: Any
    bucket: Any

    def create(self, body: dict[str, Any], request: str | None = None) -> dict[str, Any]:
        found: dict[str, Any] = self.matrices.create(projectId=PROJECT, body=body, requestId=request).execute()
        return found

    def get(self, matrix: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.matrices.get(projectId=PROJECT, testMatrixId=matrix["testMatrixId"]).execute()
        return found

    def ended(self, matrix: dict[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + 20
        while matrix["state"] not in {"FINISHED", "ERROR", "INVALID", "CANCELLED"}:
            assert time.monotonic() < deadline, matrix["state"]
            self.peer.lab.clock.advance(5)
            matrix = self.get(matrix)
        return matrix

    def step(self, matrix: dict[str, Any]) -> dict[str, Any]:
        (found,) = self.steps.list(**matrix["resultStorage"]["toolResultsExecution"]).execute()["steps"]
        step: dict[str, Any] = found
        return step


@pytest.fixture
def client() -> Iterator[Client]:
    with google_peer(BUCKET) as peer, closing(httplib2.Http()) as http, ExitStack() as stack:
        peer.buckets.put(BUCKET, "in/app.apk", apk_bytes())
        options = {"api_endpoint": peer.url}
        testing = build("testing", "v1", http=http, client_options=options)
        results = build("toolresults", "v1beta3", http=http, client_options=options)
        nobody: Any = AnonymousCredentials
        store = stack.enter_context(closing(storage.Client(PROJECT, nobody(), client_options=options)))
        steps = results.projects().histories().executions().steps()
        yield Client(peer, testing.projects().testMatrices(), steps, store.bucket(BUCKET))


def game_loop(**more: Any) -> dict[str, Any]:
    device = {"androidModelId": "shiba", "androidVersionId": "34", "locale": "en", "orientation": "portrait"}
    specification: dict[str, Any] = {
        "androidTestLoop": {"appApk": {"gcsPath": f"gs://{BUCKET}/in/app.apk"}, "scenarios": [1]},
        "testTimeout": "300s",
    }
    return {
        "testSpecification": specification,
        "environmentMatrix": {"androidDeviceList": {"androidDevices": [device]}},
        "resultStorage": {"googleCloudStorage": {"gcsPath": f"gs://{BUCKET}/out/k1"}},
        **more,
    }


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"flakyTestAttempts": "many"},
        {"flakyTestAttempts": 11},
        {"failFast": "yes"},
        {"testSpecification": {"androidTestLoop": {"appApk": {"path": "gs://x/y"}}}},
        {"testSpecification": {"androidTestLoop": {}, "testTimeout": "5 minutes"}},
        {"testSpecification": {"androidTestLoop": {}, "androidRoboTest": {}}},
        {"testSpecification": {"androidTestLoop": {}, "testSetup": {"directoriesToPull": ["/etc"]}}},
        {"testSpecification": {"androidTestLoop": {}, "testSetup": {"environmentVariables": [{"key": "A"}]}}},
        {"environmentMatrix": {}},
        {"environmentMatrix": {"androidDeviceList": {"androidDevices": [{"androidModelId": "shiba"}]}}},
        {"resultStorage": {"googleCloudStorage": {"gcsPath": "gs://other-bucket/out"}}},
    ],
)
def test_a_request_that_does_not_fit_the_description_is_refused(client: Client, change: dict[str, Any]) -> None:
    with pytest.raises(HttpError) as error:
        client.create(game_loop(**change))
    assert error.value.status_code == 400
    assert not client.peer.matrices.matrices


def test_a_file_is_pushed_only_to_allowed_paths(client: Client) -> None:
    body = game_loop()
    content = {"gcsPath": f"gs://{BUCKET}/in/app.apk"}
    setup = {"filesToPush": [{"regularFile": {"content": content, "devicePath": "/system/bin/graph"}}]}
    body["testSpecification"]["testSetup"] = setup
    with pytest.raises(HttpError, match="Invalid device path"):
        client.create(body)


def test_the_same_request_id_makes_one_matrix(client: Client) -> None:
    first, again = client.create(game_loop(), "key-1"), client.create(game_loop(), "key-1")
    assert first["testMatrixId"] == again["testMatrixId"] != client.create(game_loop(), "key-2")["testMatrixId"]


def test_a_lost_answer_has_done_its_work(client: Client) -> None:
    client.peer.faults.append(Fault("testing.projects.testMatrices.create", kind="lost"))
    # httplib2 asks again by itself where the connection ends without an answer.
    created = client.create(game_loop(), "key-1")
    assert client.peer.calls["testing.projects.testMatrices.create"] == 2
    assert list(client.peer.matrices.matrices) == [created["testMatrixId"]]


@pytest.mark.heavy
def test_the_model_that_was_pushed_is_measured(client: Client, tmp_path: Path) -> None:
    model = dense_model(tmp_path / "m.tflite").read_bytes()
    client.peer.buckets.put(BUCKET, "in/graph 1", model)
    body = game_loop()
    content = {"gcsPath": f"gs://{BUCKET}/in/graph%201"}
    body["testSpecification"]["testSetup"] = {
        "filesToPush": [{"regularFile": {"content": content, "devicePath": "/data/local/tmp/graph"}}]
    }
    body["testSpecification"]["androidTestLoop"]["scenarios"] = [4]
    created = client.create(body)
    assert created["state"] == "VALIDATING" and "testExecutions" not in created
    matrix = client.ended(created)
    (execution,) = matrix["testExecutions"]
    assert (matrix["state"], matrix["outcomeSummary"], execution["state"]) == ("FINISHED", "SUCCESS", "FINISHED")
    step = client.step(matrix)
    assert step["deviceUsageDuration"] == {"seconds": "70"}
    log = client.bucket.blob("out/k1/shiba-34-en-portrait/logcat").download_as_bytes().decode()
    run = parse_log(log).runs[-1]
    assert (run.accelerator_requested, run.threads, run.inference.count) == ("xnnpack", 1, 3)
    (received,) = client.peer.lab.received
    assert received.model == hashlib.sha256(model).hexdigest()


@pytest.mark.parametrize(
    ("package", "details"),
    [
        (b"no zip", "MALFORMED_APK"),
        (apk_bytes(manifest=False), "NO_MANIFEST"),
        (None, "INVALID_INPUT_APK"),
    ],
)
def test_a_broken_package_makes_the_matrix_invalid(client: Client, package: bytes | None, details: str) -> None:
    del client.peer.buckets.objects[BUCKET]["in/app.apk"]
    if package is not None:
        client.peer.buckets.put(BUCKET, "in/app.apk", package)
    matrix = client.ended(client.create(game_loop()))
    assert (matrix["state"], matrix["invalidMatrixDetails"]) == ("INVALID", details)


@pytest.mark.parametrize(
    ("behavior", "state", "outcome"),
    [
        (INFRASTRUCTURE, "FINISHED", {"inconclusiveDetail": {"infrastructureFailure": True}}),
        (Behavior(crash="native"), "FINISHED", {"failureDetail": {"crashed": True, "otherNativeCrash": True}}),
        (NO_RESULT_URL, "ERROR", None),
    ],
)
def test_what_a_matrix_ends_as(client: Client, behavior: Behavior, state: str, outcome: dict[str, Any] | None) -> None:
    client.peer.lab.coming.append(behavior)
    matrix = client.ended(client.create(game_loop()))
    assert matrix["state"] == state
    if outcome is None:
        assert "toolResultsExecution" not in matrix["resultStorage"]
        return
    step = client.step(matrix)
    assert outcome.items() <= step["outcome"].items()


def test_a_canceled_matrix_stays_canceled(client: Client) -> None:
    matrix = client.create(game_loop())
    for _ in range(2):
        client.matrices.cancel(projectId=PROJECT, testMatrixId=matrix["testMatrixId"]).execute()
    assert client.ended(matrix)["state"] == "CANCELLED"


def test_quotas_and_outages_have_google_shapes(client: Client) -> None:
    client.peer.quotas.append(Quota("testing.*", 1, 100))
    matrix = client.create(game_loop())
    with pytest.raises(HttpError) as throttled:
        client.get(matrix)
    assert throttled.value.status_code == 429
    assert 0 < int(throttled.value.resp["retry-after"]) <= 100
    client.peer.lab.clock.advance(101)
    client.peer.faults.append(Fault("testing.*", "UNAVAILABLE"))
    with pytest.raises(HttpError) as down:
        client.get(matrix)
    assert down.value.status_code == 503


def test_objects_are_written_once_and_read_whole(client: Client, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(bytes(range(256)) * 8192)
    blob = client.bucket.blob("big", chunk_size=1 << 20)
    blob.upload_from_filename(str(big), if_generation_match=0)
    assert client.bucket.blob("big").download_as_bytes() == big.read_bytes()
    with pytest.raises(PreconditionFailed):
        blob.upload_from_filename(str(big), if_generation_match=0)
    with pytest.raises(NotFound):
        client.bucket.blob("none").download_as_bytes()
    client.peer.buckets.page_size = 2
    for name in ("a/1", "a/2", "a/3", "b/1"):
        client.bucket.blob(name).upload_from_string(b"")
    assert [found.name for found in client.bucket.list_blobs(prefix="a/")] == ["a/1", "a/2", "a/3"]
